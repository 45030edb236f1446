import { Child } from '../harness/child.ts';
import { cross, runEchoPlan, timing } from '../harness/echo.ts';
import { HOOKED, hookedCommand, UNHOOKED } from '../harness/hooked.ts';
import { chosen, type Options } from '../harness/options.ts';
import { asServer } from '../harness/pinning.ts';
import { withPostgres } from '../harness/postgres.ts';
import type { Cell, Report } from '../harness/report.ts';
import { alternate, median, medianRatio } from '../harness/rounds.ts';
import { servers, withAndWithoutHook } from '../harness/servers.ts';
import { figure, printTable, times } from '../harness/table.ts';

interface Workload {
  readonly name: string;
  readonly title: string;
  readonly run: (workload: Workload, options: Options) => Promise<readonly Cell[]>;
}

const CLIENTS = [1, 10, 100];
const SIZES = [64];
const WARMED_BY = 20;
/** Connections of the pool. */
const POOL = 10;

const WORKLOADS: readonly Workload[] = [
  { name: 'hello', title: 'node:http', run: server('/') },
  { name: 'express', title: 'Express', run: server('/') },
  { name: 'fastify', title: 'Fastify', run: server('/') },
  { name: 'static', title: 'serve-static', run: server('/file.txt') },
  { name: 'pg', title: 'pg', run: queries },
];

/** Programs that speak HTTP or PostgreSQL's protocol, the same without and with the register hook. */
export async function http(options: Options): Promise<Report> {
  const cells: Cell[] = [];
  for (const workload of chosen('workload', WORKLOADS, options.workloads)) {
    cells.push(...(await workload.run(workload, options)));
  }
  const { rounds, seconds } = options;
  return { family: 'http', conditions: { rounds, seconds, base: UNHOOKED }, cells };
}

/** A server, asked for one path over and over. */
function server(path: string): Workload['run'] {
  return async ({ name, title }, options) => {
    const cells: Cell[] = [];
    for (const size of options.sizes ?? SIZES) {
      const programs = withAndWithoutHook(`bench/peers/http-${name}.mjs`, ['--size', `${size}`]);
      const report = await runEchoPlan({
        family: 'http',
        title,
        servers: servers(programs, options),
        base: UNHOOKED,
        cells: cross(options.clients ?? CLIENTS, [size]),
        load: 'http_load',
        loadOptions: { path },
        warmedBy: WARMED_BY,
        ...timing(options),
      });
      cells.push(...report.cells.map((each) => ({ ...each, cell: { workload: name, ...each.cell } })));
    }
    return cells;
  };
}

/** What peers/pg-queries.mjs prints. */
interface Queried {
  readonly messages: number;
  readonly messagesPerSecond: number;
  readonly cpuNs: number;
  readonly p50us: number;
  readonly p99us: number;
}

/** A client of a PostgreSQL of our own. What is measured is the client. */
async function queries({ name, title }: Workload, options: Options): Promise<readonly Cell[]> {
  const contenders = chosen('contender', HOOKED, options.contenders);
  const { rounds, seconds } = options;
  const results = await withPostgres((port) =>
    alternate(contenders, rounds, async (contender) => {
      const args = [port, POOL, seconds, 1].map(String);
      const command = hookedCommand(contender, 'bench/peers/pg-queries.mjs', args);
      const child = await Child.start(`'${contender.name}' (${name})`, asServer(command));
      return (await child.result((seconds + 30) * 1000)) as Queried;
    }),
  );
  if (results === undefined) return [];
  const base = results.get(UNHOOKED);
  const cpu = (result: Queried): number => result.cpuNs / result.messages;
  const rows = contenders.map((contender) => {
    const all = results.get(contender.name) ?? [];
    return {
      contender: contender.name,
      messagesPerSecond: median(all.map((r) => r.messagesPerSecond)),
      messagesPerSecondRatio: medianRatio(all, base, (r) => r.messagesPerSecond),
      cpuNsPerMessage: median(all.map(cpu)),
      messagesPerCpuRatio: medianRatio(all, base, (r) => 1 / cpu(r)),
      p50us: median(all.map((r) => r.p50us)),
      p99us: median(all.map((r) => r.p99us)),
    };
  });
  printTable(
    `${title}: a pool of ${POOL} connections, a prepared statement`,
    ['', 'queries/s', '×', 'CPU ns/query', 'query/CPU ×', 'p50 µs', 'p99 µs'],
    rows.map((row) => [
      row.contender,
      figure(row.messagesPerSecond),
      times(row.messagesPerSecondRatio),
      figure(row.cpuNsPerMessage),
      times(row.messagesPerCpuRatio),
      figure(row.p50us),
      figure(row.p99us),
    ]),
  );
  return [{ cell: { workload: name, connections: POOL }, rows, rounds: Object.fromEntries(results) }];
}
