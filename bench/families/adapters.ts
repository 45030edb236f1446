import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Child } from '../harness/child.ts';
import { BenchError } from '../harness/error.ts';
import { fileSystem } from '../harness/machine.ts';
import { chosen, type Options } from '../harness/options.ts';
import { DIST, needed } from '../harness/paths.ts';
import { onCpus } from '../harness/pinning.ts';
import type { Cell, Report } from '../harness/report.ts';
import { alternate, type Measured, summary } from '../harness/rounds.ts';
import { figure, printTable, times } from '../harness/table.ts';

const DIRECTORIES = 20;
const FILES = 1000;
const LONG_FILES = 20;
const LONG = 1 << 20;

const CONTENDERS = [
  { name: 'node', driver: null },
  { name: 'hook', driver: 'uring' },
  { name: 'hook-poll', driver: 'poll' },
] as const;
const BASE = 'node';

const text = (i: number): string => `import x from 'x${i}';\n`.repeat(60 + (i % 200));

const BYTES = Array.from({ length: FILES }, (_, i) => text(i).length).reduce(
  (sum, length) => sum + length,
  LONG_FILES * LONG,
);

interface Built extends Measured {
  readonly bytes: number;
}

/** The same program of Node's, without and with the register hook. */
export async function adapters(options: Options): Promise<Report> {
  const contenders = chosen('contender', CONTENDERS, options.contenders);
  const register = needed('hook', 'packages/adapters/dist/register.js', 'run `npm run build`');
  const program = needed('fs', 'bench/peers/fs-build.mjs', 'it is part of the repository');
  const parent = fileSystem(tmpdir()) === 'tmpfs' ? DIST : tmpdir();
  const directory = mkdtempSync(join(parent, 'ouro-bench-adapters-'));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  process.on('exit', remove);
  try {
    prepare(directory);
    const builds = options.quick ? 3 : 10;
    const results = await alternate(contenders, options.rounds, async ({ name, driver }) => {
      const hook = driver === null ? [] : ['--import', pathToFileURL(register).href];
      const target = join(directory, `target-${name}`);
      const args = [...hook, program, join(directory, 'source'), target, String(builds)];
      const engine = driver === null ? [] : [`OURO_DRIVER=${driver}`];
      const command = { file: 'env', args: [...engine, process.execPath, ...args] };
      const child = await Child.start(`'${name}' (fs)`, onCpus(options.cpus, command));
      const result = (await child.result(300_000)) as Built;
      verify(target, name);
      if (result.bytes !== BYTES)
        throw new BenchError(`'${name}' has read ${result.bytes} bytes of ${BYTES}`);
      return result;
    });
    const rows = contenders.map(({ name }) => ({
      contender: name,
      ...summary(results.get(name) ?? [], results.get(BASE)),
    }));
    printTable(
      `a build of ${FILES} files of text, over the last one, and ${LONG_FILES} of 1 MiB read, on ${fileSystem(directory)}`,
      ['', 'ms a build', 'files/s', '×', 'CPU µs/file', '×'],
      rows.map((row) => [
        row.contender,
        figure(row.medianNs / 1e6),
        figure(row.opsPerSecond),
        times(row.opsPerSecondRatio),
        figure(row.cpuNsPerOp / 1000),
        times(row.cpuRatio),
      ]),
    );
    const cells: Cell[] = [{ cell: { workload: 'fs' }, rows, rounds: Object.fromEntries(results) }];
    return { family: 'adapters', conditions: { rounds: options.rounds, base: BASE }, cells };
  } finally {
    process.off('exit', remove);
    remove();
  }
}

function prepare(directory: string): void {
  for (let i = 0; i < DIRECTORIES; i++) mkdirSync(join(directory, 'source', `d${i}`), { recursive: true });
  for (let i = 0; i < FILES; i++) writeFileSync(join(directory, 'source', placeOf(i), `f${i}.js`), text(i));
  for (let i = 0; i < LONG_FILES; i++) {
    writeFileSync(join(directory, 'source', placeOf(i), `f${i}.bin`), Buffer.alloc(LONG, i));
  }
}

const placeOf = (i: number): string => `d${i % DIRECTORIES}`;

/** From outside, whether what was built is what it should be. */
function verify(target: string, contender: string): void {
  for (let i = 0; i < FILES; i++) {
    const built = readFileSync(join(target, placeOf(i), `f${i}.js`), 'utf8');
    if (built !== text(i).replace('import', 'export'))
      throw new BenchError(`'${contender}' built wrong text`);
  }
}
