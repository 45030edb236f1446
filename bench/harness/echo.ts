import { Budget, WARMUP_S } from './budget.ts';
import { Child } from './child.ts';
import { BenchError } from './error.ts';
import { type NativeProgram, program } from './native.ts';
import type { Options } from './options.ts';
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

/** How many clients at a time, each with messages of how many bytes. */
export interface Conditions {
  readonly clients: number;
  readonly size: number;
}

export interface EchoPlan {
  readonly family: string;
  readonly title: string;
  readonly servers: readonly EchoServer[];
  /** The one the ratios refer to. */
  readonly base: string;
  readonly cells: readonly Conditions[];
  readonly rounds: number;
  readonly seconds: number;
  readonly strace: boolean;
  /** Seconds that all of it may take: what is measured is cut down to that. */
  readonly within: number | undefined;
  /** The load generator. @default 'echo_load' */
  readonly load?: NativeProgram;
  /** Options of its own, beside those that all have. */
  readonly loadOptions?: Readonly<Record<string, string>>;
  /** So many clients for a second before those that count: few of them would take long to have a server compiled. */
  readonly warmedBy?: number;
  /** What is counted, singular. @default 'msg' */
  readonly unit?: string;
  /** Whether server and load have a CPU each. @default true */
  readonly pinned?: boolean;
}

/** Every number of clients with every size. */
export function cross(clients: readonly number[], sizes: readonly number[]): Conditions[] {
  return sizes.flatMap((size) => clients.map((clients) => ({ clients, size })));
}

/** What the command line says about how long and how often. */
export function timing({
  rounds,
  seconds,
  strace,
  within,
}: Options): Pick<EchoPlan, 'rounds' | 'seconds' | 'strace' | 'within'> {
  return { rounds, seconds, strace, within };
}

/** What a load generator prints. */
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
  /** Datagrams that had to be sent again. */
  readonly lost: number;
}

/** Medians over the rounds. */
interface EchoRow extends Row {
  readonly messagesPerSecond: number;
  readonly messagesPerSecondRatio: number | undefined;
  readonly cpuNsPerMessage: number;
  readonly cpuRatio: number | undefined;
  /** Messages for the same CPU time: the other way round. */
  readonly messagesPerCpuRatio: number | undefined;
  readonly userShare: number;
  readonly p50us: number;
  readonly p99us: number;
  readonly p99Ratio: number | undefined;
  readonly p999us: number;
  readonly lost: number;
  readonly callsPerMessage: number | undefined;
  readonly loadCpu: number;
  readonly limited: boolean;
}

export async function runEchoPlan(plan: EchoPlan): Promise<Report> {
  const { rounds, base, within } = plan;
  const turns = plan.servers.length * rounds;
  const budget = within === undefined ? undefined : new Budget(within, turns * plan.cells.length);
  const cells: Cell[] = [];
  for (const conditions of plan.cells) {
    const seconds = budget === undefined ? plan.seconds : budget.take(turns, plan.seconds);
    if (seconds !== undefined) cells.push(await runCell(plan, conditions, seconds));
    else console.log(`note: no time is left for ${titleOf(plan, conditions)}`);
  }
  return { family: plan.family, conditions: { rounds, seconds: plan.seconds, base }, cells };
}

