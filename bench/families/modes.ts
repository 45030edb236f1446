import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from '../harness/child.ts';
import { cross, type EchoServer, runEchoPlan, timing } from '../harness/echo.ts';
import { fileSystem } from '../harness/machine.ts';
import { chosen, type Options } from '../harness/options.ts';
import { DIST, needed } from '../harness/paths.ts';
import { numberedBlocks } from '../harness/pattern.ts';
import type { Cell, Report } from '../harness/report.ts';
import { alternate, median, medianRatio } from '../harness/rounds.ts';
import { figure, printTable, times } from '../harness/table.ts';

/** Each a way to set the ring up, as environment. */
const MODES = [
  { name: 'default', env: ['OURO_SPIN=0'], sockets: true },
  { name: 'spin', env: ['OURO_SPIN=1'], sockets: true },
  { name: 'sqpoll', env: ['OURO_SQPOLL=1', 'OURO_SPIN=1'], sockets: true },
  { name: 'iopoll', env: ['OURO_IOPOLL=1'], sockets: false },
  { name: 'both', env: ['OURO_SQPOLL=1', 'OURO_IOPOLL=1'], sockets: false },
] as const;
const BASE = 'default';

/** 64 MiB, which is more than the caches hold. */
const BLOCKS = 16384;
const READS = [
  { name: 'cached-1', title: 'random 4 KiB reads of a cached file, one by one', depth: 1, how: 'cached' },
  { name: 'cached-32', title: 'random 4 KiB reads of a cached file, 32 at a time', depth: 32, how: 'cached' },
  { name: 'direct-32', title: 'random 4 KiB reads of the device, 32 at a time', depth: 32, how: 'direct' },
] as const;

interface ReadResult {
  readonly opsPerSecond: number;
  readonly cpuNsPerOp: number;
  readonly entersPerOp: number;
  readonly refused?: string;
}

/** The modes of the ring side by side, on TCP echo and on random reads. Nothing is pinned: SQPOLL has two threads. */
export async function modes(options: Options): Promise<Report> {
  const contenders = chosen('contender', MODES, options.contenders);
  const cells: Cell[] = [];
  const echo = needed('ouro', 'examples/dist/echo.js', 'run `npm run build`');
  const servers = contenders
    .filter(({ sockets }) => sockets)
    .map(({ name, env }): EchoServer => {
      const args = [...env, process.execPath, echo, '--host', '127.0.0.1', '--port', '0'];
      return { name, command: { file: 'env', args } };
    });
  const report = await runEchoPlan({
    family: 'modes',
    title: 'TCP echo',
    servers,
    base: BASE,
    cells: cross(options.clients ?? [1, 100], options.sizes ?? [64]),
    ...timing(options),
    pinned: false,
  });
  cells.push(...report.cells);

  const parent = fileSystem(tmpdir()) === 'tmpfs' ? DIST : tmpdir();
  const directory = mkdtempSync(join(parent, 'ouro-bench-modes-'));
  try {
    const path = join(directory, 'random');
    writeFileSync(path, numberedBlocks(BLOCKS), { flush: true });
    for (const reads of READS) cells.push(await runReads(reads, path, contenders, options));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return { ...report, cells };
}

async function runReads(
  { name, title, depth, how }: (typeof READS)[number],
  path: string,
  contenders: readonly (typeof MODES)[number][],
  options: Options,
): Promise<Cell> {
  const results = await alternate(contenders, options.rounds, async (mode) => {
    const args = [...mode.env, process.execPath, join(DIST, 'workers/modes.js'), path];
    const numbers = [BLOCKS, options.seconds, depth, how].map(String);
    const child = await Child.start(`'${mode.name}' (${name})`, { file: 'env', args: [...args, ...numbers] });
    return (await child.result(120_000)) as ReadResult;
  });
  const base = results.get(BASE);
  const rows = contenders.map((mode) => {
    const rounds = results.get(mode.name) ?? [];
    return {
      contender: mode.name,
      refused: rounds[0]?.refused,
      opsPerSecond: median(rounds.map((r) => r.opsPerSecond)),
      opsPerSecondRatio: medianRatio(rounds, base, (r) => r.opsPerSecond),
      cpuNsPerOp: median(rounds.map((r) => r.cpuNsPerOp)),
      entersPerOp: median(rounds.map((r) => r.entersPerOp)),
    };
  });
  printTable(
    title,
    ['', 'reads/s', '×', 'CPU µs/read', 'enters/read'],
    rows.map((row) =>
      row.refused === undefined
        ? [
            row.contender,
            figure(row.opsPerSecond),
            times(row.opsPerSecondRatio),
            figure(row.cpuNsPerOp / 1000),
            figure(row.entersPerOp),
          ]
        : [row.contender, row.refused, '–', '–', '–'],
    ),
  );
  return { cell: { workload: name }, rows, rounds: Object.fromEntries(results) };
}
