import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { sanitized } from '../../../testing/sanitized.ts';

/** Puts ops of every kind in flight: a sleep, a pipe read, an accept, a connection being received from and sent to. */
const IN_FLIGHT = `
  import { mkdtempSync, rmSync } from 'node:fs';
  import { execFileSync } from 'node:child_process';
  import { run, sleep, metrics } from '@ouro/runtime';
  import { File } from '@ouro/fs';
  import { TcpListener, TcpStream } from '@ouro/net';
  const busy = async (fifo) => {
    const listener = await TcpListener.bind({ host: '127.0.0.1' });
    const accepted = listener.accept();
    const client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
    const server = await accepted;
    const ops = [
      sleep(1e6),
      listener.accept(),
      client.read(Buffer.alloc(100)),
      server.writeAll(Buffer.alloc(64 << 20)),
      (async () => { for await (const chunk of server); })(),
    ];
    if (fifo !== undefined) {
      const pipe = await File.open(fifo, 'r+');
      ops.push(pipe.read(Buffer.alloc(4096)));
    }
    for (const op of ops) op.catch(() => {});
    await sleep(1);
    return ops;
  };
`;

describe('the process ends cleanly with ops in flight', () => {
  it('by process.exit', async () => {
    const { code, stderr } = await runProgram(`${IN_FLIGHT} await busy(); process.exit(3);`);
    expect(stderr).toBe('');
    expect(code).toBe(3);
  });

  it('by process.exit inside a completion', async () => {
    const { code, stderr } = await runProgram(`
      ${IN_FLIGHT}
      await busy();
      sleep(1).then(() => process.exit(4));
    `);
    expect(stderr).toBe('');
    expect(code).toBe(4);
  });

  it('by process.exit inside the exit handler of a completion', async () => {
    const { code, stdout } = await runProgram(`
      ${IN_FLIGHT}
      await busy();
      process.on('exit', () => { console.log(metrics().inFlight > 0); process.exitCode = 5; });
      await sleep(1);
      process.exit();
    `);
    expect(stdout).toBe('true\n');
    expect(code).toBe(5);
  });

  it('by an uncaught exception in a completion', async () => {
    const { code, stderr } = await runProgram(`
      ${IN_FLIGHT}
      await busy();
      sleep(1).then(() => queueMicrotask(() => { throw new Error('out of a completion'); }));
    `);
    expect(stderr).toContain('out of a completion');
    expect(code).toBe(1);
  });

  it('by an unhandled rejection', async () => {
    const { code, stderr } = await runProgram(`
      ${IN_FLIGHT}
      await busy();
      sleep(1).then(() => { throw new Error('nobody cares'); });
    `);
    expect(stderr).toContain('nobody cares');
    expect(code).toBe(1);
  });

  it('by a signal', async () => {
    const { signal } = await runProgram(
      `${IN_FLIGHT} await busy(); process.kill(process.pid, 'SIGTERM'); await sleep(1e6);`,
    );
    expect(signal).toBe('SIGTERM');
  });

  it('by process.abort, from which nothing can be saved', async () => {
    const { signal } = await runProgram(`${IN_FLIGHT} await busy(); process.abort();`, {
      under: ['prlimit', '--core=0'],
    });
    expect(signal).toBe('SIGABRT');
  });

  it("when only unref'd ops are left", async () => {
    const { code, stderr } = await runProgram(`
      import { sleep } from '@ouro/runtime';
      import { TcpListener } from '@ouro/net';
      sleep(1e6, { ref: false });
      const listener = (await TcpListener.bind()).unref();
      listener.accept();
    `);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });
});

describe('an uncaught exception that the program handles', () => {
  it('does not stop the ring', async () => {
    const { code, stdout } = await runProgram(`
      import { sleep } from '@ouro/runtime';
      process.on('uncaughtException', (error) => console.log('handled', error.message));
      await sleep(1);
      process.nextTick(() => { throw new Error('from nextTick'); });
      await sleep(1);
      queueMicrotask(() => { throw new Error('from a microtask'); });
      await sleep(1);
      console.log('goes on');
    `);
    expect(stdout).toBe('handled from nextTick\nhandled from a microtask\ngoes on\n');
    expect(code).toBe(0);
  });
});

