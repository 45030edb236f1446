/**
 * Copies with one contender and prints one JSON line:
 *
 *   copy.js ouro|promises large|over|small|tree DIR FILES ITERATIONS
 *
 * DIR holds `large`, and `tree` with FILES files in it. Copies are made beside them and removed, which is not measured.
 */
import { promises } from 'node:fs';
import { join } from 'node:path';
import { median } from '../harness/rounds.ts';

interface CopyContender {
  copyFile(source: string, target: string): Promise<void>;
  cp(source: string, target: string, options: { readonly recursive: true }): Promise<unknown>;
}

// Only the chosen one is loaded.
const CONTENDERS: Readonly<Record<string, () => Promise<CopyContender>>> = {
  ouro: () => import('@ouro/fs'),
  promises: async () => promises,
};

/** Copies of small files under way at a time. */
const AT_A_TIME = 8;

const [name = '', workload = '', directory = '', ...numbers] = process.argv.slice(2);
const [files, iterations] = numbers.map(Number);
const contender = await CONTENDERS[name]();
const target = join(directory, 'target');

async function small(): Promise<void> {
  let next = 0;
  const some = async (): Promise<void> => {
    for (let i = next++; i < files; i = next++) {
      await contender.copyFile(join(directory, 'tree', `d${i % 100}`, `f${i}`), join(target, `f${i}`));
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, some));
}

async function once(): Promise<void> {
  if (workload === 'small') await small();
  else if (workload === 'tree') await contender.cp(join(directory, 'tree'), target, { recursive: true });
  else await contender.copyFile(join(directory, 'large'), target);
}

const cpuNs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};

const ops = workload === 'small' || workload === 'tree' ? files : 1;
const times: number[] = [];
let cpu = 0;
// The first time nothing is warm.
for (let i = -1; i < iterations; i++) {
  if (workload !== 'over') await promises.rm(target, { recursive: true, force: true });
  if (workload === 'small') await promises.mkdir(target);
  const before = cpuNs();
  const begun = process.hrtime.bigint();
  await once();
  const elapsed = Number(process.hrtime.bigint() - begun);
  if (i < 0) continue;
  times.push(elapsed);
  cpu += cpuNs() - before;
}
const medianNs = median(times);
console.log(
  JSON.stringify({
    event: 'result',
    iterations,
    medianNs,
    opsPerSecond: (ops / medianNs) * 1e9,
    cpuNsPerOp: cpu / iterations / ops,
  }),
);
