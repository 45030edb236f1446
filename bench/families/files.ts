import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from '../harness/child.ts';
import { BenchError } from '../harness/error.ts';
import { fileSystem } from '../harness/machine.ts';
import { program } from '../harness/native.ts';
import { chosen, type Options } from '../harness/options.ts';
import { DIST, needed } from '../harness/paths.ts';
import { expected, numberedBlocks } from '../harness/pattern.ts';
import { runtimes } from '../harness/peers.ts';
import { type Command, onCpus } from '../harness/pinning.ts';
import type { Cell, Report } from '../harness/report.ts';
import { alternate, type Measured, medianRatio, summary } from '../harness/rounds.ts';
import { figure, printTable, times } from '../harness/table.ts';

const SIZE = 65536;
const SMALL = 1024;
/** 64 MiB, which is more than the caches hold. */
const BLOCKS = 16384;
const MIB = 1 << 20;
const LONG_MIB = 1024;
const NAMES = 100;
const TREE = { directories: 100, files: 1000 } as const;

interface Workload {
  readonly name: string;
  readonly title: string;
  /** What the workers do; the subcommand of load/uring_files.c. */
  readonly does:
    | 'read-reused'
    | 'read-fresh'
    | 'write'
    | 'random'
    | 'direct'
    | 'sequential'
    | 'copy'
    | 'stats'
    | 'stat'
    | 'list';
  readonly c?: string;
  /** Whole files: how many, and of how many bytes. */
  readonly count?: number;
  readonly size?: number;
  /** Reads in flight at a time. */
  readonly depth?: number;
  /** The contender that the ratios are taken to. */
  readonly base: string;
  /** What an op is. */
  readonly unit: string;
}

const whole = { base: 'promises', unit: 'file' } as const;
const hundred = { ...whole, count: 100, size: SIZE } as const;
const small = { ...whole, count: 10_000, size: SMALL } as const;
const blocks = { base: 'handle', unit: 'read' } as const;

const WORKLOADS: readonly Workload[] = [
  {
    ...hundred,
    name: 'read-reused',
    title: '100 files of 64 KiB read into memory used again',
    does: 'read-reused',
    c: 'read',
  },
  {
    ...hundred,
    name: 'read-fresh',
    title: '100 files of 64 KiB read into new memory',
    does: 'read-fresh',
    c: 'readfresh',
  },
  { ...hundred, name: 'write', title: '100 files of 64 KiB written over', does: 'write', c: 'write' },
  { ...small, name: 'small-read', title: '10,000 files of 1 KiB read', does: 'read-fresh', c: 'readfresh' },
  { ...small, name: 'small-write', title: '10,000 files of 1 KiB written over', does: 'write', c: 'write' },
  ...[1, 32, 128].map(
    (depth): Workload => ({
      ...blocks,
      name: `random-${depth}`,
      title: `random 4 KiB reads of a cached file, ${depth} at a time`,
      does: 'random',
      c: 'random',
      depth,
    }),
  ),
  ...[1, 32, 128].map(
    (depth): Workload => ({
      ...blocks,
      name: `direct-${depth}`,
      title: `random 4 KiB reads past the page cache (O_DIRECT), ${depth} at a time`,
      does: 'direct',
      c: 'random',
      depth,
    }),
  ),
  {
    name: 'sequential',
    title: 'a cached file of 1 GiB from end to end',
    does: 'sequential',
    c: 'sequential',
    depth: 1,
    base: 'promises',
    unit: 'MiB',
  },
  {
    name: 'copy',
    title: 'a cached file of 1 GiB copied over another',
    does: 'copy',
    c: 'copy',
    base: 'promises',
    unit: 'MiB',
  },
  {
    name: 'stats',
    title: 'a tree of 100,000 files looked through',
    does: 'stats',
    c: 'stats',
    depth: 256,
    base: 'promises',
    unit: 'entry',
  },
  {
    name: 'stat',
    title: 'one file looked at (stat), again and again, one call after the other',
    does: 'stat',
    base: 'promises',
    unit: 'call',
  },
  {
    name: 'list',
    title: 'a directory of 100 names listed (readdir), one call after the other',
    does: 'list',
    base: 'promises',
    unit: 'call',
  },
];

