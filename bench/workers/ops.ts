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

type Op = () => PromiseLike<unknown>;

const CONTENDERS: Readonly<Record<string, () => Promise<Op>>> = {
  // A trip through the ring.
  ouro: async () => {
    const { nop } = await import('@ouro/runtime/driver');
    return () => nop();
  },
  // A trip through libuv's thread pool.
  pool: async () => () => access('/'),
  // A turn of libuv's loop.
  immediate: async () => () => immediate(),
  // What the await itself costs.
  promise: async () => () => Promise.resolve(),
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

async function memory(op: Op, depth: number): Promise<{ allocatedPerOp: number; retainedPerOp: number }> {
  const total = 50_000;
  await perform(op, depth, total);
  const before = await inUse();
  collections = 0;
  const clean = process.memoryUsage().heapUsed;
  await perform(op, depth, total);
  const allocated = process.memoryUsage().heapUsed - clean;
  // The observer reports a turn later.
  await immediate();
  await immediate();
  if (collections > 0) throw new Error(`${collections} collections ran while memory was measured`);
  return { allocatedPerOp: allocated / total, retainedPerOp: ((await inUse()) - before) / total };
}

async function time(
  op: Op,
  depth: number,
  seconds: number,
): Promise<{ nsPerOp: number; cpuNsPerOp: number }> {
  // The warm-up also tells how many ops fill the time.
  let total = 1000;
  let elapsedNs = 0;
  while (elapsedNs < 2e8) {
    total *= 2;
    const begun = process.hrtime.bigint();
    await perform(op, depth, total);
    elapsedNs = Number(process.hrtime.bigint() - begun);
  }
  total = Math.ceil((total * seconds * 1e9) / elapsedNs);

  const cpu = cpuNs();
  const begun = process.hrtime.bigint();
  await perform(op, depth, total);
  const nsPerOp = Number(process.hrtime.bigint() - begun) / total;
  return { nsPerOp, cpuNsPerOp: (cpuNs() - cpu) / total };
}

const [name = '', mode = '', ...numbers] = process.argv.slice(2);
const [depth, seconds] = numbers.map(Number);
const op = await CONTENDERS[name]();
const result = mode === 'time' ? await time(op, depth, seconds) : await memory(op, depth);
console.log(JSON.stringify({ event: 'result', ...result }));
