import { setTimeout as sleep } from 'node:timers/promises';
import { Child } from '../harness/child.ts';
import { type Conditions, cross, type EchoServer, loadCommand, withServer } from '../harness/echo.ts';
import type { Options } from '../harness/options.ts';
import { asLoad } from '../harness/pinning.ts';
import { cpuNs, residentBytes, withDescriptors } from '../harness/process.ts';
import type { Cell, Report } from '../harness/report.ts';
import { alternate, median, medianRatio } from '../harness/rounds.ts';
import { servers, tcp } from '../harness/servers.ts';
import { figure, printTable, times } from '../harness/table.ts';

const CONTENDERS = tcp('ouro', 'ouro-poll', 'node', 'bun', 'deno', 'c', 'c-epoll');
const BASE = 'node';
/** Descriptors that a process needs for itself. */
const OWN_DESCRIPTORS = 200;
/** Connections before those that count, so that what a server makes once is made. */
const FIRST = 200;
/** How long the connections do nothing, and how long after them memory may take to be given back. */
const IDLE_MS = 1000;
/** What one measurement takes, roughly. */
const EACH_S = 8;
const MIB = 1 << 20;

interface IdleResult {
  /** How much more memory is resident for each connection. */
  readonly residentBytes: number;
  /** How much more of the JavaScript heap is used for each, after a collection. */
  readonly heapBytes: number;
  /** Outside the heap, but held by objects in it: buffers. */
  readonly externalBytes: number;
  /** Resident memory in all, with all the connections. */
  readonly totalBytes: number;
  /** More resident than before once all the connections have ended, in all. */
  readonly leftBytes: number;
  /** Used while nothing happens. */
  readonly idleCpuShare: number;
}

/** What a connection costs that does nothing. */
export async function idle(options: Options): Promise<Report> {
  const all = servers(CONTENDERS, options, { memory: true });
  const conditions = cross(options.clients ?? [10_000], options.sizes ?? [64]);
  const most = (options.within ?? Number.POSITIVE_INFINITY) / (conditions.length * all.length * EACH_S);
  const rounds = Math.max(1, Math.min(options.rounds, Math.floor(most)));
  const cells: Cell[] = [];
  for (const each of conditions) cells.push(await runCell(each, all, rounds));
  return { family: 'idle', conditions: { rounds, base: BASE }, cells };
}

async function runCell(
  { clients, size }: Conditions,
  contenders: readonly EchoServer[],
  rounds: number,
): Promise<Cell> {
  const results = await alternate(contenders, rounds, async (contender) => {
    const command = withDescriptors(clients + OWN_DESCRIPTORS, contender.command);
    return await withServer({ ...contender, command }, true, (server, port) =>
      measure(server, port, { clients, size }),
    );
  });
  const base = results.get(BASE);
  const rows = contenders.map(({ name }) => {
    const rounds = results.get(name) ?? [];
    const middle = (of: (result: IdleResult) => number): number => median(rounds.map(of));
    return {
      contender: name,
      residentBytes: middle((r) => r.residentBytes),
      residentRatio: medianRatio(rounds, base, (r) => r.residentBytes),
      heapBytes: middle((r) => r.heapBytes),
      externalBytes: middle((r) => r.externalBytes),
      totalBytes: middle((r) => r.totalBytes),
      leftBytes: middle((r) => r.leftBytes),
      idleCpuShare: middle((r) => r.idleCpuShare),
    };
  });
  printTable(
    `${figure(clients)} idle connections, after one message of ${size} bytes on each`,
    ['', 'RSS B/conn', '×', 'heap B/conn', 'external B/conn', 'RSS MiB', 'left MiB', 'CPU %'],
    rows.map((row) => [
      row.contender,
      figure(row.residentBytes),
      times(row.residentRatio),
      figure(row.heapBytes),
      figure(row.externalBytes),
      figure(row.totalBytes / MIB),
      figure(row.leftBytes / MIB),
      figure(row.idleCpuShare * 100),
    ]),
  );
  return { cell: { clients, size }, rows, rounds: Object.fromEntries(results) };
}

async function measure(server: Child, port: number, { clients, size }: Conditions): Promise<IdleResult> {
  const memory = memoryOf(server);
  await (await connect(server, port, { clients: FIRST, size })).end();
  const before = await memory();

  const connections = await connect(server, port, { clients, size });
  const during = await memory();
  const cpu = cpuNs(server.pid);
  await sleep(IDLE_MS);
  const idleCpuShare = (cpuNs(server.pid) - cpu) / (IDLE_MS * 1e6);

  await connections.end();
  await sleep(IDLE_MS);
  const after = await memory();
  return {
    residentBytes: (during.resident - before.resident) / clients,
    heapBytes: (during.heapUsed - before.heapUsed) / clients,
    externalBytes: (during.external - before.external) / clients,
    totalBytes: during.resident,
    leftBytes: after.resident - before.resident,
    idleCpuShare,
  };
}

async function connect(
  server: Child,
  port: number,
  conditions: Conditions,
): Promise<{ end(): Promise<unknown> }> {
  // It ends by itself after that time, whatever becomes of us.
  const command = loadCommand('idle_load', server, { port, ...conditions, seconds: 60, warmup: 0 });
  const child = await Child.start(
    `the load on '${server.name}'`,
    asLoad(withDescriptors(conditions.clients + OWN_DESCRIPTORS, command)),
  );
  await child.waitFor(/"ready"/, 60_000);
  return {
    end: () => {
      child.signal('SIGTERM');
      return child.result(60_000);
    },
  };
}

interface Memory {
  readonly resident: number;
  readonly heapUsed: number;
  readonly external: number;
}

/** Asks a server for its memory; one in C has no heap of that kind and is not asked. */
function memoryOf(server: Child): () => Promise<Memory> {
  if (server.name === 'c' || server.name === 'c-epoll') {
    const none = { heapUsed: Number.NaN, external: Number.NaN };
    return async () => ({ resident: residentBytes(server.pid), ...none });
  }
  let asked = 0;
  return async () => {
    server.signal('SIGUSR2');
    const [, said = '{}'] = await server.waitFor(new RegExp(`memory ${++asked} (.*)\n`), 10_000);
    return { ...(JSON.parse(said) as Omit<Memory, 'resident'>), resident: residentBytes(server.pid) };
  };
}
