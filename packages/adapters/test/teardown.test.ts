import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { type Ended, type ProgramOptions, runProgram } from '../../../testing/program.ts';
import { sanitized } from '../../../testing/sanitized.ts';
import { HOOK, temporaryDirectory } from './support.ts';

// Each test starts a program, some of them dozens of workers, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 300_000 });

const directory = temporaryDirectory();
const fifo = join(directory, 'fifo');
execFileSync('mkfifo', [fifo]);
const text = join(directory, 'text');
writeFileSync(text, 'some text');

/**
 * Puts what the adapters do in flight, of every kind: what waits (accepts, receives, a read of a pipe, a request without an answer), what is
 * stuck (floods of bytes that nobody takes), and what goes on for ever (files read and written, an echo, a stream to a socket).
 */
const IN_FLIGHT = `
  import { once } from 'node:events';
  import fs from 'node:fs';
  import fsp from 'node:fs/promises';
  import http from 'node:http';
  import net from 'node:net';
  const nothing = () => {};
  const listening = async (server, ...where) => {
    server.listen(...where);
    await once(server, 'listening');
    return server.address();
  };
  const flood = Buffer.alloc(16 << 20);
  const text = ${JSON.stringify(text)};
  /** Resolves when all of it has begun. */
  async function busy() {
    const server = net.createServer((peer) => {
      peer.on('error', nothing).pause();
      peer.write(flood);
    });
    const { port } = await listening(server, 0, '127.0.0.1');
    const silent = net.connect(port, '127.0.0.1').on('error', nothing);
    await once(silent, 'connect');
    silent.pause();
    silent.write(flood);

    const echo = net.createServer((peer) => peer.on('error', nothing).pipe(peer));
    // (In the abstract space, of which nothing stays behind.)
    await listening(echo, '\\0ouro-teardown-' + process.pid + '-' + Math.random());
    const talker = net.connect(echo.address()).on('error', nothing);
    talker.on('data', (chunk) => talker.write(chunk));
    talker.write('to and fro');
    const endless = net.connect(echo.address()).on('error', nothing).on('data', nothing);
    fs.createReadStream('/dev/zero').on('error', nothing).pipe(endless);

    const web = http.createServer((request, response) => {
      if (request.url === '/silent') return;
      fs.createReadStream('/dev/zero').on('error', nothing).pipe(response);
    });
    const { port: webPort } = await listening(web, 0, '127.0.0.1');
    const get = (path) => http.get({ port: webPort, host: '127.0.0.1', path }).on('error', nothing);
    get('/silent');
    const [slow] = await once(get('/stuck'), 'response');
    slow.on('error', nothing).pause();
    const [fast] = await once(get('/endless'), 'response');
    fast.on('error', nothing).on('data', nothing);

    const pipe = fs.openSync(${JSON.stringify(fifo)}, 'r+');
    fs.read(pipe, Buffer.alloc(4096), 0, 4096, null, nothing);
    const files = async () => {
      for (;;) {
        await fsp.readFile(text);
        const handle = await fsp.open(text);
        await handle.read();
        await handle.close();
      }
    };
    files().catch(nothing);
    fs.createReadStream('/dev/zero').pipe(fs.createWriteStream('/dev/null'));
    await Promise.all([once(talker, 'data'), once(fast, 'data'), once(endless, 'data')]);
    return { talker, fast };
  }
`;

const ends = (source: string, options: ProgramOptions = {}): Promise<Ended> =>
  runProgram(`${IN_FLIGHT} ${source}`, { flags: HOOK, limitMs: 120_000, ...options });

