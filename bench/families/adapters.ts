import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from '../harness/child.ts';
import { BenchError } from '../harness/error.ts';
import { HOOKED, type Hooked, hookedCommand, UNHOOKED } from '../harness/hooked.ts';
import { fileSystem } from '../harness/machine.ts';
import { chosen, type Options } from '../harness/options.ts';
import { DIST } from '../harness/paths.ts';
import { type Command, onCpus } from '../harness/pinning.ts';
import type { Cell, Report } from '../harness/report.ts';
import { alternate, type Measured, summary } from '../harness/rounds.ts';
import { figure, printTable, times } from '../harness/table.ts';

const DIRECTORIES = 20;
const FILES = 1000;
const LONG_FILES = 20;
const LONG = 1 << 20;
const JSON_FILES = 200;

/** A program of Node's that is run without and with the register hook. */
interface Workload {
  readonly name: string;
  readonly title: string;
  /** What a run is, and what it does many of, both singular. */
  readonly run: string;
  readonly item: string;
  /** Makes what it works on. */
  prepare(directory: string): void;
  command(contender: Hooked, directory: string, quick: boolean): Command;
  /** What it has printed, once it has been found right. */
  result(printed: unknown, contender: string, directory: string): Measured;
}

const build: Workload = {
  name: 'build',
  title: `a build of ${FILES} files of text, over the last one, and ${LONG_FILES} of 1 MiB read`,
  run: 'build',
  item: 'file',
  prepare(directory) {
    for (let i = 0; i < DIRECTORIES; i++) mkdirSync(join(directory, 'source', `d${i}`), { recursive: true });
    for (let i = 0; i < FILES; i++) writeFileSync(join(directory, 'source', placeOf(i), `f${i}.js`), text(i));
    for (let i = 0; i < LONG_FILES; i++) {
      writeFileSync(join(directory, 'source', placeOf(i), `f${i}.bin`), Buffer.alloc(LONG, i));
    }
  },
  command(contender, directory, quick) {
    const target = join(directory, `target-${contender.name}`);
    return hookedCommand(contender, 'bench/peers/fs-build.mjs', [
      join(directory, 'source'),
      target,
      quick ? '3' : '10',
    ]);
  },
  result(printed, contender, directory) {
    const target = join(directory, `target-${contender}`);
    for (let i = 0; i < FILES; i++) {
      const built = readFileSync(join(target, placeOf(i), `f${i}.js`), 'utf8');
      if (built !== text(i).replace('import', 'export'))
        throw new BenchError(`'${contender}' built wrong text`);
    }
    const { bytes, ...measured } = printed as Measured & { readonly bytes: number };
    if (bytes !== BYTES) throw new BenchError(`'${contender}' has read ${bytes} bytes of ${BYTES}`);
    return measured;
  },
};

const placeOf = (i: number): string => `d${i % DIRECTORIES}`;
const text = (i: number): string => `import x from 'x${i}';\n`.repeat(60 + (i % 200));
const BYTES = Array.from({ length: FILES }, (_, i) => text(i).length).reduce(
  (sum, length) => sum + length,
  LONG_FILES * LONG,
);

const json = (i: number): string =>
  JSON.stringify({ name: `entry ${i}`, values: Array.from({ length: 100 }, (_, k) => i * k) });

/** What nothing of ours can make faster: it is to be no slower. */
const sync: Workload = {
  name: 'sync',
  title: `${JSON_FILES} files of JSON looked for, looked at, read and parsed by synchronous calls`,
  run: 'run',
  item: 'file',
  prepare(directory) {
    mkdirSync(join(directory, 'json'), { recursive: true });
    for (let i = 0; i < JSON_FILES; i++) writeFileSync(join(directory, 'json', `f${i}.json`), json(i));
  },
  command: (contender, directory, quick) =>
    hookedCommand(contender, 'bench/peers/sync-work.mjs', [join(directory, 'json'), quick ? '50' : '300']),
  result(printed, contender) {
    const { characters, ...measured } = printed as Measured & { readonly characters: number };
    const expected = Array.from({ length: JSON_FILES }, (_, i) => json(i)).reduce(
      (sum, each) => sum + JSON.stringify({ ...JSON.parse(each), size: each.length }).length,
      0,
    );
    if (characters !== expected)
      throw new BenchError(`'${contender}' has made ${characters} characters of ${expected}`);
    return measured;
  },
};

const STARTS = 20;

const start: Workload = {
  name: 'start',
  title: 'an empty program begun and ended',
  run: 'program',
  item: 'program',
  prepare() {},
  command(contender, _directory, quick) {
    const { file, args } = hookedCommand(contender, 'bench/peers/empty.mjs', []);
    const count = quick ? STARTS / 4 : STARTS;
    const loop = `for ((i = 0; i < ${count}; i++)); do "$@"; done`;
    const format = `{"count":${count},"seconds":%R,"cpuSeconds":[%U,%S]}`;
    return {
      file: 'bash',
      args: ['-ec', `TIMEFORMAT='${format}'; { time ${loop}; } 2>&1`, 'bash', file, ...args],
    };
  },
  result(printed) {
    const { count, seconds, cpuSeconds } = printed as {
      readonly count: number;
      readonly seconds: number;
      readonly cpuSeconds: readonly [user: number, system: number];
    };
    return {
      medianNs: (seconds * 1e9) / count,
      opsPerSecond: count / seconds,
      cpuNsPerOp: ((cpuSeconds[0] + cpuSeconds[1]) * 1e9) / count,
    };
  },
};

/** The same program of Node's, without and with the register hook. */
export async function adapters(options: Options): Promise<Report> {
  const parent = fileSystem(tmpdir()) === 'tmpfs' ? DIST : tmpdir();
  const directory = mkdtempSync(join(parent, 'ouro-bench-adapters-'));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  process.on('exit', remove);
  try {
    const cells: Cell[] = [];
    for (const workload of chosen('workload', [build, sync, start], options.workloads)) {
      cells.push(await measure(workload, directory, options));
    }
    return { family: 'adapters', conditions: { rounds: options.rounds, base: UNHOOKED }, cells };
  } finally {
    process.off('exit', remove);
    remove();
  }
}

async function measure(workload: Workload, directory: string, options: Options): Promise<Cell> {
  const { name, title, run, item } = workload;
  const contenders = chosen('contender', HOOKED, options.contenders);
  workload.prepare(directory);
  const results = await alternate(contenders, options.rounds, async (contender) => {
    const command = workload.command(contender, directory, options.quick);
    const child = await Child.start(`'${contender.name}' (${name})`, onCpus(options.cpus, command));
    return workload.result(await child.result(300_000), contender.name, directory);
  });
  const rows = contenders.map((contender) => ({
    contender: contender.name,
    ...summary(results.get(contender.name) ?? [], results.get(UNHOOKED)),
  }));
  printTable(
    `${title}, on ${fileSystem(directory)}`,
    ['', `ms a ${run}`, `${item}s/s`, '×', `CPU µs/${item}`, '×'],
    rows.map((row) => [
      row.contender,
      figure(row.medianNs / 1e6),
      figure(row.opsPerSecond),
      times(row.opsPerSecondRatio),
      figure(row.cpuNsPerOp / 1000),
      times(row.cpuRatio),
    ]),
  );
  return { cell: { workload: name }, rows, rounds: Object.fromEntries(results) };
}