const CONTENDERS = [
  'ouro',
  'ouro-poll',
  'ouro-single',
  'promises',
  'handle',
  'sync',
  'bun',
  'deno',
  'c',
  'c-plain',
].map((name) => ({ name }));
/** The engine of the contenders that have one. */
const DRIVERS: Readonly<Record<string, string>> = {
  ouro: 'uring',
  'ouro-poll': 'poll',
  'ouro-single': 'uring',
};

interface FilesResult extends Measured {
  /** It has no such thing. */
  readonly cannot?: boolean;
}

const NOTHING: FilesResult = {
  medianNs: Number.NaN,
  opsPerSecond: Number.NaN,
  cpuNsPerOp: Number.NaN,
  cannot: true,
};

/** Whole files in batches and reads of long ones, each contender in a process of its own. */
export async function files(options: Options): Promise<Report> {
  const others = runtimes(options.peers);
  const contenders = chosen('contender', CONTENDERS, options.contenders).filter(
    ({ name }) => (name !== 'bun' && name !== 'deno') || others.has(name),
  );
  if (contenders.some(({ name }) => name.startsWith('ouro'))) {
    needed('ouro', 'packages/fs/dist/index.js', 'run `npm run build`');
  }
  const workloads = chosen('workload', WORKLOADS, options.workloads);
  const directory = makeDirectory();
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  process.on('exit', remove);
  try {
    const type = fileSystem(directory);
    console.log(`\nfiles on ${type}, in ${directory}`);
    const place: Place = { directory, others, options };
    const cells: Cell[] = [];
    for (const workload of workloads) {
      prepare(workload, directory, options.quick);
      cells.push(await runWorkload(workload, contenders, place));
    }
    const conditions = { fileSystem: type, rounds: options.rounds };
    return { family: 'files', conditions: { ...conditions, cpus: options.cpus ?? 'all' }, cells };
  } finally {
    process.off('exit', remove);
    remove();
  }
}

interface Place {
  readonly directory: string;
  readonly others: ReadonlyMap<string, string>;
  readonly options: Options;
}

const filesOf = ({ count = 0, size = 0 }: Workload, directory: string): string =>
  join(directory, `${count}x${size}`);
const longFile = (directory: string): string => join(directory, 'long');