describe('the process ends cleanly with all kinds of ops in flight', () => {
  it.each([
    ['process.exit', `await busy(); process.exit(3);`],
    ['process.exit when data arrives', `(await busy()).talker.once('data', () => process.exit(3));`],
    ['process.exit when an answer goes on', `(await busy()).fast.once('data', () => process.exit(3));`],
    ['process.exit in the callback of a file', `await busy(); fs.readFile(text, () => process.exit(3));`],
    [
      'process.exit in an accept',
      `await busy(); const server = net.createServer(() => process.exit(3)).listen(0, () => net.connect(server.address().port));`,
    ],
    [
      'process.exit in an exit handler',
      `const { talker } = await busy(); process.on('exit', () => process.exit(3)); talker.once('data', () => process.exit(0));`,
    ],
  ])('by %s', async (_, source) => {
    const { code, signal, stderr } = await ends(source);
    expect({ code, signal, stderr }).toEqual({ code: 3, signal: null, stderr: '' });
  });

  it.each([
    ['when data arrives', `(await busy()).talker.once('data', () => { throw new Error('thrown here'); });`],
    [
      'when an answer goes on',
      `(await busy()).fast.once('data', () => { throw new Error('thrown here'); });`,
    ],
    ['in the callback of a file', `await busy(); fs.stat(text, () => { throw new Error('thrown here'); });`],
    ['for a rejection', `await busy(); fsp.stat(text).then(() => { throw new Error('thrown here'); });`],
  ])('by an uncaught exception %s', async (_, source) => {
    const { code, signal, stderr } = await ends(source);
    expect({ code, signal, message: stderr.includes('Error: thrown here') }).toEqual({
      code: 1,
      signal: null,
      message: true,
    });
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('by %s', async (name) => {
    const { code, signal, stderr } = await ends(
      `const { talker } = await busy(); talker.once('data', () => process.kill(process.pid, '${name}'));`,
    );
    expect({ code, signal, stderr }).toEqual({ code: null, signal: name, stderr: '' });
  });

  it('by a SIGTERM that the program handles', async () => {
    const { code, signal, stderr } = await ends(
      `await busy(); process.once('SIGTERM', () => process.exit(4)); process.kill(process.pid, 'SIGTERM');`,
    );
    expect({ code, signal, stderr }).toEqual({ code: 4, signal: null, stderr: '' });
  });
});

/** A main thread that makes workers, each with all of it in flight, ends them in some way, and counts what is left. */
const workers = (rounds: number, body: string, end: string): string => `
  import { once } from 'node:events';
  import fs from 'node:fs';
  import { setTimeout as sleep } from 'node:timers/promises';
  import { Worker } from 'node:worker_threads';
  const url = new URL('data:text/javascript,' + encodeURIComponent(${JSON.stringify(`${IN_FLIGHT}
    import { parentPort } from 'node:worker_threads';
    const { talker, fast } = await busy();
    ${body}
  `)}));
  const kindOf = (fd) => {
    try {
      return fs.readlinkSync('/proc/self/fd/' + fd).replace(/:.*/, '');
    } catch {
      return 'gone'; // that of the listing
    }
  };
  const count = () => ({
    descriptors: fs.readdirSync('/proc/self/fd').map(kindOf).filter((kind) => kind !== 'gone').sort().join(' '),
    rings: fs.readFileSync('/proc/self/maps', 'utf8').split('\\n').filter((line) => line.includes('io_uring')).length,
  });
  const errors = new Set();
  const one = async () => {
    const worker = new Worker(url);
    worker.on('error', (error) => errors.add(error.message));
    const ended = new Promise((done) => worker.once('exit', done));
    ${end}
    await ended;
  };
  const round = () => Promise.all([one(), one()]);
  await round();
  const before = count();
  for (let i = 0; i < ${rounds}; i++) await round();
  const after = count();
  const left = after.descriptors === before.descriptors ? 'nothing' : [before.descriptors, after.descriptors];
  fs.writeSync(1, JSON.stringify({ left, rings: after.rings - before.rings, errors: [...errors] }));
`;

describe('a worker gives back its sockets, its ring and its memory', () => {
  const rounds = sanitized ? 2 : 4;
  const counted = async (body: string, end: string): Promise<unknown> => {
    const { code, signal, stdout, stderr } = await runProgram(workers(rounds, body, end), {
      flags: ['--no-warnings', ...HOOK],
      limitMs: 280_000,
    });
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' });
    return JSON.parse(stdout);
  };

  it('when it is terminated', async () => {
    expect(
      await counted(
        `parentPort.postMessage('busy');`,
        `await once(worker, 'message'); await worker.terminate();`,
      ),
    ).toEqual({ left: 'nothing', rings: 0, errors: [] });
  });

  it('when it is terminated at any moment', async () => {
    expect(
      await counted(
        `parentPort.postMessage('busy');`,
        `await once(worker, 'message'); await sleep(Math.random() * 30); await worker.terminate();`,
      ),
    ).toEqual({ left: 'nothing', rings: 0, errors: [] });
  });

  it('when it exits as data arrives', async () => {
    expect(await counted(`talker.once('data', () => process.exit());`, '')).toEqual({
      left: 'nothing',
      rings: 0,
      errors: [],
    });
  });

  it('when it fails as an answer goes on', async () => {
    expect(await counted(`fast.once('data', () => { throw new Error('thrown here'); });`, '')).toEqual({
      left: 'nothing',
      rings: 0,
      errors: ['thrown here'],
    });
  });
});
