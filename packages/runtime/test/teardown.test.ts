import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { sanitized } from '../../../testing/sanitized.ts';

/** Puts chains, batches, intervals, streams, timed ops, pools and direct descriptors in flight. */
const BUSY = `
  import { execFileSync } from 'node:child_process';
  import { openSync, mkdtempSync, rmSync } from 'node:fs';
  import { batch, BufferPool, chain, files, interval, link, metrics, Op, opKind, select, sleep, spawn, stream, submit, TaskGroup } from '@ouro/runtime';
  import { Descriptor, directKind, openInto, reactor, scratchOffset } from '@ouro/runtime/driver';
  import { close, nop } from '@ouro/runtime/ops';
  import { File } from '@ouro/fs';
  const OPEN = opKind('open', { resultIsFd: true });
  class Open extends Op {
    #path;
    constructor(kind, path, flags = 0) { super(kind, 18, 0, 0, 0, flags); this.fd = -100; this.#path = path; }
    place(slot) { const r = reactor(); r.scratch(slot).bytes.write(this.#path + '\\0', scratchOffset(slot)); this.addr = r.scratchAddress(slot); }
  }
  const direct = (path, place) => openInto(new Open(directKind(OPEN), path), place);
  const poll = (target, multishot = 0) => new Op(opKind('poll', { endsWithHandle: true }), 6, 0, 0, multishot, 1).on(target);
  const busy = async (fifo) => {
    const pipe = await File.open(fifo, 'r+');
    const place = files().allocate();
    const pool = new BufferPool({ count: 4, size: 4096 });
    const futures = [
      chain([nop(), direct('/dev/null', place), new Open(OPEN, '/dev/null'), link(poll(pipe), { timeout: 1e6 }), close(place)]),
      chain([new Open(OPEN, '/dev/null'), poll(pipe)], { timeout: 1e6 }),
      batch([poll(pipe), new Open(OPEN, '/dev/null'), poll(pipe)], { timeout: 1e6 }),
      batch(Array.from({ length: 300 }, () => poll(pipe))),
      submit(poll(pipe), { timeout: 1e6 }),
      pipe.read(pool.lease().buffer, null, { timeout: 1e6 }),
      interval(1).next(),
      interval(1e6).next(),
      stream(poll(pipe, 1)).next(),
      select({ one: sleep(1e6), other: submit(poll(pipe)) }),
      TaskGroup.run((group) => { for (let i = 0; i < 5; i++) group.spawn((task) => sleep(1e6, { scope: task.scope })); }, { timeout: 1e6 }),
      spawn((task) => sleep(1e6, { scope: task.scope }), { timeout: 1e6 }),
      File.open(fifo + '-unread', 'w', { timeout: 1e6 }),
    ];
    for (const future of futures) future.catch(() => {});
    await sleep(1);
    return futures;
  };
`;

/** A program of its own, with a pipe that nobody writes to. */
const alone = (rest: string): string => `
  ${BUSY}
  const folder = mkdtempSync('/tmp/ouro-teardown-');
  process.on('exit', () => rmSync(folder, { recursive: true }));
  execFileSync('mkfifo', [folder + '/fifo', folder + '/fifo-unread']);
  const futures = await busy(folder + '/fifo');
  ${rest}
`;

describe('the process ends cleanly with chains, batches, intervals and timed ops in flight', () => {
  it.each([
    ['by process.exit', 'process.exit(3);'],
    ['by process.exit when a chain has ended', 'chain([nop(), nop()]).then(() => process.exit(3));'],
    [
      'by process.exit in the middle of a chain',
      `const KIND = opKind('nop', { decode: () => process.exit(3) });
       chain([nop(), new Op(KIND, 0), new Open(OPEN, '/dev/null')]);`,
    ],
    ['by process.exit at a tick', 'interval(1).next().then(() => process.exit(3));'],
    ['by process.exit in a cancellation', 'for (const future of futures) future.cancel(); process.exit(3);'],
    [
      'by process.exit while all is being cancelled',
      'for (const future of futures) future.cancel(); chain([nop()]).then(() => process.exit(3));',
    ],
  ])('%s', async (_name, end) => {
    const { code, stderr } = await runProgram(alone(end));
    expect(stderr).toBe('');
    expect(code).toBe(3);
  });

  it('by an error out of a completion', async () => {
    const { code, stderr } = await runProgram(
      alone(`batch([nop()]).then(() => queueMicrotask(() => { throw new Error('out of a completion'); }));`),
    );
    expect(stderr).toContain('out of a completion');
    expect(code).toBe(1);
  });

  it('when all of it has been cancelled: nothing keeps it alive', async () => {
    const { code, stdout, stderr } = await runProgram(
      alone(`
        for (const future of futures) future.cancel();
        await Promise.allSettled(futures.slice(0, 6));
        process.exitCode = 0;
        setTimeout(() => { console.log(metrics().stale); process.exit(); }, 50);
      `),
    );
    expect(stderr).toBe('');
    expect([stdout, code]).toEqual(['0\n', 0]);
  });
});

