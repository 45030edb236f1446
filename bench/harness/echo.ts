import { Child } from './child.ts';
import { BenchError } from './error.ts';
import { program } from './native.ts';
import { asLoad, asServer, type Command } from './pinning.ts';
import type { Cell, Report, Row } from './report.ts';
import { alternate, median, medianRatio } from './rounds.ts';
import { canCountCalls, countCalls } from './strace.ts';
import { figure, percent, printTable, times } from './table.ts';

/** A server that prints `listening on HOST:PORT` and sends back what it receives. */
export interface EchoServer {
  readonly name: string;
  readonly command: Command;
}

export interface EchoPlan {
  readonly family: string;
  readonly title: string;
  readonly servers: readonly EchoServer[];
  /** The one the ratios refer to. */
  readonly base: string;
  readonly clients: readonly number[];
  readonly sizes: readonly number[];
  readonly rounds: number;
  readonly seconds: number;
  readonly strace: boolean;
  /** Whether server and load have a CPU each. @default true */
  readonly pinned?: boolean;
}

/** What echo_load prints. */
interface LoadResult {
  readonly messages: number;
  readonly seconds: number;
  readonly messagesPerSecond: number;
  readonly p50us: number;
  readonly p99us: number;
  readonly p999us: number;
  readonly errors: number;
  /** The load generator's own use of its CPU; above 0.95 it is `limited`: the server could have done more. */
  readonly cpu: number;
  readonly limited: boolean;
  /** Of all the server's threads, in exactly the measured window. */
  readonly serverCpuNs: number;
  readonly serverUserShare: number;
  /** Warm-up included. */
  readonly totalMessages: number;
}

/** Medians over the rounds. */
interface EchoRow extends Row {
  readonly messagesPerSecond: number;
  readonly messagesPerSecondRatio: number | undefined;
  readonly cpuNsPerMessage: number;
  readonly cpuRatio: number | undefined;
  readonly userShare: number;
  readonly p50us: number;
  readonly p99us: number;
  readonly p999us: number;
  readonly callsPerMessage: number | undefined;
  readonly loadCpu: number;
  readonly limited: boolean;
}

export async function runEchoPlan(plan: EchoPlan): Promise<Report> {
  const cells: Cell[] = [];
  for (const size of plan.sizes) {
    for (const clients of plan.clients) cells.push(await runCell(plan, clients, size));
  }
  const { rounds, seconds, base } = plan;
  return { family: plan.family, conditions: { rounds, seconds, base }, cells };
}

async function runCell(plan: EchoPlan, clients: number, size: number): Promise<Cell> {
  const results = await alternate(plan.servers, plan.rounds, (server) =>
    withServer(server, plan.pinned !== false, (child, port) =>
      load(child, port, clients, size, plan.seconds, Math.max(0.4, plan.seconds / 2), plan.pinned !== false),
    ),
  );
  const base = results.get(plan.base);
  const rows: EchoRow[] = [];
  for (const server of plan.servers) {
    const rounds = results.get(server.name) ?? [];
    const middle = (of: (result: LoadResult) => number): number => median(rounds.map(of));
    rows.push({
      contender: server.name,
      messagesPerSecond: middle((r) => r.messagesPerSecond),
      messagesPerSecondRatio: medianRatio(rounds, base, (r) => r.messagesPerSecond),
      cpuNsPerMessage: middle(cpuPerMessage),
      cpuRatio: medianRatio(rounds, base, cpuPerMessage),
      userShare: middle((r) => r.serverUserShare),
      p50us: middle((r) => r.p50us),
      p99us: middle((r) => r.p99us),
      p999us: middle((r) => r.p999us),
      callsPerMessage:
        plan.strace && (await canCountCalls())
          ? await callsPerMessage(server, clients, size, plan.pinned !== false)
          : undefined,
      loadCpu: middle((r) => r.cpu),
      limited: rounds.filter((r) => r.limited).length * 2 > rounds.length,
    });
  }
  printCell(`${plan.title}: ${clients} ${clients === 1 ? 'client' : 'clients'} × ${size} bytes`, rows);
  return { cell: { clients, size }, rows, rounds: Object.fromEntries(results) };
}

const cpuPerMessage = (result: LoadResult): number => result.serverCpuNs / result.messages;

async function withServer<T>(
  server: EchoServer,
  pinned: boolean,
  body: (child: Child, port: number) => Promise<T>,
): Promise<T> {
  const child = await Child.start(server.name, pinned ? asServer(server.command) : server.command);
  try {
    const [, port] = await child.waitFor(/listening on \S+:(\d+)/, 10_000);
    return await body(child, Number(port));
  } finally {
    await child.stop();
  }
}

async function load(
  server: Child,
  port: number,
  clients: number,
  size: number,
  seconds: number,
  warmup: number,
  pinned: boolean,
): Promise<LoadResult> {
  const options = { port, clients, size, seconds, warmup, 'server-pid': server.pid };
  const args = [
    '--host',
    '127.0.0.1',
    ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]),
  ];
  const command = { file: program('echo_load'), args };
  const child = await Child.start(`the load on '${server.name}'`, pinned ? asLoad(command) : command);
  try {
    // Connecting, draining and closing may take the generator 5 s each; after that it gives up by itself.
    return (await child.result((seconds + warmup + 20) * 1000)) as LoadResult;
  } catch (error) {
    const said = server.stderr.trim().slice(-2000);
    if (said === '' || !(error instanceof BenchError)) throw error;
    throw new BenchError(`${error.message}\n'${server.name}' wrote: ${said}`);
  }
}

/**
 * Two short runs under strace, one of next to no messages: the difference leaves connecting and closing out, which with a
 * thousand clients is most of what a short run does.
 */
async function callsPerMessage(
  server: EchoServer,
  clients: number,
  size: number,
  pinned: boolean,
): Promise<number> {
  return await withServer(server, pinned, async (child, port) => {
    const traced = (seconds: number): Promise<{ calls: number; value: LoadResult }> =>
      countCalls(child.pid, () => load(child, port, clients, size, seconds, 0.05, pinned));
    await load(child, port, clients, size, 0.2, 0.05, pinned);
    const short = await traced(0.01);
    // Long enough for the messages to outweigh what varies in setting up that many connections.
    const long = await traced(0.6 + clients / 700);
    return (long.calls - short.calls) / (long.value.totalMessages - short.value.totalMessages);
  });
}

function printCell(title: string, rows: readonly EchoRow[]): void {
  printTable(
    title,
    ['', 'msg/s', '×', 'CPU ns/msg', '×', 'user', 'p50 µs', 'p99 µs', 'p99.9 µs', 'calls/msg', 'load'],
    rows.map((row) => [
      row.contender,
      figure(row.messagesPerSecond),
      times(row.messagesPerSecondRatio),
      figure(row.cpuNsPerMessage),
      times(row.cpuRatio),
      percent(row.userShare),
      figure(row.p50us),
      figure(row.p99us),
      figure(row.p999us),
      figure(row.callsPerMessage),
      `${percent(row.loadCpu)}${row.limited ? ' limited' : ''}`,
    ]),
  );
}
