import { existsSync, lstatSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { UnixDatagram, UnixListener, UnixSeqpacketListener, UnixStream } from '@ouro/net';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Beside, start, startProgram } from '../../../testing/beside.ts';
import { runProgram } from '../../../testing/program.ts';
import { failure } from './support.ts';
import { keepsDescriptors, socketDirectory } from './unix-support.ts';

const root = socketDirectory();
let last = 0;

/** A directory with nothing but a path for a socket. */
function place(): { readonly dir: string; readonly path: string } {
  const dir = join(root, `d${last++}`);
  mkdirSync(dir);
  return { dir, path: join(dir, 's') };
}

// Locks are waited for beside the ring, which takes descriptors of its own from the first time on.
beforeAll(async () => {
  const { path } = place();
  writeFileSync(path, '');
  await failure(UnixListener.bind({ path, stale: 'replace' }));
});

/** Leaves the file of a socket that is no more. */
async function leaveDead(path: string, handle = 'UnixListener'): Promise<void> {
  const { stderr } = await runProgram(`
    import { ${handle} } from '@ouro/net';
    await ${handle}.bind({ path: ${JSON.stringify(path)} });
    process.exit();
  `);
  expect(stderr).toBe('');
  expect(lstatSync(path).isSocket()).toBe(true);
}

/** A program that says what it does, line by line. */
const starter = (path: string): string => `
  import { UnixListener } from '@ouro/net';
  import { createInterface } from 'node:readline';
  const path = ${JSON.stringify(path)};
  console.log('ready');
  for await (const _ of createInterface(process.stdin)) {
    try {
      globalThis.listener = await UnixListener.bind({ path, stale: 'replace' });
      console.log('listens');
      (async () => { for await (const stream of listener) { await stream.writeAll(String(process.pid)); await stream.close(); } })();
    } catch (error) {
      console.log(error.code);
    }
  }
`;