/** Makes workers with all of that in flight, ends them in some way, and counts what is left. */
const workers = (count: number, body: string, end: string): string => `
  import { Worker } from 'node:worker_threads';
  import { once } from 'node:events';
  import { readdirSync, readFileSync, mkdtempSync, rmSync } from 'node:fs';
  import { execFileSync } from 'node:child_process';
  const folder = mkdtempSync('/tmp/ouro-teardown-');
  execFileSync('mkfifo', [folder + '/fifo', folder + '/fifo-unread']);
  const source = ${JSON.stringify(BUSY)} + ${JSON.stringify(`
    import { parentPort, workerData } from 'node:worker_threads';
    const futures = await busy(workerData);
    ${body}
  `)};
  const url = new URL('data:text/javascript,' + encodeURIComponent(source.replaceAll(/'(@ouro\\/[a-z\\/]+)'/g, (_, name) => JSON.stringify(import.meta.resolve(name)))));
  const count = () => {
    const maps = readFileSync('/proc/self/maps', 'utf8').split('\\n');
    return { fds: readdirSync('/proc/self/fd').length, rings: maps.filter((line) => line.includes('io_uring')).length, maps: maps.length };
  };
  const errors = [];
  const one = async () => {
    const worker = new Worker(url, { workerData: folder + '/fifo' });
    worker.on('error', (error) => errors.push(error.message));
    const ended = new Promise((done) => worker.once('exit', done));
    ${end}
    await ended;
  };
  const round = () => Promise.all([one(), one(), one(), one()]);
  await round();
  await round();
  const before = count();
  for (let i = 0; i < ${count}; i += 4) await round();
  const after = count();
  console.log(JSON.stringify({
    fds: after.fds - before.fds, rings: after.rings - before.rings, errors: [...new Set(errors)],
    grown: process.env.OURO_SANITIZED === undefined && after.maps - before.maps > 60 }));
  rmSync(folder, { recursive: true });
`;

describe('a worker gives back its ring, its memory and its descriptors', () => {
  const clean = { fds: 0, rings: 0, errors: [], grown: false };
  const limit = { limitMs: 300_000 };
  const times = sanitized ? 40 : 200;

  it(`${times} times when it is terminated with chains, batches, intervals and timed ops in flight`, async () => {
    const { stdout, stderr } = await runProgram(
      workers(
        times,
        `parentPort.postMessage('busy');`,
        `await once(worker, 'message'); await worker.terminate();`,
      ),
      limit,
    );
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual(clean);
  }, 310_000);

  it('when it is terminated at any moment', async () => {
    const { stdout, stderr } = await runProgram(
      workers(
        60,
        `parentPort.postMessage('busy');
         for (;;) {
           const place = files().allocate();
           const opening = [1, 2, 3].map(() => chain([new Open(OPEN, '/dev/null'), nop(-5)]).catch(() => {}));
           const cancelled = batch([new Open(OPEN, '/dev/null'), new Open(OPEN, '/dev/null')]);
           cancelled.cancel();
           await Promise.all([...opening, cancelled.catch(() => {}), chain([direct('/dev/null', place), link(nop(), { timeout: 100 }), close(place)])]);
         }`,
        `await once(worker, 'message'); await new Promise((done) => setTimeout(done, Math.random() * 30)); await worker.terminate();`,
      ),
      limit,
    );
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual(clean);
  }, 310_000);

  it('when it exits in the middle of a chain', async () => {
    const { stdout, stderr } = await runProgram(
      workers(
        20,
        `const KIND = opKind('nop', { decode: () => process.exit(0) });
         chain([new Open(OPEN, '/dev/null'), new Op(KIND, 0), new Open(OPEN, '/dev/null')]);`,
        '',
      ),
      limit,
    );
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual(clean);
  }, 310_000);

  it.each([
    ['that failed', `await chain([nop(-5), close(fd)]).catch(() => {});`],
    ['that waits', `chain([poll(pipe), close(fd)]).catch(() => {});`],
    [
      'that waits in spite of failures',
      `chain([link(poll(pipe), { hard: true }), close(fd)]).catch(() => {});`,
    ],
  ])(
    'at once, and closes what the end of a chain %s should have closed',
    async (_name, closing) => {
      const begin = performance.now();
      const { stdout, stderr } = await runProgram(
        workers(
          3,
          `const pipe = await File.open(workerData, 'r+');
         for (let i = 0; i < 5; i++) {
           const fd = await submit(new Open(OPEN, '/dev/null'));
           ${closing}
         }
         await sleep(1);
         parentPort.postMessage('busy');`,
          `await once(worker, 'message'); await worker.terminate();`,
        ),
        limit,
      );
      expect(stderr).toBe('');
      expect(JSON.parse(stdout)).toEqual(clean);
      // Three rounds, which took 5 seconds each; with the sanitizers they may take that long for other reasons.
      if (!sanitized) expect(performance.now() - begin).toBeLessThan(12_000);
    },
    110_000,
  );
});
