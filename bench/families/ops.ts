import { join } from 'node:path';
import { Child } from '../harness/child.ts';
import { chosen, type Options } from '../harness/options.ts';
import { DIST, needed } from '../harness/paths.ts';
import { asServer } from '../harness/pinning.ts';
import type { Cell, Report, Row } from '../harness/report.ts';
import { alternate, median, medianRatio } from '../harness/rounds.ts';
import { figure, printTable, times } from '../harness/table.ts';

const CONTENDERS = ['ouro', 'ouro-callback', 'ouro-batch', 'pool', 'immediate', 'promise'].map((name) => ({
  name,
}));
const BASE = 'pool';
const DEPTHS = [1, 32, 256];
// See workers/ops.ts.
const MEMORY_FLAGS = ['--expose-gc', '--min-semi-space-size=256', '--max-semi-space-size=256'];

interface TimeResult {
  readonly nsPerOp: number;
  readonly cpuNsPerOp: number;
  readonly entersPerOp: number;
}

interface MemoryResult {
  readonly allocatedPerOp: number;
  readonly retainedPerOp: number;
}

interface OpsRow extends Row, TimeResult, MemoryResult {
  readonly nsRatio: number | undefined;
}

/** What an op costs when it does nothing: a NOP of the ring beside the cheapest things node can await. */
export async function ops(options: Options): Promise<Report> {
  const contenders = chosen('contender', CONTENDERS, options.contenders);
  if (contenders.some(({ name }) => name.startsWith('ouro'))) {
    needed('ouro', 'packages/runtime/dist/driver.js', 'run `npm run build`');
  }
  const cells: Cell[] = [];
  for (const depth of DEPTHS) cells.push(await runDepth(depth, contenders, options));
  return { family: 'ops', conditions: { rounds: options.rounds, base: BASE }, cells };
}

async function runDepth(
  depth: number,
  contenders: readonly { readonly name: string }[],
  options: Options,
): Promise<Cell> {
  // A quarter of the others' time: there is nothing here that needs long to settle.
  const seconds = options.seconds / 4;
  const results = await alternate(contenders, options.rounds, async ({ name }) => {
    return (await runWorker([], name, 'time', depth, seconds)) as TimeResult;
  });
  const base = results.get(BASE);
  const rows: OpsRow[] = [];
  for (const { name } of contenders) {
    const rounds = results.get(name) ?? [];
    // Once: it hardly varies.
    const memory = (await runWorker(MEMORY_FLAGS, name, 'memory', depth)) as MemoryResult;
    rows.push({
      contender: name,
      nsPerOp: median(rounds.map((r) => r.nsPerOp)),
      nsRatio: medianRatio(rounds, base, (r) => r.nsPerOp),
      cpuNsPerOp: median(rounds.map((r) => r.cpuNsPerOp)),
      entersPerOp: median(rounds.map((r) => r.entersPerOp)),
      ...memory,
    });
  }
  printTable(
    `the cheapest op, ${depth} in flight`,
    ['', 'ns/op', '×', 'CPU ns/op', 'enters/op', 'bytes/op', 'kept bytes/op'],
    rows.map((row) => [
      row.contender,
      figure(row.nsPerOp),
      times(row.nsRatio),
      figure(row.cpuNsPerOp),
      figure(row.entersPerOp),
      figure(row.allocatedPerOp),
      figure(row.retainedPerOp),
    ]),
  );
  return { cell: { depth }, rows, rounds: Object.fromEntries(results) };
}

async function runWorker(
  flags: readonly string[],
  name: string,
  ...args: readonly (string | number)[]
): Promise<unknown> {
  const command = [...flags, join(DIST, 'workers/ops.js'), name, ...args.map(String)];
  const child = await Child.start(`'${name}' (ops)`, asServer({ file: process.execPath, args: command }));
  return await child.result(60_000);
}
