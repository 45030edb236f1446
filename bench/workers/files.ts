/**
 * Runs one file workload with one contender and prints one JSON line, the same as load/uring_files.c:
 *
 *   files.js CONTENDER read-reused|read-fresh|write DIR COUNT SIZE ITERATIONS
 *   files.js CONTENDER random|direct FILE BLOCKS SECONDS DEPTH
 *   files.js CONTENDER sequential|copy FILE SECONDS
 *   files.js CONTENDER stats|stat|list PATH SECONDS
 *
 * One that cannot do it says `{ "event": "result", "cannot": true }`.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expected } from '../harness/pattern.ts';
import { median } from '../harness/rounds.ts';
import { BlockSource, type FileContender, PIECE } from './contender.ts';

// Only the chosen one is loaded.
const CONTENDERS: Readonly<Record<string, () => Promise<{ contender: FileContender }>>> = {
  ouro: () => import('./files-ouro.ts'),
  'ouro-single': () => import('./files-ouro-single.ts'),
  handle: () => import('./files-handle.ts'),
  bun: () => import('./files-bun.ts'),
  deno: () => import('./files-deno.ts'),
  promises: () => import('./files-promises.ts'),
  sync: () => import('./files-sync.ts'),
};

const cpuNs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};

async function batches(contender: FileContender, workload: string, args: readonly string[]): Promise<object> {
  const [directory, ...numbers] = args;
  const [count, size, iterations] = numbers.map(Number);
  const paths = Array.from({ length: count }, (_, i) => join(directory, `f${i}`));
  const contents = paths.map((_, i) => expected(i, size));
  const buffers = workload === 'read-reused' ? paths.map(() => Buffer.alloc(size)) : [];
  let read: readonly Uint8Array[] = [];
  const glance = (index: number, bytes: Uint8Array): void => {
    if (bytes.length !== size) throw new Error(`${paths[index]}: ${bytes.length} bytes`);
  };
  const examine = (index: number, bytes: Uint8Array): void => {
    if (contents[index].compare(bytes) !== 0) throw new Error(`wrong bytes in ${paths[index]}`);
  };

  const once = async (seen = glance): Promise<void> => {
    if (workload === 'read-reused') await contender.readReused?.(paths, buffers, seen);
    else if (workload === 'read-fresh') read = (await contender.readFresh?.(paths)) ?? [];
    else await contender.write?.(paths, contents);
  };

  // Long enough for the JIT to have seen all of it.
  for (let i = 0; i < Math.max(iterations < 20 ? 2 : 20, iterations / 5); i++) await once();
  const times: number[] = [];
  const before = cpuNs();
  for (let i = 0; i < iterations; i++) {
    const begun = process.hrtime.bigint();
    await once();
    times.push(Number(process.hrtime.bigint() - begun));
  }
  const cpu = cpuNs() - before;
  // What was written is checked by the harness, from outside.
  if (workload === 'read-reused') await once(examine);
  read.forEach((bytes, index) => {
    examine(index, bytes);
  });
  const medianNs = median(times);
  return {
    iterations,
    medianNs,
    opsPerSecond: (count / medianNs) * 1e9,
    cpuNsPerOp: cpu / iterations / count,
  };
}

async function random(contender: FileContender, args: readonly string[], direct: boolean): Promise<object> {
  const [path, ...numbers] = args;
  const [blockCount, seconds, depth] = numbers.map(Number);
  const blocks = new BlockSource(blockCount);
  blocks.until(performance.now() + 300);
  await contender.random?.(path, depth, blocks, direct);

  const before = cpuNs();
  const begun = performance.now();
  blocks.until(begun + seconds * 1000);
  await contender.random?.(path, depth, blocks, direct);
  const elapsedNs = (performance.now() - begun) * 1e6;
  const done = blocks.done;
  const cpu = cpuNs() - before;
  return perOp(done, elapsedNs, cpu);
}

/** So many ops in so much time. */
function perOp(done: number, elapsedNs: number, cpu: number): object {
  return {
    iterations: done,
    medianNs: elapsedNs / done,
    opsPerSecond: (done / elapsedNs) * 1e9,
    cpuNsPerOp: cpu / done,
  };
}

/** Runs `once`, which says how many ops that was, for so long. */
async function repeated(seconds: number, once: () => Promise<number>): Promise<object> {
  await once();
  let done = 0;
  const before = cpuNs();
  const begun = performance.now();
  do done += await once();
  while (performance.now() - begun < seconds * 1000);
  const elapsedNs = (performance.now() - begun) * 1e6;
  const cpu = cpuNs() - before;
  return perOp(done, elapsedNs, cpu);
}

async function sequential(
  contender: FileContender,
  [path = '', seconds]: readonly string[],
): Promise<object> {
  const { size } = statSync(path);
  return await repeated(Number(seconds), async () => {
    const bytes = await contender.sequential?.(path);
    if (bytes !== size) throw new Error(`${bytes} bytes of ${size}`);
    return size / PIECE;
  });
}

async function copy(contender: FileContender, [path = '', seconds]: readonly string[]): Promise<object> {
  const { size } = statSync(path);
  return await repeated(Number(seconds), async () => {
    await contender.copy?.(path, `${path}-copy`);
    return size / PIECE;
  });
}

async function stats(contender: FileContender, [path = '', seconds]: readonly string[]): Promise<object> {
  return await repeated(Number(seconds), async () => (await contender.stats?.(path)) ?? 0);
}

/** One call after the other. */
const CALLS = 100;

async function calls(
  call: (path: string) => unknown,
  [path = '', seconds]: readonly string[],
): Promise<object> {
  return await repeated(Number(seconds), async () => {
    for (let i = 0; i < CALLS; i++) await call(path);
    return CALLS;
  });
}

async function run(contender: FileContender, workload: string, args: readonly string[]): Promise<object> {
  switch (workload) {
    case 'random':
      return contender.random ? await random(contender, args, false) : CANNOT;
    case 'direct':
      return contender.random && !contender.cached ? await random(contender, args, true) : CANNOT;
    case 'stat':
      return contender.stat ? await calls(contender.stat, args) : CANNOT;
    case 'list':
      return contender.list ? await calls(contender.list, args) : CANNOT;
    case 'sequential':
      return contender.sequential ? await sequential(contender, args) : CANNOT;
    case 'copy':
      return contender.copy ? await copy(contender, args) : CANNOT;
    case 'stats':
      return contender.stats ? await stats(contender, args) : CANNOT;
    case 'read-reused':
      return contender.readReused ? await batches(contender, workload, args) : CANNOT;
    case 'read-fresh':
      return contender.readFresh ? await batches(contender, workload, args) : CANNOT;
    default:
      return contender.write ? await batches(contender, workload, args) : CANNOT;
  }
}

const CANNOT = { cannot: true };
const [name = '', workload = '', ...rest] = process.argv.slice(2);
const { contender } = await CONTENDERS[name]();
const result = await run(contender, workload, rest);
console.log(JSON.stringify({ event: 'result', ...result }));
