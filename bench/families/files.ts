import { closeSync, fsyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from '../harness/child.ts';
import { BenchError } from '../harness/error.ts';
import { fileSystem } from '../harness/machine.ts';
import { program } from '../harness/native.ts';
import { chosen, type Options } from '../harness/options.ts';
import { DIST, needed } from '../harness/paths.ts';
import { expected, numberedBlocks } from '../harness/pattern.ts';
import { type Command, onCpus } from '../harness/pinning.ts';
import type { Cell, Report } from '../harness/report.ts';
import { alternate, median, medianRatio } from '../harness/rounds.ts';
import { figure, printTable, times } from '../harness/table.ts';

const COUNT = 100;
const SIZE = 65536;
/** 64 MiB, which is more than the caches hold. */
const BLOCKS = 16384;

interface Workload {
  readonly name: string;
  readonly title: string;
  /** The subcommand of load/uring_files.c. */
  readonly c: string;
  /** Reads in flight at a time; 0 for the batches of whole files. */
  readonly depth: number;
}

const WORKLOADS: readonly Workload[] = [
  { name: 'read-reused', title: `${COUNT} files of 64 KiB read into memory used again`, c: 'read', depth: 0 },
  { name: 'read-fresh', title: `${COUNT} files of 64 KiB read into new memory`, c: 'readfresh', depth: 0 },
  { name: 'write', title: `${COUNT} files of 64 KiB written over`, c: 'write', depth: 0 },
  { name: 'random-1', title: 'random 4 KiB reads of a cached file, one by one', c: 'random', depth: 1 },
  { name: 'random-32', title: 'random 4 KiB reads of a cached file, 32 at a time', c: 'random', depth: 32 },
];

const CONTENDERS = ['ouro', 'ouro-poll', 'promises', 'sync', 'c', 'c-plain'].map((name) => ({ name }));
/** The engine of the contenders that have one. */
const DRIVERS: Readonly<Record<string, string>> = { ouro: 'uring', 'ouro-poll': 'poll' };
const BASE = 'promises';

interface FilesResult {
  readonly medianNs: number;
  readonly opsPerSecond: number;
  readonly cpuNsPerOp: number;
}

/** Whole files in batches and random reads, each contender in a process of its own. */
export async function files(options: Options): Promise<Report> {
  const contenders = chosen('contender', CONTENDERS, options.contenders);
  if (contenders.some(({ name }) => name.startsWith('ouro'))) {
    needed('ouro', 'packages/fs/dist/index.js', 'run `npm run build`');
  }
  const workloads = chosen('workload', WORKLOADS, options.workloads);
  const directory = makeDirectory();
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  process.on('exit', remove);
  try {
    writeDurably(join(directory, 'random'), numberedBlocks(BLOCKS));
    for (let i = 0; i < COUNT; i++) writeDurably(join(directory, `f${i}`), expected(i, SIZE));
    const type = fileSystem(directory);
    console.log(`\nfiles on ${type}, in ${directory}`);
    const cells: Cell[] = [];
    for (const workload of workloads) cells.push(await runWorkload(workload, contenders, directory, options));
    const conditions = { fileSystem: type, count: COUNT, size: SIZE, rounds: options.rounds, base: BASE };
    return { family: 'files', conditions: { ...conditions, cpus: options.cpus ?? 'all' }, cells };
  } finally {
    process.off('exit', remove);
    remove();
  }
}

/** In the system's place for such things, unless that is memory only. */
function makeDirectory(): string {
  const parent = fileSystem(tmpdir()) === 'tmpfs' ? DIST : tmpdir();
  return mkdtempSync(join(parent, 'ouro-bench-files-'));
}

/** On the disk when it returns, so that no write-back of it runs into the measurement. */
function writeDurably(path: string, data: Buffer): void {
  const fd = openSync(path, 'w');
  writeSync(fd, data);
  fsyncSync(fd);
  closeSync(fd);
}

async function runWorkload(
  workload: Workload,
  contenders: readonly { readonly name: string }[],
  directory: string,
  options: Options,
): Promise<Cell> {
  const results = await alternate(contenders, options.rounds, async ({ name }) => {
    if (workload.name === 'write') spoil(directory);
    const command = commandFor(name, workload, directory, options);
    const child = await Child.start(`'${name}' (${workload.name})`, onCpus(options.cpus, command));
    const result = (await child.result(120_000)) as FilesResult;
    if (workload.name === 'write') verify(directory, name);
    return result;
  });
  const base = results.get(BASE);
  const rows = contenders.map(({ name }) => {
    const rounds = results.get(name) ?? [];
    return {
      contender: name,
      medianNs: median(rounds.map((r) => r.medianNs)),
      opsPerSecond: median(rounds.map((r) => r.opsPerSecond)),
      opsPerSecondRatio: medianRatio(rounds, base, (r) => r.opsPerSecond),
      cpuNsPerOp: median(rounds.map((r) => r.cpuNsPerOp)),
      cpuRatio: medianRatio(rounds, base, (r) => r.cpuNsPerOp),
    };
  });
  const unit = workload.depth === 0 ? 'file' : 'read';
  printTable(
    workload.title,
    ['', workload.depth === 0 ? 'µs for all' : 'µs/read', `${unit}s/s`, '×', `CPU µs/${unit}`, '×'],
    rows.map((row) => [
      row.contender,
      figure(row.medianNs / 1000),
      figure(row.opsPerSecond),
      times(row.opsPerSecondRatio),
      figure(row.cpuNsPerOp / 1000),
      times(row.cpuRatio),
    ]),
  );
  return { cell: { workload: workload.name }, rows, rounds: Object.fromEntries(results) };
}

function commandFor(name: string, workload: Workload, directory: string, options: Options): Command {
  const iterations = options.quick ? 60 : 200;
  const random = join(directory, 'random');
  const { depth } = workload;
  if (name === 'c' || name === 'c-plain') {
    const args = depth === 0 ? [directory, COUNT, SIZE] : [random, options.seconds, depth];
    const extra = ['--iterations', iterations, ...(name === 'c-plain' ? ['--plain'] : [])];
    return { file: program('uring_files'), args: [workload.c, ...args, ...extra].map(String) };
  }
  const args =
    depth === 0
      ? [workload.name, directory, COUNT, SIZE, iterations]
      : ['random', random, BLOCKS, options.seconds, depth];
  const engine = DRIVERS[name];
  const contender = engine === undefined ? name : 'ouro';
  const command = [process.execPath, join(DIST, 'workers/files.js'), contender, ...args].map(String);
  return { file: 'env', args: engine === undefined ? command : [`OURO_DRIVER=${engine}`, ...command] };
}

/** Other bytes and a longer file: a write that does nothing, or does not cut off the rest, is found out. */
function spoil(directory: string): void {
  for (let i = 0; i < COUNT; i++) writeDurably(join(directory, `f${i}`), Buffer.alloc(SIZE + 100, 0xee));
}

function verify(directory: string, contender: string): void {
  for (let i = 0; i < COUNT; i++) {
    if (readFileSync(join(directory, `f${i}`)).equals(expected(i, SIZE))) continue;
    throw new BenchError(`'${contender}' wrote wrong bytes into f${i}`);
  }
}
