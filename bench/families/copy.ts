import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from '../harness/child.ts';
import { BenchError } from '../harness/error.ts';
import { fileSystem } from '../harness/machine.ts';
import { chosen, type Options } from '../harness/options.ts';
import { DIST, needed } from '../harness/paths.ts';
import { expected } from '../harness/pattern.ts';
import { onCpus } from '../harness/pinning.ts';
import type { Cell, Report } from '../harness/report.ts';
import { alternate, type Measured, summary } from '../harness/rounds.ts';
import { figure, printTable, times } from '../harness/table.ts';

const FILES = 2000;
const DIRECTORIES = 100;
const SIZE = 1024;
const LARGE = 256 << 20;

const WORKLOADS = [
  { name: 'large', title: '256 MiB copied to a new file, cached' },
  { name: 'over', title: '256 MiB copied over a file as long, cached' },
  { name: 'small', title: `${FILES} files of 1 KiB copied, 8 at a time` },
  { name: 'tree', title: `a tree of ${FILES} files of 1 KiB in ${DIRECTORIES} directories` },
];

const CONTENDERS = ['ouro', 'ouro-poll', 'promises'].map((name) => ({ name }));
const DRIVERS: Readonly<Record<string, string>> = { ouro: 'uring', 'ouro-poll': 'poll' };
const BASE = 'promises';

let large: Buffer | undefined;
/** What is in the long file. Made once: it takes longer than copying it. */
const contents = (): Buffer => (large ??= expected(1, LARGE));

/** Copying, each contender in a process of its own. */
export async function copy(options: Options): Promise<Report> {
  const contenders = chosen('contender', CONTENDERS, options.contenders);
  const workloads = chosen('workload', WORKLOADS, options.workloads);
  needed('ouro', 'packages/fs/dist/index.js', 'run `npm run build`');
  const parent = fileSystem(tmpdir()) === 'tmpfs' ? DIST : tmpdir();
  const directory = mkdtempSync(join(parent, 'ouro-bench-copy-'));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  process.on('exit', remove);
  try {
    prepare(directory);
    const type = fileSystem(directory);
    console.log(`\ncopying on ${type}, in ${directory}`);
    const cells: Cell[] = [];
    for (const workload of workloads) cells.push(await runWorkload(workload, contenders, directory, options));
    const conditions = { fileSystem: type, files: FILES, size: SIZE, large: LARGE, base: BASE };
    return { family: 'copy', conditions: { ...conditions, rounds: options.rounds }, cells };
  } finally {
    process.off('exit', remove);
    remove();
  }
}

function prepare(directory: string): void {
  writeFileSync(join(directory, 'large'), contents());
  for (let i = 0; i < DIRECTORIES; i++) mkdirSync(join(directory, 'tree', `d${i}`), { recursive: true });
  for (let i = 0; i < FILES; i++) {
    writeFileSync(join(directory, 'tree', `d${i % DIRECTORIES}`, `f${i}`), expected(i, SIZE));
  }
}

async function runWorkload(
  workload: (typeof WORKLOADS)[number],
  contenders: readonly { readonly name: string }[],
  directory: string,
  options: Options,
): Promise<Cell> {
  const iterations = options.quick ? 5 : 11;
  const target = join(directory, 'target');
  const results = await alternate(contenders, options.rounds, async ({ name }) => {
    const engine = DRIVERS[name];
    const worker = [process.execPath, join(DIST, 'workers/copy.js'), engine === undefined ? name : 'ouro'];
    const args = [...worker, workload.name, directory, String(FILES), String(iterations)];
    const command = { file: 'env', args: engine === undefined ? args : [`OURO_DRIVER=${engine}`, ...args] };
    const child = await Child.start(`'${name}' (${workload.name})`, onCpus(options.cpus, command));
    const result = (await child.result(300_000)) as Measured;
    verify(workload.name, target, name);
    rmSync(target, { recursive: true, force: true });
    return result;
  });
  const base = results.get(BASE);
  const rows = contenders.map(({ name }) => ({
    contender: name,
    ...summary(results.get(name) ?? [], base),
  }));
  printTable(
    workload.title,
    ['', 'ms for all', 'files/s', '×', 'CPU µs/file', '×'],
    rows.map((row) => [
      row.contender,
      figure(row.medianNs / 1e6),
      figure(row.opsPerSecond),
      times(row.opsPerSecondRatio),
      figure(row.cpuNsPerOp / 1000),
      times(row.cpuRatio),
    ]),
  );
  return { cell: { workload: workload.name }, rows, rounds: Object.fromEntries(results) };
}

/** From outside, whether copies are what they should be. */
function verify(workload: string, target: string, contender: string): void {
  const wrong = (path: string): BenchError => new BenchError(`'${contender}' copied wrong bytes to ${path}`);
  if (workload === 'large' || workload === 'over') {
    if (!readFileSync(target).equals(contents())) throw wrong(target);
    return;
  }
  for (let i = 0; i < FILES; i++) {
    const name = workload === 'tree' ? join(`d${i % DIRECTORIES}`, `f${i}`) : `f${i}`;
    if (!readFileSync(join(target, name)).equals(expected(i, SIZE))) throw wrong(join(target, name));
  }
}