/** A main thread that makes workers, each with ops in flight, ends them in some way, and counts what is left. */
const workers = (count: number, atOnce: number, body: string, end: string): string => `
  import { Worker } from 'node:worker_threads';
  import { once } from 'node:events';
  import { readdirSync, readFileSync, mkdtempSync, rmSync } from 'node:fs';
  import { execFileSync } from 'node:child_process';
  const folder = mkdtempSync('/tmp/ouro-teardown-');
  const fifo = folder + '/fifo';
  execFileSync('mkfifo', [fifo]);
  const source = ${JSON.stringify(IN_FLIGHT)} + ${JSON.stringify(`
    import { parentPort, workerData } from 'node:worker_threads';
    const ops = await busy(workerData);
    ${body}
  `)};
  const url = new URL('data:text/javascript,' + encodeURIComponent(source.replaceAll(/'(@ouro\\/[a-z]+)'/g, (_, name) => JSON.stringify(import.meta.resolve(name)))));
  const count = () => {
    const maps = readFileSync('/proc/self/maps', 'utf8').split('\\n');
    return { fds: readdirSync('/proc/self/fd').length, rings: maps.filter((line) => line.includes('io_uring')).length, maps: maps.length };
  };
  const one = async () => {
    const worker = new Worker(url, { workerData: fifo });
    worker.on('error', () => {});
    const ended = new Promise((done) => worker.once('exit', done));
    ${end}
    await ended;
  };
  const round = () => Promise.all(Array.from({ length: ${atOnce} }, one));
  await round();
  await round();
  const before = count();
  for (let i = 0; i < ${count}; i += ${atOnce}) await round();
  const after = count();
  console.log(JSON.stringify({
    fds: after.fds - before.fds, rings: after.rings - before.rings,
    // The sanitizer's own allocator keeps memory of ended threads.
    grown: process.env.OURO_SANITIZED === undefined && after.maps - before.maps > 60 }));
  rmSync(folder, { recursive: true });
`;

describe('a worker gives back its ring, its memory and its descriptors', () => {
  const clean = { fds: 0, rings: 0, grown: false };

  // (With a sanitizer each takes a second to begin.)
  const times = sanitized ? 40 : 200;

  it(`${times} times when it is terminated with ops in flight`, async () => {
    const { stdout, stderr } = await runProgram(
      workers(
        times,
        4,
        `parentPort.postMessage('busy');`,
        `await once(worker, 'message'); await worker.terminate();`,
      ),
      { limitMs: 300_000 },
    );
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual(clean);
  }, 310_000);

  it('when it is terminated at any moment', async () => {
    const { stdout, stderr } = await runProgram(
      workers(
        60,
        4,
        `parentPort.postMessage('busy');
         for (;;) { await Promise.all(Array.from({ length: 50 }, () => sleep(0))); }`,
        // Not before it runs: Node itself leaves files open when it is stopped while it loads modules.
        `await once(worker, 'message'); await new Promise((done) => setTimeout(done, Math.random() * 30)); await worker.terminate();`,
      ),
      { limitMs: 300_000 },
    );
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual(clean);
  }, 310_000);

  it('when it exits inside a completion', async () => {
    const { stdout, stderr } = await runProgram(workers(20, 4, 'sleep(1).then(() => process.exit(0));', ''), {
      limitMs: 300_000,
    });
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual(clean);
  }, 310_000);

  it('when it fails in a completion', async () => {
    const { stdout } = await runProgram(
      workers(20, 4, `sleep(1).then(() => { throw new Error('failed'); });`, ''),
      { limitMs: 300_000 },
    );
    expect(JSON.parse(stdout)).toEqual(clean);
  }, 310_000);

  it('while it writes into shared memory until its end and not after', async () => {
    const { stdout, stderr } = await runProgram(`
      import { Worker } from 'node:worker_threads';
      import { once } from 'node:events';
      const url = (name) => JSON.stringify(import.meta.resolve(name));
      const source = \`
        import { parentPort, workerData } from 'node:worker_threads';
        import { File } from \${url('@ouro/fs')};
        const bytes = new Uint8Array(workerData);
        const file = await File.open('/dev/urandom');
        for (let round = 0; ; round++) {
          if (round === 2) parentPort.postMessage('busy');
          await Promise.all(Array.from({ length: 16 }, (_, i) => file.read(bytes.subarray(i * 4096, (i + 1) * 4096))));
        }
      \`;
      const shared = new SharedArrayBuffer(65536);
      const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(source)), { workerData: shared });
      await once(worker, 'message');
      await worker.terminate();
      const first = Buffer.from(new Uint8Array(shared));
      await new Promise((done) => setTimeout(done, 50));
      console.log(first.some((byte) => byte !== 0), first.equals(Buffer.from(new Uint8Array(shared))));
    `);
    expect(stderr).toBe('');
    expect(stdout).toBe('true true\n');
  });
});