/** Makes the files that a workload needs, unless they are there. */
function prepare(workload: Workload, directory: string, quick: boolean): void {
  const { does, count = 0, size = 0 } = workload;
  if (does === 'random' || does === 'direct') {
    const path = join(directory, 'random');
    if (!existsSync(path)) writeDurably(path, numberedBlocks(BLOCKS));
  } else if (does === 'sequential' || does === 'copy') {
    if (existsSync(longFile(directory))) return;
    const fd = openSync(longFile(directory), 'w');
    const piece = Buffer.alloc(MIB, 'long');
    for (let i = 0; i < (quick ? LONG_MIB / 4 : LONG_MIB); i++) writeSync(fd, piece);
    fsyncSync(fd);
    closeSync(fd);
  } else if (does === 'stat' || does === 'list') {
    const names = join(directory, 'names');
    if (existsSync(names)) return;
    mkdirSync(names);
    for (let i = 0; i < NAMES; i++) closeSync(openSync(join(names, `f${i}`), 'w'));
  } else if (does === 'stats') {
    const tree = join(directory, 'tree');
    if (existsSync(tree)) return;
    for (let i = 0; i < TREE.directories; i++) {
      mkdirSync(join(tree, `d${i}`), { recursive: true });
      for (let j = 0; j < (quick ? TREE.files / 10 : TREE.files); j++)
        closeSync(openSync(join(tree, `d${i}`, `f${j}`), 'w'));
    }
  } else if (!existsSync(filesOf(workload, directory))) {
    mkdirSync(filesOf(workload, directory));
    for (let i = 0; i < count; i++)
      writeFileSync(join(filesOf(workload, directory), `f${i}`), expected(i, size));
    spawnSync('sync');
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
  place: Place,
): Promise<Cell> {
  const { options, directory } = place;
  const unable = new Set<string>();
  const writes = workload.does === 'write';
  const results = await alternate(contenders, options.rounds, async ({ name }) => {
    const command = unable.has(name) ? null : commandFor(name, workload, place);
    if (command === null) return NOTHING;
    if (writes) spoil(workload, directory);
    const child = await Child.start(`'${name}' (${workload.name})`, onCpus(options.cpus, command));
    const result = (await child.result(240_000)) as FilesResult;
    if (result.cannot === true) {
      unable.add(name);
      return NOTHING;
    }
    if (writes) verify(workload, directory, name);
    return result;
  });
  const base = results.get(workload.base);
  const rows = contenders.map(({ name }) => {
    const rounds = results.get(name) ?? [];
    return {
      contender: name,
      ...summary(rounds, base),
      cRatio:
        workload.c === undefined ? undefined : medianRatio(rounds, results.get('c'), (r) => r.opsPerSecond),
    };
  });
  const { unit, count } = workload;
  printTable(
    workload.title,
    [
      '',
      count === undefined ? `µs/${unit}` : 'µs for all',
      `${unit}s/s`,
      `× ${workload.base}`,
      '× c',
      `CPU µs/${unit}`,
      '×',
    ],
    rows
      .filter(({ medianNs }) => !Number.isNaN(medianNs))
      .map((row) => [
        row.contender,
        figure(row.medianNs / 1000),
        figure(row.opsPerSecond),
        times(row.opsPerSecondRatio),
        times(row.cRatio),
        figure(row.cpuNsPerOp / 1000),
        times(row.cpuRatio),
      ]),
  );
  return {
    cell: { workload: workload.name, base: workload.base },
    rows,
    rounds: Object.fromEntries(results),
  };
}

/** How a contender is started; null if it has no such thing. */
function commandFor(name: string, workload: Workload, { directory, others, options }: Place): Command | null {
  const { does, count = 0, size = 0, depth = 1, c } = workload;
  const iterations = count > 1000 ? (options.quick ? 3 : 10) : options.quick ? 60 : 200;
  const { seconds } = options;
  const random = join(directory, 'random');
  const long = longFile(directory);
  if (name === 'c' || name === 'c-plain') {
    if (c === undefined) return null;
    const args = {
      random: [random, seconds, depth],
      direct: [random, seconds, depth, '--direct'],
      sequential: [long, seconds, depth],
      copy: [long, `${long}-copy`, seconds],
      stats: [join(directory, 'tree'), seconds, depth],
    } as Readonly<Record<string, readonly (string | number)[]>>;
    const batch = [filesOf(workload, directory), count, size, '--iterations', iterations];
    const rest = [...(args[does] ?? batch), ...(name === 'c-plain' ? ['--plain'] : [])];
    return { file: program('uring_files'), args: [c, ...rest].map(String) };
  }
  const args = {
    random: [random, BLOCKS, seconds, depth],
    direct: [random, BLOCKS, seconds, depth],
    sequential: [long, seconds],
    copy: [long, seconds],
    stats: [join(directory, 'tree'), seconds],
    stat: [join(directory, 'names', 'f0'), seconds],
    list: [join(directory, 'names'), seconds],
  } as Readonly<Record<string, readonly (string | number)[]>>;
  const rest = [does, ...(args[does] ?? [filesOf(workload, directory), count, size, iterations])];
  const engine = DRIVERS[name];
  const contender = name === 'ouro-poll' ? 'ouro' : name;
  const worker = [join(DIST, 'workers/files.js'), contender, ...rest].map(String);
  if (name === 'bun') return { file: others.get(name) ?? name, args: worker };
  if (name === 'deno') return { file: others.get(name) ?? name, args: ['run', '-A', ...worker] };
  const command = [process.execPath, ...worker];
  return { file: 'env', args: engine === undefined ? command : [`OURO_DRIVER=${engine}`, ...command] };
}

/** Other bytes and a longer file: a write that does nothing, or does not cut off the rest, is found out. */
function spoil(workload: Workload, directory: string): void {
  const { count = 0, size = 0 } = workload;
  const data = Buffer.alloc(size + 100, 0xee);
  for (let i = 0; i < count; i++) writeFileSync(join(filesOf(workload, directory), `f${i}`), data);
  // On the disk, so that no write-back of it runs into the measurement.
  spawnSync('sync');
}

function verify(workload: Workload, directory: string, contender: string): void {
  const { count = 0, size = 0 } = workload;
  for (let i = 0; i < count; i++) {
    if (readFileSync(join(filesOf(workload, directory), `f${i}`)).equals(expected(i, size))) continue;
    throw new BenchError(`'${contender}' wrote wrong bytes into f${i}`);
  }
}
