import { parseArgs } from 'node:util';
import { UsageError } from './error.ts';

export const FAMILIES = ['echo', 'files', 'guest', 'ops', 'modes'] as const;
export type Family = (typeof FAMILIES)[number];

export const USAGE = `usage: npm run bench -- FAMILY [options]

families
  echo    TCP echo: ouro, node:net, C on io_uring
  files   whole files and random reads: ouro, fs.promises, fs (sync), C on io_uring, C with plain system calls
  guest   node:net alone, and with one idle ouro op in flight
  ops     the cheapest op: time and memory for each
  modes   default, spin, SQPOLL, IOPOLL and both, on echo and on random reads
  all     the five in turn

options
  --quick              fewer rounds, shorter ones
  --json FILE          the medians, every round and the machine, as JSON
  --contenders a,b     only these
  --rounds N           default 5, quick 3
  --seconds S          of each measurement (echo, guest, random reads, ops); default 2, quick 0.7
  --clients N,M        echo, guest: default 1,10,100,1000 (guest 1,100)
  --size N,M           echo, guest: bytes, default 64,4096,65536 (guest 64)
  --workloads a,b      files: read-reused, read-fresh, write, random-1, random-32
  --cpus LIST          files: the CPUs a contender may use; default all
  --no-strace          echo: do not count system calls
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
  readonly strace: boolean;
}

/** Reads the command line; undefined if help was asked for. */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { values, positionals } = parse(args);
  if (values.help === true || positionals.length === 0) return undefined;
  const wanted = families(positionals);
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
    strace: values['no-strace'] !== true,
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
