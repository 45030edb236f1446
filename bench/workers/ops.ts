/**
 * The cheapest thing a contender can await, in this process: time and CPU time for each, or memory for each.
 *
 *   node ops.js CONTENDER time DEPTH SECONDS
 *   node --expose-gc --min-semi-space-size=256 --max-semi-space-size=256 ops.js CONTENDER memory DEPTH
 *
 * For memory the young generation is made so large that no collection falls into the measurement; one that did is an
 * error. Time is not taken there: walking through 256 MiB of new pages costs more than the ops themselves.
 */
import { access } from 'node:fs/promises';
import { PerformanceObserver } from 'node:perf_hooks';
import { setImmediate as immediate } from 'node:timers/promises';

/** What is measured: one op that can be awaited, or a way of its own to keep `depth` ops in flight. */
type Op = () => PromiseLike<unknown>;
type Performer = (depth: number, total: number) => Promise<void>;

const awaited =
  (op: Op): Performer =>
  (depth, total) =>
    perform(op, depth, total);

const CONTENDERS: Readonly<Record<string, () => Promise<Performer>>> = {
  // A trip through the ring.
  ouro: async () => {
    const { nop } = await import('@ouro/runtime/driver');
    return awaited(() => nop());
  },
  // The same without a promise: what handles that gather completions (streams, listeners) pay.
  'ouro-callback': async () => {
    const { reactor } = await import('@ouro/runtime/driver');
    const { IORING_OP_NOP } = await import('@ouro/native/abi');
    return (depth, total) =>
      new Promise((done) => {
        const r = reactor();
        let left = total;
        let inFlight = 0;
        const completion = {
          resultIsFd: false,
          refed: true,
          complete(): void {
            inFlight--;
            if (left > 0) push();
            else if (inFlight === 0) done();
          },
        };
        const push = (): void => {
          left--;
          inFlight++;
          r.push(r.take(completion), IORING_OP_NOP, -1, 0, 0, 0, 0, 0, 0);
        };
        while (inFlight < depth) push();
      });
  },
  // As many as are in flight in one future.
  'ouro-batch': async () => {
    const { batch } = await import('@ouro/runtime');
    const { nop } = await import('@ouro/runtime/ops');
    return async (depth, total) => {
      for (let done = 0; done < total; done += depth) await batch(Array.from({ length: depth }, () => nop()));
    };
  },
  // A trip through libuv's thread pool.
  pool: async () => awaited(() => access('/')),
  // A turn of libuv's loop.
  immediate: async () => awaited(() => immediate()),
  // What the await itself costs.
  promise: async () => awaited(() => Promise.resolve()),
};

/** Keeps `depth` ops in flight until `total` are done. */
async function perform(op: Op, depth: number, total: number): Promise<void> {
  let left = total;
  const lane = async (): Promise<void> => {
    while (left-- > 0) await op();
  };
  await Promise.all(Array.from({ length: depth }, lane));
}

const cpuNs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};

/** Bytes in use that are not garbage, inside the JS heap and outside of it. */
async function inUse(): Promise<number> {
  // Twice, with turns of the loop between: what has a native part is freed only the second time.
  for (let i = 0; i < 2; i++) {
    globalThis.gc?.();
    await immediate();
    await immediate();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

let collections = 0;
new PerformanceObserver((list) => {
  collections += list.getEntries().length;
}).observe({ entryTypes: ['gc'] });

async function memory(
  run: Performer,
  depth: number,
): Promise<{ allocatedPerOp: number; retainedPerOp: number }> {
  const total = 50_000;
  await run(depth, total);
  const before = await inUse();
  collections = 0;
  const clean = process.memoryUsage().heapUsed;
  await run(depth, total);
  const allocated = process.memoryUsage().heapUsed - clean;
  // The observer reports a turn later.
  await immediate();
  await immediate();
  if (collections > 0) throw new Error(`${collections} collections ran while memory was measured`);
  return { allocatedPerOp: allocated / total, retainedPerOp: ((await inUse()) - before) / total };
}

async function time(
  run: Performer,
  depth: number,
  seconds: number,
): Promise<{ nsPerOp: number; cpuNsPerOp: number; entersPerOp: number }> {
  // The warm-up also tells how many ops fill the time.
  let total = 1000;
  let elapsedNs = 0;
  while (elapsedNs < 2e8) {
    total *= 2;
    const begun = process.hrtime.bigint();
    await run(depth, total);
    elapsedNs = Number(process.hrtime.bigint() - begun);
  }
  total = Math.ceil((total * seconds * 1e9) / elapsedNs);

  // Of whatever rings there are: none for the contenders that have nothing to do with one.
  const { metrics } = await import('@ouro/runtime');
  const enters = metrics().enters;
  const cpu = cpuNs();
  const begun = process.hrtime.bigint();
  await run(depth, total);
  const nsPerOp = Number(process.hrtime.bigint() - begun) / total;
  return {
    nsPerOp,
    cpuNsPerOp: (cpuNs() - cpu) / total,
    entersPerOp: (metrics().enters - enters) / total,
  };
}

const [name = '', mode = '', ...numbers] = process.argv.slice(2);
const [depth, seconds] = numbers.map(Number);
const performer = await CONTENDERS[name]();
const result = mode === 'time' ? await time(performer, depth, seconds) : await memory(performer, depth);
console.log(JSON.stringify({ event: 'result', ...result }));
