import { parseArgs } from 'node:util';
import { UsageError } from './error.ts';

/** What `--matrix` runs, with the share of the time that each gets. */
export const SOCKET_FAMILIES = { echo: 16, spin: 1, churn: 2, udp: 5, idle: 3, transfer: 4 } as const;
export const FAMILIES = [
  'echo',
  'spin',
  'churn',
  'udp',
  'idle',
  'transfer',
  'files',
  'copy',
  'guest',
  'ops',
  'modes',
  'adapters',
  'http',
] as const;
export type Family = (typeof FAMILIES)[number];

export const USAGE = `usage: npm run bench -- FAMILY [options]
       npm run bench -- --matrix [--minutes 60] [options]

families
  echo    TCP echo: ouro, node:net, Bun, Deno, C on io_uring, C on epoll
  spin    round trips of one client: the same, waiting awake
  churn   connections of one message
  udp     UDP echo
  idle    memory of connections that do nothing
  files   whole files and random reads: ouro, fs.promises, fs (sync), C on io_uring, C with plain system calls
  copy    a long file, small files, a tree: ouro, fs.promises
  guest   node:net alone, and with one idle ouro op in flight
  ops     the cheapest op: time and memory for each
  modes   default, spin, SQPOLL, IOPOLL and both, on echo and on random reads
  transfer  files sent and connections joined: ouro, node, C with sendfile and splice
  adapters  programs of Node's without and with the register hook
  http    servers of node:http, Express, Fastify, serve-static, and queries of pg: without and with the register hook
  all     all of them in turn

options
  --quick              fewer rounds, shorter ones
  --json FILE          the medians, every round and the machine, as JSON
  --contenders a,b     only these
  --rounds N           default 5, quick 3
  --seconds S          of each measurement (sockets, guest, random reads, ops); default 2, quick 0.7
  --clients N,M        sockets, guest: how many at a time; idle: how many there are
  --size N,M           sockets, guest: bytes
  --matrix             the families of sockets, all cells, and their ratios in one table at the end
  --minutes N          with --matrix: what all of it may take, roughly; default 60
  --workloads a,b      files: read-reused, read-fresh, write, small-read, small-write, random-1, random-32, random-128,
                       direct-1, direct-32, sequential, copy, stats, stat, list; copy: large, over, small, tree;
                       transfer: send, proxy; http: hello, express, fastify, static, pg; adapters: build, sync, start
  --peers DIR          where "npm install --prefix DIR bun deno" has put them; OURO_BENCH_PEERS
  --cpus LIST          files, copy: the CPUs a contender may use; default all
  --no-strace          sockets: do not count system calls
`;

export interface Options {
  readonly families: readonly Family[];
  readonly quick: boolean;
  readonly json: string | undefined;
  readonly contenders: readonly string[] | undefined;
  readonly rounds: number;
  readonly seconds: number;
  readonly clients: readonly number[] | undefined;
  readonly sizes: readonly number[] | undefined;
  readonly workloads: readonly string[] | undefined;
  readonly cpus: string | undefined;
  readonly peers: string | undefined;
  readonly strace: boolean;
  /** The families of sockets, within so many minutes. */
  readonly matrix: { readonly minutes: number } | undefined;
  /** Seconds that one family may take; it measures less where that is too short. */
  readonly within: number | undefined;
}

/** Reads the command line; undefined if help was asked for. */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { values, positionals } = parse(args);
  const matrix = values.matrix === true;
  if (values.help === true || (positionals.length === 0 && !matrix)) return undefined;
  if (matrix && positionals.length > 0) throw new UsageError('--matrix chooses the families itself');
  const wanted = matrix ? (Object.keys(SOCKET_FAMILIES) as Family[]) : families(positionals);
  if (wanted.length > 1 && (values.contenders ?? values.workloads) !== undefined) {
    throw new UsageError('--contenders and --workloads are names of one family: run one at a time');
  }
  const quick = values.quick === true;
  return {
    families: wanted,
    quick,
    json: values.json,
    contenders: list(values.contenders),
    rounds: number('--rounds', values.rounds) ?? (quick ? 3 : 5),
    seconds: number('--seconds', values.seconds) ?? (quick ? 0.7 : 2),
    clients: numbers('--clients', values.clients),
    sizes: numbers('--size', values.size),
    workloads: list(values.workloads),
    cpus: values.cpus,
    peers: values.peers ?? process.env.OURO_BENCH_PEERS,
    // Counting takes as long as measuring, and it has a family's figures to itself elsewhere.
    strace: values['no-strace'] !== true && !matrix,
    matrix: matrix ? { minutes: number('--minutes', values.minutes) ?? 60 } : undefined,
    within: undefined,
  };
}

const OPTIONS = {
  help: { type: 'boolean', short: 'h' },
  quick: { type: 'boolean' },
  json: { type: 'string' },
  contenders: { type: 'string' },
  rounds: { type: 'string' },
  seconds: { type: 'string' },
  clients: { type: 'string' },
  size: { type: 'string' },
  workloads: { type: 'string' },
  cpus: { type: 'string' },
  peers: { type: 'string' },
  matrix: { type: 'boolean' },
  minutes: { type: 'string' },
  'no-strace': { type: 'boolean' },
} as const;

function parse(
  args: readonly string[],
): ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true }>> {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : error}\n\n${USAGE}`);
  }
}

function families(names: readonly string[]): Family[] {
  if (names.includes('all')) return [...FAMILIES];
  return names.map((name) => {
    const family = FAMILIES.find((known) => known === name);
    if (family === undefined) throw new UsageError(`no family '${name}'\n\n${USAGE}`);
    return family;
  });
}

function list(text: string | undefined): string[] | undefined {
  return text?.split(',').map((part) => part.trim());
}

function number(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!(value > 0)) throw new UsageError(`${option} takes a positive number, not '${text}'`);
  return value;
}

function numbers(option: string, text: string | undefined): number[] | undefined {
  return list(text)?.map((part) => number(option, part) ?? 0);
}

/** Those of `all` that were asked for by name. */
export function chosen<T extends { readonly name: string }>(
  what: string,
  all: readonly T[],
  names: readonly string[] | undefined,
): T[] {
  if (names === undefined) return [...all];
  return names.map((name) => {
    const found = all.find((item) => item.name === name);
    if (found !== undefined) return found;
    throw new UsageError(`no ${what} '${name}'; there are ${all.map((item) => item.name).join(', ')}`);
  });
}
