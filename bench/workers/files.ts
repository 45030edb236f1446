/**
 * Runs one file workload with one contender and prints one JSON line, the same as load/uring_files.c:
 *
 *   files.js CONTENDER read-reused|read-fresh|write DIR COUNT SIZE ITERATIONS
 *   files.js CONTENDER random FILE BLOCKS SECONDS DEPTH
 */
import { join } from 'node:path';
import { expected } from '../harness/pattern.ts';
import { median } from '../harness/rounds.ts';
import { BlockSource, type FileContender } from './contender.ts';

// Only the chosen one is loaded.
const CONTENDERS: Readonly<Record<string, () => Promise<{ contender: FileContender }>>> = {
  ouro: () => import('./files-ouro.ts'),
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
  const buffers = paths.map(() => Buffer.alloc(size));
  let read: readonly Uint8Array[] = workload === 'read-reused' ? buffers : [];

  const once = async (): Promise<void> => {
    if (workload === 'read-reused') await contender.readReused(paths, buffers);
    else if (workload === 'read-fresh') read = await contender.readFresh(paths);
    else await contender.write(paths, contents);
  };

  // Long enough for the JIT to have seen all of it.
  for (let i = 0; i < Math.max(20, iterations / 5); i++) await once();
  const times: number[] = [];
  const before = cpuNs();
  for (let i = 0; i < iterations; i++) {
    const begun = process.hrtime.bigint();
    await once();
    times.push(Number(process.hrtime.bigint() - begun));
  }
  const cpu = cpuNs() - before;
  // What was written is checked by the harness, from outside.
  for (let i = 0; i < read.length; i++) {
    if (contents[i].compare(read[i]) !== 0) throw new Error(`wrong bytes in ${paths[i]}`);
  }
  const medianNs = median(times);
  return {
    iterations,
    medianNs,
    opsPerSecond: (count / medianNs) * 1e9,
    cpuNsPerOp: cpu / iterations / count,
  };
}

async function random(contender: FileContender, args: readonly string[]): Promise<object> {
  const [path, ...numbers] = args;
  const [blockCount, seconds, depth] = numbers.map(Number);
  const blocks = new BlockSource(blockCount);
  blocks.until(performance.now() + 300);
  await contender.random(path, depth, blocks);

  const before = cpuNs();
  const begun = performance.now();
  blocks.until(begun + seconds * 1000);
  await contender.random(path, depth, blocks);
  const elapsedNs = (performance.now() - begun) * 1e6;
  const done = blocks.done;
  const cpu = cpuNs() - before;
  return {
    iterations: done,
    medianNs: elapsedNs / done,
    opsPerSecond: (done / elapsedNs) * 1e9,
    cpuNsPerOp: cpu / done,
  };
}

const [name = '', workload = '', ...rest] = process.argv.slice(2);
const { contender } = await CONTENDERS[name]();
const result =
  workload === 'random' ? await random(contender, rest) : await batches(contender, workload, rest);
console.log(JSON.stringify({ event: 'result', ...result }));