describe("stale: 'replace'", () => {
  it('takes the place of a socket that is no more', async () => {
    const { dir, path } = place();
    await leaveDead(path);
    const { ino } = lstatSync(path);
    expect((await failure(UnixListener.bind({ path }))).code).toBe('EADDRINUSE'); // not without being asked
    expect(lstatSync(path).ino).toBe(ino);
    await keepsDescriptors(async () => {
      await using listener = await UnixListener.bind({ path, stale: 'replace', mode: 0o600 });
      await using stream = await UnixStream.connect(listener.address);
      expect(stream.remoteAddress).toEqual({ path });
      expect(lstatSync(path).mode & 0o777).toBe(0o600);
    });
    expect(readdirSync(dir)).toEqual([]);
  });

  it.each(['UnixListener', 'UnixDatagram', 'UnixSeqpacketListener'])('also of a %s', async (handle) => {
    const { dir, path } = place();
    await leaveDead(path, handle);
    await (await UnixDatagram.bind({ path, stale: 'replace' })).close();
    await leaveDead(path, handle);
    await (await UnixSeqpacketListener.bind({ path, stale: 'replace' })).close();
    expect(readdirSync(dir)).toEqual([]);
  });

  it('needs no file to be there', async () => {
    const { dir, path } = place();
    await (await UnixListener.bind({ path, stale: 'replace' })).close();
    expect(readdirSync(dir)).toEqual([]);
  });

  it.each([
    ['a file', (path: string) => writeFileSync(path, 'precious')],
    ['a directory', (path: string) => mkdirSync(path)],
    ['a link to nowhere', (path: string) => symlinkSync('/nowhere', path)],
  ])('leaves %s alone', async (_what, make) => {
    const { dir, path } = place();
    make(path);
    const { ino, mode } = lstatSync(path);
    await keepsDescriptors(async () => {
      expect(await failure(UnixListener.bind({ path, stale: 'replace' }))).toMatchObject({
        message: `listen EADDRINUSE: address already in use ${path}`,
      });
    });
    expect(lstatSync(path)).toMatchObject({ ino, mode });
    expect(readdirSync(dir)).toEqual(['s']);
  });

  it('leaves a link to a dead socket alone', async () => {
    const { dir, path } = place();
    const dead = join(dir, 'dead');
    await leaveDead(dead);
    symlinkSync(dead, path);
    expect((await failure(UnixListener.bind({ path, stale: 'replace' }))).code).toBe('EADDRINUSE');
    expect(readdirSync(dir).sort()).toEqual(['dead', 's']);
  });

  it.each([
    ['that listens', 'socket.SOCK_STREAM', 's.listen()'],
    ['that does not listen yet', 'socket.SOCK_STREAM', 'pass'],
    ['for datagrams', 'socket.SOCK_DGRAM', 'pass'],
    ['of packets that does not listen yet', 'socket.SOCK_SEQPACKET', 'pass'],
  ])('leaves a socket %s alone, whoever it is of', async (_what, type, then) => {
    const { dir, path } = place();
    await using other = python(`
import socket, sys
s = socket.socket(socket.AF_UNIX, ${type})
s.bind(${JSON.stringify(path)})
${then}
print('bound', flush=True)
sys.stdin.readline()
`);
    expect(await other.line()).toBe('bound');
    const { ino } = lstatSync(path);
    for (const handle of [UnixListener, UnixDatagram, UnixSeqpacketListener]) {
      expect((await failure(handle.bind({ path, stale: 'replace' }))).code).toBe('EADDRINUSE');
    }
    expect(lstatSync(path).ino).toBe(ino);
    expect(readdirSync(dir)).toEqual(['s']);
  });

  it('does not bother a server that lives with a connection', async () => {
    const { path } = place();
    let connections = 0;
    const server = net.createServer(() => connections++).listen(path);
    await new Promise((listening) => server.once('listening', listening));
    expect((await failure(UnixListener.bind({ path, stale: 'replace' }))).code).toBe('EADDRINUSE');
    const socket = net.connect(path);
    await new Promise((connected) => server.once('connection', connected));
    expect(connections).toBe(1);
    socket.destroy();
    await new Promise((closed) => server.close(closed));
  });

  it('lets one of many who start at once win, again and again', async () => {
    const { dir, path } = place();
    const started: Beside[] = [];
    try {
      for (let i = 0; i < 4; i++) started.push(startProgram(starter(path)));
      const alive = new Set(started);
      for (const each of alive) expect(await each.line()).toBe('ready');
      while (alive.size > 1) {
        for (const each of alive) each.send('go\n');
        const said = await Promise.all([...alive].map(async (each) => [each, await each.line()] as const));
        const winners = said.filter(([, line]) => line === 'listens');
        expect(winners).toHaveLength(1);
        expect(said.filter(([, line]) => line === 'EADDRINUSE')).toHaveLength(alive.size - 1);
        // It is the winner that one reaches.
        await using stream = await UnixStream.connect({ path });
        const answer = Buffer.alloc(16);
        expect(answer.toString('utf8', 0, await stream.read(answer))).toBe(
          String(stream.peerCredentials().pid),
        );
        const [[winner]] = winners;
        winner.kill('SIGKILL');
        await winner.ended;
        alive.delete(winner);
        expect(readdirSync(dir)).toEqual(['s']);
      }
    } finally {
      for (const each of started) await each[Symbol.asyncDispose]();
    }
  }, 120_000);

  it('waits for whoever has the lock, until it is cancelled', async () => {
    const { dir, path } = place();
    await leaveDead(path);
    await using other = python(`
import fcntl, sys
f = open(${JSON.stringify(`${path}.lock`)}, 'w')
fcntl.flock(f, fcntl.LOCK_EX)
print('locked', flush=True)
sys.stdin.readline()
`);
    expect(await other.line()).toBe('locked');
    await keepsDescriptors(async () => {
      expect(await failure(UnixListener.bind({ path, stale: 'replace', timeout: 30 }))).toMatchObject({
        code: 'ETIMEDOUT',
      });
      const controller = new AbortController();
      const aborted = UnixListener.bind({ path, stale: 'replace', signal: controller.signal });
      setTimeout(() => controller.abort(), 20);
      expect(await failure(aborted)).toMatchObject({ code: 'ABORT_ERR' });
    });
    const waiting = UnixListener.bind({ path, stale: 'replace' });
    other.send('\n'); // it ends, and the lock with it
    await (await waiting).close();
    expect(readdirSync(dir)).toEqual([]);
  });

  it('never deletes what others put there meanwhile, at whatever moment', async () => {
    const { dir, path } = place();
    // It puts one socket after the other in the place of the last, and each lives as long as the program.
    await using other = python(`
import os, select, socket, sys
path = ${JSON.stringify(path)}
print('ready', flush=True)
alive = []
i = 0
while not select.select([sys.stdin], [], [], 0.001)[0]:
    i += 1
    s = socket.socket(socket.AF_UNIX)
    s.bind(path + '.new')
    s.listen()
    alive = alive[-100:] + [s]
    if i % 2: # a dead one in between: something to be replaced
        s.close()
    os.rename(path + '.new', path)
s = socket.socket(socket.AF_UNIX)
s.bind(path + '.new')
s.listen()
os.rename(path + '.new', path)
print('last', os.stat(path).st_ino, flush=True)
sys.stdin.readline()
`);
    expect(await other.line()).toBe('ready');
    const outcomes = new Set<string>();
    const attempt = async (): Promise<void> => {
      try {
        await (await UnixListener.bind({ path, stale: 'replace' })).close();
        outcomes.add('listened');
      } catch (error) {
        outcomes.add(String((error as NodeJS.ErrnoException).code));
      }
    };
    for (let i = 0; i < 40; i++) await attempt();
    for (const outcome of outcomes) expect(['listened', 'EADDRINUSE']).toContain(outcome);
    other.send('\n');
    const [, ino] = (await other.line()).split(' ').map(Number);
    // The last one that it made lives, and its file is there: where it was put, or beside that.
    const left = readdirSync(dir).map((name) => lstatSync(join(dir, name)).ino);
    expect(left).toContain(ino);
    expect(existsSync(`${path}.lock`)).toBe(false);
  });
});

/** A program of another kind. */
function python(source: string): Beside {
  return start(['python3', '-c', source]);
}