async function runCell(plan: EchoPlan, { clients, size }: Conditions, seconds: number): Promise<Cell> {
  const results = await alternate(plan.servers, plan.rounds, (server) =>
    withServer(server, isPinned(plan), async (child, port) => {
      const { warmedBy } = plan;
      if (warmedBy !== undefined)
        await load(plan, child, { port, clients: warmedBy, size, seconds: 1, warmup: WARMUP_S / 4 });
      return await load(plan, child, { port, clients, size, seconds, warmup: WARMUP_S });
    }),
  );
  const base = results.get(plan.base);
  const rows: EchoRow[] = [];
  for (const server of plan.servers) {
    const rounds = results.get(server.name) ?? [];
    const middle = (of: (result: LoadResult) => number): number => median(rounds.map(of));
    const ratio = (of: (result: LoadResult) => number): number | undefined => medianRatio(rounds, base, of);
    rows.push({
      contender: server.name,
      messagesPerSecond: middle((r) => r.messagesPerSecond),
      messagesPerSecondRatio: ratio((r) => r.messagesPerSecond),
      cpuNsPerMessage: middle(cpuPerMessage),
      cpuRatio: ratio(cpuPerMessage),
      messagesPerCpuRatio: ratio((r) => 1 / cpuPerMessage(r)),
      userShare: middle((r) => r.serverUserShare),
      p50us: middle((r) => r.p50us),
      p99us: middle((r) => r.p99us),
      p99Ratio: ratio((r) => r.p99us),
      p999us: middle((r) => r.p999us),
      lost: middle((r) => r.lost),
      callsPerMessage:
        plan.strace && (await canCountCalls())
          ? await callsPerMessage(plan, server, clients, size)
          : undefined,
      loadCpu: middle((r) => r.cpu),
      limited: rounds.filter((r) => r.limited).length * 2 > rounds.length,
    });
  }
  printCell(titleOf(plan, { clients, size }), plan.unit ?? 'msg', rows);
  return { cell: { clients, size }, rows, rounds: Object.fromEntries(results) };
}

const isPinned = (plan: EchoPlan): boolean => plan.pinned !== false;
const titleOf = ({ title }: EchoPlan, { clients, size }: Conditions): string =>
  `${title}: ${clients} ${clients === 1 ? 'client' : 'clients'} × ${size} bytes`;

const cpuPerMessage = (result: LoadResult): number => result.serverCpuNs / result.messages;

export async function withServer<T>(
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

interface LoadOptions extends Conditions {
  readonly port: number;
  readonly seconds: number;
  readonly warmup: number;
}

/** The command line of one of the load generators, which all understand the same. */
export function loadCommand(name: NativeProgram, server: Child, options: LoadOptions): Command {
  const all = { host: '127.0.0.1', ...options, 'server-pid': server.pid };
  return {
    file: program(name),
    args: Object.entries(all).flatMap(([option, value]) => [`--${option}`, `${value}`]),
  };
}

async function load(plan: EchoPlan, server: Child, options: LoadOptions): Promise<LoadResult> {
  const command = loadCommand(plan.load ?? 'echo_load', server, { ...options, ...plan.loadOptions });
  const child = await Child.start(`the load on '${server.name}'`, isPinned(plan) ? asLoad(command) : command);
  try {
    // Connecting, draining and closing may take the generator 5 s each; after that it gives up by itself.
    return (await child.result((options.seconds + 4 * options.warmup + 20) * 1000)) as LoadResult;
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
  plan: EchoPlan,
  server: EchoServer,
  clients: number,
  size: number,
): Promise<number> {
  return await withServer(server, isPinned(plan), async (child, port) => {
    const run = (seconds: number): Promise<LoadResult> =>
      load(plan, child, { port, clients, size, seconds, warmup: 0.05 });
    await run(0.2);
    const short = await countCalls(child.pid, () => run(0.01));
    // Long enough for the messages to outweigh what varies in setting up that many connections.
    const long = await countCalls(child.pid, () => run(0.6 + clients / 700));
    return (long.calls - short.calls) / (long.value.totalMessages - short.value.totalMessages);
  });
}

function printCell(title: string, unit: string, rows: readonly EchoRow[]): void {
  const lossy = rows.some(({ lost }) => lost > 0);
  printTable(
    title,
    [
      '',
      `${unit}/s`,
      '×',
      `CPU ns/${unit}`,
      `${unit}/CPU ×`,
      'user',
      'p50 µs',
      'p99 µs',
      '×',
      'p99.9 µs',
      `calls/${unit}`,
      'load',
      ...(lossy ? ['lost'] : []),
    ],
    rows.map((row) => [
      row.contender,
      figure(row.messagesPerSecond),
      times(row.messagesPerSecondRatio),
      figure(row.cpuNsPerMessage),
      times(row.messagesPerCpuRatio),
      percent(row.userShare),
      figure(row.p50us),
      figure(row.p99us),
      times(row.p99Ratio),
      figure(row.p999us),
      figure(row.callsPerMessage),
      `${percent(row.loadCpu)}${row.limited ? ' limited' : ''}`,
      ...(lossy ? [figure(row.lost)] : []),
    ]),
  );
}
