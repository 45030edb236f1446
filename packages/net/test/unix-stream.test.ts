import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { UnixListener, UnixStream } from '@ouro/net';
import { describe, expect, it } from 'vitest';
import { start } from '../../../testing/beside.ts';
import { bytes, failure, POLL, socketReadAll } from './support.ts';
import { connection, keepsDescriptors, socketDirectory } from './unix-support.ts';

const dir = socketDirectory();
let last = 0;
const freshPath = (): string => join(dir, `s${last++}`);

/** All that arrives until the end. */
async function readAll(stream: UnixStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A server of node:net at `path`. */
async function nodeServer(path: string, onConnection: (socket: net.Socket) => void): Promise<net.Server> {
  const server = net.createServer({ allowHalfOpen: true }, onConnection).listen(path);
  await once(server, 'listening');
  return server;
}

/** The error of node:net's attempt. */
async function nodeFailure(begin: () => net.Server | net.Socket): Promise<object> {
  const [error] = (await once(begin(), 'error')) as [Error & { port?: number }];
  const { port: _, ...rest } = error; // node says -1 for a path
  return { ...rest, message: error.message };
}

describe('a listener at a path', () => {
  it.each([
    ['a path', () => freshPath()],
    // Node 20 makes every abstract name 108 bytes long.
    ['an abstract name', () => `\0ouro-${process.pid}-${last++}`.padEnd(108, '\0')],
  ])('takes connections of node:net at %s', async (_kind, make) => {
    const path = make();
    await keepsDescriptors(async () => {
      await using listener = await UnixListener.bind({ path });
      expect(listener.address).toEqual({ path });
      const data = bytes(1 << 20, 3);
      const socket = net.connect({ path, allowHalfOpen: true }).end(data);
      const stream = await listener.accept();
      const received = await readAll(stream);
      expect(received.equals(data)).toBe(true);
      const back = socketReadAll(socket);
      await stream.writeAll(received);
      await stream.shutdown();
      expect((await back).equals(data)).toBe(true);
      await stream.close();
    });
  });

  it('is an iterable of connections that ends when it is closed', async () => {
    const listener = await UnixListener.bind({ path: freshPath() });
    const seen: string[] = [];
    const loop = (async () => {
      for await (const stream of listener) {
        seen.push((await readAll(stream)).toString());
        await stream.close();
      }
    })();
    for (const text of ['one', 'two', 'three']) {
      await using stream = await UnixStream.connect(listener.address);
      await stream.writeAll(text);
      await stream.shutdown();
      expect(await stream.read(Buffer.alloc(1))).toBe(0);
    }
    await listener.close();
    await loop;
    expect(seen).toEqual(['one', 'two', 'three']);
  });

  it('gets an abstract name from the kernel if it asks for none', async () => {
    await using listener = await UnixListener.bind();
    expect(listener.address.path).toMatch(/^\0[0-9a-f]{5}$/);
    await using stream = await UnixStream.connect(listener.address);
    expect(stream.remoteAddress).toEqual(listener.address);
  });

  it('knows its path relative to the working directory of then', async () => {
    const path = freshPath();
    const before = process.cwd();
    process.chdir(dir);
    const relative = path.slice(dir.length + 1);
    const listener = await UnixListener.bind({ path: relative }).finally(() => process.chdir(before));
    expect(listener.address).toEqual({ path: relative });
    await listener.close();
    expect(existsSync(path)).toBe(false);
  });

  it.each([
    ['somebody listens there', (path: string) => nodeServer(path, () => {})],
    [
      'there is something else',
      async (path: string) => {
        writeFileSync(path, 'precious');
        return null;
      },
    ],
  ])('fails as node:net words it if %s', async (_what, make) => {
    const path = freshPath();
    const made = await make(path);
    const told = await failure(UnixListener.bind({ path }));
    expect(told).toEqual(await nodeFailure(() => net.createServer().listen(path)));
    expect(told.code).toBe('EADDRINUSE');
    made?.close();
  });

  it('says what is wrong with a path, before anything is done', async () => {
    const over = join(dir, 'x'.repeat(107 - dir.length));
    expect(over).toHaveLength(108);
    expect(() => UnixListener.bind({ path: over })).toThrow('It must be 1 to 107 bytes');
    expect(() => UnixStream.connect({ path: over })).toThrow('It must be 1 to 107 bytes');
    expect(() => UnixListener.bind({ path: 'a\0b' })).toThrow('must be without null bytes');
    expect(() => UnixStream.connect({ path: '' })).toThrow(RangeError);
    // @ts-expect-error a path is a string
    expect(() => UnixStream.connect({ path: 7 })).toThrow(TypeError);
    // @ts-expect-error two words are known
    expect(() => UnixListener.bind({ path: 'x', stale: 'always' })).toThrow(TypeError);
    expect(() => UnixListener.bind({ path: 'x', mode: 0o1777 })).toThrow(RangeError);
    const longest = over.slice(0, 107);
    await using listener = await UnixListener.bind({ path: longest });
    await using stream = await UnixStream.connect({ path: longest });
    expect(stream.remoteAddress).toEqual(listener.address);
    expect((await failure(UnixListener.bind({ path: join(dir, 'none', 'x') }))).message).toMatch(
      /^listen ENOENT: no such file or directory /,
    );
  });

  it('removes its own file when it is closed, once, and nobody else’s', async () => {
    const path = freshPath();
    const first = await UnixListener.bind({ path });
    renameSync(path, `${path}.old`);
    await using second = await UnixListener.bind({ path });
    const { ino } = lstatSync(path);
    await first.close();
    await first.close();
    expect(lstatSync(path).ino).toBe(ino);
    await using stream = await UnixStream.connect({ path });
    expect(stream.remoteAddress).toEqual({ path });
    // Renamed it is still there: the listener knows one path.
    expect(existsSync(`${path}.old`)).toBe(true);
    await second.close();
    expect(readdirSync(dir).filter((name) => join(dir, name).startsWith(path))).toEqual([
      `${path.slice(dir.length + 1)}.old`,
    ]);
  });

  it('leaves what is no socket alone when it is closed', async () => {
    const path = freshPath();
    const listener = await UnixListener.bind({ path });
    renameSync(path, `${path}.moved`);
    writeFileSync(path, 'precious');
    await listener.close();
    expect(statSync(path).size).toBe(8);
  });

  it.each([[0o600], [0o660], [0o666], [0o777]])(
    'has the permissions asked for, whatever the umask: %o',
    async (mode) => {
      const path = freshPath();
      await using _ = await UnixListener.bind({ path, mode });
      expect(lstatSync(path).mode & 0o7777).toBe(mode);
    },
  );

  it.skipIf(process.getuid?.() === 0)('closes although its file cannot be removed', async () => {
    const closed = join(dir, 'closed');
    mkdirSync(closed);
    const listener = await UnixListener.bind({ path: join(closed, 's') });
    chmodSync(closed, 0o500);
    await listener.close();
    chmodSync(closed, 0o700);
    expect(readdirSync(closed)).toEqual(['s']);
  });

  it('lets an accept be cancelled, timed out, and ended by its close', async () => {
    await keepsDescriptors(async () => {
      const listener = await UnixListener.bind({ path: freshPath() });
      const cancelled = listener.accept();
      cancelled.cancel('changed my mind');
      expect(await failure(cancelled)).toMatchObject({ code: 'ABORT_ERR' });
      expect(await failure(listener.accept({ timeout: 1 }))).toMatchObject({ code: 'ETIMEDOUT' });
      const waiting = failure(listener.accept());
      await listener.close();
      expect(await waiting).toMatchObject({ message: 'accept ECANCELED' });
      expect((await failure(listener.accept())).code).toBe('EBADF');
    });
  });

  it('refuses to begin with a signal that has aborted', async () => {
    const path = freshPath();
    const signal = AbortSignal.abort();
    expect(await failure(UnixListener.bind({ path, signal }))).toMatchObject({ code: 'ABORT_ERR' });
    expect(existsSync(path)).toBe(false);
    expect(await failure(UnixStream.connect({ path, signal }))).toMatchObject({ code: 'ABORT_ERR' });
  });
});

/** A file that is no socket. */
function freshFile(): string {
  const path = freshPath();
  writeFileSync(path, 'precious');
  return path;
}

describe('a stream', () => {
  it('connects to a server of node:net', async () => {
    const path = freshPath();
    const server = await nodeServer(path, (socket) => void socket.pipe(socket));
    await keepsDescriptors(async () => {
      await using stream = await UnixStream.connect({ path });
      expect([stream.localAddress, stream.remoteAddress]).toEqual([{ path: '' }, { path }]);
      const data = bytes(3 << 20, 5);
      const sent = stream.writeAll(data).then(() => stream.shutdown());
      expect((await readAll(stream)).equals(data)).toBe(true);
      await sent;
    });
    server.close();
  });

  it.each([
    ['nobody is there', () => freshPath(), 'ENOENT'],
    ['it is no socket', () => freshFile(), 'ECONNREFUSED'],
    ['a directory is missing', () => join(freshPath(), 'x'), 'ENOENT'],
    ['something else than a directory is on the way', () => join(freshFile(), 'x'), 'ENOTDIR'],
    ['nobody has the abstract name', () => '\0ouro-nobody', 'ECONNREFUSED'],
  ])('fails as node:net words it if %s', async (_what, make, code) => {
    const path = make();
    await keepsDescriptors(async () => {
      const told = await failure(UnixStream.connect({ path }));
      expect(told).toEqual(await nodeFailure(() => net.connect({ path })));
      expect(told.code).toBe(code);
    });
  });

  it('waits while the backlog is full, and can be cancelled or time out there', async () => {
    await keepsDescriptors(async () => {
      await using listener = await UnixListener.bind({ path: freshPath(), backlog: 0 });
      const first = await UnixStream.connect(listener.address);
      const waiting = UnixStream.connect(listener.address);
      const cancelled = UnixStream.connect(listener.address);
      expect(await failure(UnixStream.connect({ ...listener.address, timeout: 20 }))).toMatchObject({
        code: 'ETIMEDOUT',
      });
      cancelled.cancel();
      expect(await failure(cancelled)).toMatchObject({ code: 'ABORT_ERR' });
      const accepted = await listener.accept();
      const second = await waiting;
      await Promise.all([first, second, accepted].map((stream) => stream.close()));
    });
  });

  it('gives up waiting for a backlog at whatever moment it is asked to', async () => {
    await keepsDescriptors(async () => {
      await using listener = await UnixListener.bind({ path: freshPath(), backlog: 0 });
      const first = await UnixStream.connect(listener.address);
      for (let i = 0; i < 40; i++) {
        const cancelled = UnixStream.connect(listener.address);
        for (let turns = 0; turns < i % 4; turns++) await new Promise(setImmediate);
        cancelled.cancel();
        expect(await failure(cancelled)).toMatchObject({ code: 'ABORT_ERR' });
        const late = UnixStream.connect({ ...listener.address, timeout: (i % 3) * 0.1 });
        expect(await failure(late)).toMatchObject({ code: 'ETIMEDOUT' });
      }
      await first.close();
    });
  });

  it('has a pair of its kind', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = UnixStream.pair();
      await one.writeAll('to the other');
      await one.shutdown();
      expect((await readAll(other)).toString()).toBe('to the other');
      await other.writeAll('and back');
      await other.close();
      expect((await readAll(one)).toString()).toBe('and back');
      expect([one.localAddress, one.remoteAddress]).toEqual([{ path: '' }, { path: '' }]);
      await one.close();
      expect([one.fd, one.localAddress?.path, other.remoteAddress]).toEqual([-1, '', undefined]);
    });
  });

  it.skipIf(spawnSync('sh', ['-c', 'command -v socat']).status !== 0)(
    'is echoed by socat (skipped where it is not installed)',
    async () => {
      const path = freshPath();
      await using socat = start(['socat', `UNIX-LISTEN:${path}`, 'EXEC:cat']);
      // The file is there before anybody listens: flag __SO_ACCEPTCON (0x10000) says that somebody does.
      const listens = new RegExp(`: \\w+ \\w+ 00010000 .* ${path}\\n`);
      await expect.poll(() => listens.test(readFileSync('/proc/net/unix', 'latin1')), POLL).toBe(true);
      const stream = await UnixStream.connect({ path });
      await stream.writeAll('to socat and back');
      await stream.shutdown();
      expect((await readAll(stream)).toString()).toBe('to socat and back');
      await stream.close();
      await socat.ended;
    },
  );

  it('knows who made the other end', async () => {
    const path = freshPath();
    await using listener = await UnixListener.bind({ path });
    const child = spawn(
      process.execPath,
      ['-e', `require('net').connect(${JSON.stringify(path)}).resume()`],
      {
        stdio: 'ignore',
        env: { ...process.env, NODE_OPTIONS: '' },
      },
    );
    const stream = await listener.accept();
    expect(stream.peerCredentials()).toEqual({
      pid: child.pid,
      uid: process.getuid?.(),
      gid: process.getgid?.(),
    });
    child.kill('SIGKILL');
    await stream.close();
    expect(() => stream.peerCredentials()).toThrow('EBADF');
    expect(() => stream.peerPidfd()).toThrow('EBADF');
  });

  it('has a descriptor of the process that made the other end, where the kernel can do that', async () => {
    const [one, other] = UnixStream.pair();
    try {
      const pidfd = one.peerPidfd();
      const info = readFileSync(`/proc/self/fdinfo/${pidfd}`, 'utf8');
      expect(/^Pid:\s+(\d+)$/m.exec(info)?.[1]).toBe(String(process.pid));
      closeSync(pidfd);
    } catch (error) {
      expect(error).toMatchObject({ message: 'getsockopt ENOPROTOOPT' }); // before Linux 6.5
    }
    await Promise.all([one.close(), other.close()]);
  });

  it('survives a peer that is gone', async () => {
    await keepsDescriptors(async () => {
      const { client, server } = await connection();
      await client.writeAll('unread');
      await server.close();
      expect(await failure(client.writeAll('x'))).toMatchObject({ message: 'write EPIPE' });
      expect(await failure(client.read(Buffer.alloc(1)))).toMatchObject({ message: 'read ECONNRESET' });
      await client.close();
    });
  });

  it.each(['read', 'writeAll', 'receiveDescriptors', 'sendDescriptors'] as const)(
    'ends a %s that waits: by cancel, by its timeout, by close',
    async (method) => {
      await keepsDescriptors(async () => {
        const { client, server } = await connection();
        if (method === 'writeAll' || method === 'sendDescriptors') {
          await client.writeAll(Buffer.alloc(64 << 20), { timeout: 20 }).catch(() => {});
        }
        const begin = (options?: { timeout: number }) =>
          method === 'sendDescriptors'
            ? client.sendDescriptors([client], 'x', options)
            : client[method](Buffer.alloc(64 << 20), options);
        const cancelled = begin();
        client.cancel('reason');
        expect(await failure(cancelled)).toMatchObject({ code: 'ABORT_ERR' });
        expect(await failure(begin({ timeout: 5 }))).toMatchObject({ code: 'ETIMEDOUT' });
        const behind = method.startsWith('send') ? failure(begin()) : null;
        const closed = failure(begin());
        await client.close();
        expect((await closed).code).toBe('ECANCELED');
        if (behind !== null) expect((await behind).code).toBe('ECANCELED');
        expect((await failure(begin())).code).toBe('EBADF');
        await server.close();
      });
    },
  );

  it('is made of a descriptor that came from elsewhere', async () => {
    const path = freshPath();
    const server = net.createServer({ pauseOnConnect: true }).listen(path);
    const [[accepted], stream] = await Promise.all([
      once(server, 'connection') as Promise<[net.Socket]>,
      UnixStream.connect({ path }),
    ]);
    // The number of node's own end, which stays node's.
    expect(() => UnixListener.fromFd(stream.fd)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_FD_TYPE' }),
    );
    expect(() => UnixStream.fromFd(1 << 20)).toThrow('getsockopt EBADF');
    expect(() => UnixStream.fromFd(-1)).toThrow(RangeError);
    accepted.destroy();
    await stream.close();
    server.close();
    await expect.poll(() => existsSync(path), POLL).toBe(false);
  });
});
