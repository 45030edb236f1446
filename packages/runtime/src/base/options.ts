import { availableParallelism } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import { addon, switchedOff } from '@ouro/native';
import {
  IORING_SETUP_HYBRID_IOPOLL,
  IORING_SETUP_IOPOLL,
  IORING_SETUP_SQ_AFF,
  IORING_SETUP_SQPOLL,
} from '@ouro/native/abi';
import { checkInteger, invalidType, outOfRange } from './errors.ts';
import { cpuQuota } from './machine.ts';

/** The kernel's submission thread: see `RunOptions.sqpoll`. */
export interface SqpollOptions {
  /** Milliseconds without work after which the thread sleeps: 1 to 60000. @default 1000 */
  readonly idle?: number | undefined;
  /** The CPU that the thread runs on (`IORING_SETUP_SQ_AFF`). @default any that the process may use */
  readonly cpu?: number | undefined;
}

/** Spinning: see `RunOptions.spin`. */
export interface SpinOptions {
  /** Microseconds that one wait spins at most: 1 to 10000. @default 50 */
  readonly max?: number | undefined;
  /**
   * The share of one CPU that may go into spins that bring nothing, 0 to 1, over a window of 100 ms.
   * @default 0.1
   */
  readonly share?: number | undefined;
}

/** Batching: see `RunOptions.minWait`. */
export interface MinWaitOptions {
  /** Completions that end the wait at once: 2 to 65536. */
  readonly completions: number;
  /** Microseconds after which one completion ends it: 1 to 1000000. */
  readonly us: number;
}

/** Limits of the kernel's own threads: see `RunOptions.workers`. */
export interface WorkerLimits {
  /** Threads for work that ends in bounded time, such as reads of files: 1 to 65535. @default the kernel's choice */
  readonly bounded?: number | undefined;
  /** Threads for work that may last, such as reads of pipes: 1 to 65535. @default the kernel's choice */
  readonly unbounded?: number | undefined;
}

/**
 * How the engine of a thread is set up. It exists from the first op on, so give these to the first `run`. Each can
 * be given in the environment too, under the name that stands with it; what is given here wins, but for
 * `OURO_DRIVER=poll`.
 */
export interface RunOptions {
  /**
   * Who executes the ops: `'uring'` is the kernel's ring, and an error where there is none; `'poll'` is this package in user
   * space, with the calls and the thread pool that Node uses too, and makes no system call of io_uring at all (some
   * sandboxes end a process that does); `'fusion'` is the ring where it is allowed, and user space elsewhere. Whoever
   * asks for `sqpoll` or `iopoll` gets the ring or an error. `OURO_DRIVER`, whose `poll` no program overrules: `'uring'` is
   * a `UringUnavailableError` then.
   * @default 'fusion'
   */
  readonly driver?: Driver | undefined;
  /**
   * Entries of the submission queue: a power of two from 8 to 32768. A full queue is flushed, never an error.
   * `OURO_ENTRIES`
   * @default 256
   */
  readonly entries?: number | undefined;
  /**
   * Entries of the completion queue: a power of two from `entries` to 65536. More completions than that at once
   * are kept by the kernel and reaped too, only slower; the poll engine has no such limit. `OURO_CQ_ENTRIES`
   * @default 4096, or `entries` if that is more
   */
  readonly cqEntries?: number | undefined;
  /**
   * Of the ring only: with it there is the ring or an error, and none with the driver `'poll'`.
   *
   * A thread of the kernel takes the submissions (`IORING_SETUP_SQPOLL`; without privileges since 5.11), so that a
   * busy ring makes no system calls at all. That thread uses a CPU of its own until it has been idle for a while,
   * and runs with the credentials that the process had when the ring was made. What a close lets go of, a port for
   * example, may be free only shortly after the close has ended: the thread does that when it comes to it. If the kernel refuses, there is an
   * error and no ring. `OURO_SQPOLL`: 0, 1, or the idle time in ms, with `:cpu` behind it if wanted
   * @default false
   */
  readonly sqpoll?: boolean | SqpollOptions | undefined;
  /**
   * Of the ring only: with it there is the ring or an error, and none with the driver `'poll'`.
   *
   * Completions of a device are polled for instead of announced by interrupts (`IORING_SETUP_IOPOLL`). Such a ring
   * takes only reads and writes of files opened with O_DIRECT on devices with poll queues, and nothing else: no
   * timers, no sockets, no open, no close (`EINVAL`). While ops are in flight the thread does not sleep. `'hybrid'`
   * lets the kernel sleep for half of the time that the device is likely to take (6.13). If the kernel refuses, there
   * is an error and no ring. `OURO_IOPOLL`: 0, 1 or hybrid
   * @default false
   */
  readonly iopoll?: boolean | 'hybrid' | undefined;
  /**
   * Of the ring only; the poll engine takes no notice.
   *
   * Before a wait sleeps it may look at the completion queue for a while, which saves the wake-up when something
   * comes. How long follows from what lately paid, down to nothing but a rare try: it is at work where most waits are
   * shorter than 50 µs, and such a process looks busier than it is. `'auto'` is true where the process may use two CPUs
   * or more. Needs 5.19. `OURO_SPIN`: 0, 1, auto or the most microseconds
   *
   * Measured on a virtual machine, Linux 6.18, TCP echo of 64 bytes: with 1 client 43,700 messages a second instead of
   * 16,200, a median of 22 µs instead of 60, 22.6 µs of CPU a message instead of 30.3 (sleeping and waking cost more
   * than they save); with 100 clients no difference. Where waking is cheap, on bare metal, the gain is smaller and is
   * paid for with CPU time.
   * @default 'auto'
   */
  readonly spin?: boolean | 'auto' | SpinOptions | undefined;
  /**
   * Of the ring only; the poll engine takes no notice.
   *
   * A wait goes on until it has so many completions, or one and the time is over (6.12; older kernels end it at the
   * first): fewer, larger batches for up to so much latency, also for timers and everything else of Node's that
   * comes by a descriptor. Only the timeouts of the ring (`sleep`) end it at once. `OURO_MIN_WAIT`:
   * completions:microseconds
   * @default none: the first completion ends the wait
   */
  readonly minWait?: MinWaitOptions | undefined;
  /**
   * Size of the table of direct descriptors: 1 to 1048576. Half of it is for `files().allocate()`, the other half for those
   * whose place the kernel chooses (`into: 'any'`). `OURO_FIXED_FILES`
   * @default 1024
   */
  readonly fixedFiles?: number | undefined;
  /**
   * KiB of the memory that all streams of the thread receive into: a power of two from 64 to 65536. That is what one turn of the loop
   * brings at most, before the readers have a say; only what is used becomes memory. With less, much that comes at once takes more turns.
   * `OURO_RECEIVE_MEMORY`
   * @default 4096
   */
  readonly receiveMemory?: number | undefined;
  /**
   * Of the ring only; the poll engine uses libuv's pool (`UV_THREADPOOL_SIZE`).
   *
   * The most threads the kernel may start for work that blocks (5.15). `OURO_WORKERS`: bounded:unbounded, 0 for the
   * kernel's choice
   * @default the kernel's choice
   */
  readonly workers?: WorkerLimits | undefined;
}

/** Who executes ops: see `RunOptions.driver`. */
export type Driver = 'fusion' | 'uring' | 'poll';

/** `RunOptions` with every value in place, as flat as the engine takes it. */
export interface RingConfig {
  readonly wanted: Driver;
  readonly sqEntries: number;
  readonly cqEntries: number;
  /** `IORING_SETUP_*` flags of the modes asked for. */
  readonly modeFlags: number;
  /** ms */
  readonly sqIdle: number;
  /** The CPU of the submission thread; 0 where no CPU is asked for. */
  readonly sqCpu: number;
  /** µs; 0 does not spin. */
  readonly spinMax: number;
  readonly spinShare: number;
  /** 0: the first completion ends a wait. */
  readonly minWaitCompletions: number;
  /** µs */
  readonly minWaitUs: number;
  readonly fixedFiles: number;
  /** KiB */
  readonly receiveMemory: number;
  /** 0: the kernel's choice. */
  readonly boundedWorkers: number;
  /** 0: the kernel's choice. */
  readonly unboundedWorkers: number;
}

/** The option that each comes from, as it is called in `RunOptions`. */
export const OPTION_OF: Readonly<Record<keyof RingConfig, string>> = {
  wanted: 'driver',
  sqEntries: 'entries',
  cqEntries: 'cqEntries',
  modeFlags: 'sqpoll or iopoll',
  sqIdle: 'sqpoll.idle',
  sqCpu: 'sqpoll.cpu',
  spinMax: 'spin.max',
  spinShare: 'spin.share',
  minWaitCompletions: 'minWait.completions',
  minWaitUs: 'minWait.us',
  fixedFiles: 'fixedFiles',
  receiveMemory: 'receiveMemory',
  boundedWorkers: 'workers.bounded',
  unboundedWorkers: 'workers.unbounded',
};

const DEFAULT_ENTRIES = 256;
const DEFAULT_CQ_ENTRIES = 4096;
const DEFAULT_SQ_IDLE_MS = 1000;
const DEFAULT_SPIN_MAX_US = 50;
const DEFAULT_SPIN_SHARE = 0.1;
const DEFAULT_FIXED_FILES = 1024;
const DEFAULT_RECEIVE_KIB = 4096;

const MOST_SQ_ENTRIES = 32_768;
const MOST_CQ_ENTRIES = 65_536;
const MOST_SQ_IDLE_MS = 60_000;
const MOST_CPU = 4095;
const MOST_SPIN_US = 10_000;
const MOST_WAIT_US = 1_000_000;
const MOST_FIXED_FILES = 1_048_576;
const LEAST_RECEIVE_KIB = 64;
const MOST_RECEIVE_KIB = 65_536;
const MOST_WORKERS = 65_535;

/** Checks the options, looks into the environment for those that are not given, and fills in the defaults. */
export function ringConfig(options: RunOptions = {}, env: NodeJS.ProcessEnv = environment()): RingConfig {
  if (!isObject(options)) throw invalidType('options', 'of type object', options);
  // What the program says wins even where it is wrong: null is refused below, not replaced.
  const given = <K extends keyof RunOptions>(
    name: K,
    variableName: string,
    parse: Parse<NonNullable<RunOptions[K]>>,
  ): RunOptions[K] => (options[name] === undefined ? variable(env, variableName, parse) : options[name]);

  const sqEntries = powerOfTwo(
    'options.entries',
    given('entries', 'OURO_ENTRIES', powerOfTwoIn(8, MOST_SQ_ENTRIES)),
    DEFAULT_ENTRIES,
    8,
    MOST_SQ_ENTRIES,
  );
  const cqEntries = powerOfTwo(
    'options.cqEntries',
    given('cqEntries', 'OURO_CQ_ENTRIES', powerOfTwoIn(sqEntries, MOST_CQ_ENTRIES)),
    Math.max(DEFAULT_CQ_ENTRIES, sqEntries),
    sqEntries,
    MOST_CQ_ENTRIES,
  );
  const said = checkDriver(given('driver', 'OURO_DRIVER', parseDriver));
  const wanted = isSwitchedOff(env) ? 'poll' : said;
  const { modeFlags, ...thread } = checkSqpoll(given('sqpoll', 'OURO_SQPOLL', parseSqpoll));
  const allFlags = modeFlags | iopollFlags(given('iopoll', 'OURO_IOPOLL', parseIopoll));
  if (wanted === 'poll') {
    if (said === 'uring') throw switchedOff("the driver 'uring'");
    if (modeFlags !== 0) throw ringOnly('sqpoll', 'OURO_SQPOLL', options, env);
    if (allFlags !== 0) throw ringOnly('iopoll', 'OURO_IOPOLL', options, env);
  }
  return {
    wanted,
    sqEntries,
    cqEntries,
    modeFlags: allFlags,
    ...thread,
    ...checkSpin(given('spin', 'OURO_SPIN', parseSpin)),
    ...checkMinWait(given('minWait', 'OURO_MIN_WAIT', parseMinWait)),
    fixedFiles: checkFixedFiles(given('fixedFiles', 'OURO_FIXED_FILES', integerIn(1, MOST_FIXED_FILES))),
    receiveMemory: powerOfTwo(
      'options.receiveMemory',
      given('receiveMemory', 'OURO_RECEIVE_MEMORY', powerOfTwoIn(LEAST_RECEIVE_KIB, MOST_RECEIVE_KIB)),
      DEFAULT_RECEIVE_KIB,
      LEAST_RECEIVE_KIB,
      MOST_RECEIVE_KIB,
    ),
    ...checkWorkers(given('workers', 'OURO_WORKERS', parseWorkers)),
  };
}

/** The environment of this thread. The kill switch is that of the process: a worker may have been given another `env`. */
function environment(): NodeJS.ProcessEnv {
  const { env } = process;
  return isMainThread || !addon().switchedOff() ? env : { ...env, OURO_DRIVER: 'poll' };
}

/** `OURO_DRIVER=poll` is for whoever runs a program and wants no io_uring in it: no program says otherwise. */
function isSwitchedOff(env: NodeJS.ProcessEnv): boolean {
  return env.OURO_DRIVER === 'poll';
}

/** The error for a mode of the ring with the poll engine: whose contradiction it is decides which. */
function ringOnly(
  name: 'sqpoll' | 'iopoll',
  variableName: string,
  options: RunOptions,
  env: NodeJS.ProcessEnv,
): Error {
  if (options[name] === undefined)
    return outOfRange(variableName, "0 with the driver 'poll'", env[variableName]);
  if (isSwitchedOff(env) && options.driver !== 'poll') return switchedOff(`the option ${name}`);
  return outOfRange(`options.${name}`, "false with the driver 'poll'", options[name]);
}

const DRIVERS: readonly string[] = ['fusion', 'uring', 'poll'];

function isDriver(value: unknown): value is Driver {
  return typeof value === 'string' && DRIVERS.includes(value);
}

function checkDriver(value: unknown = 'fusion'): Driver {
  if (isDriver(value)) return value;
  const range = "'fusion', 'uring' or 'poll'";
  throw typeof value === 'string'
    ? outOfRange('options.driver', range, value)
    : invalidType('options.driver', `one of ${range}`, value);
}

function parseDriver(text: string): Driver | Refusal {
  return isDriver(text) ? text : new Refusal('fusion, uring or poll');
}

function powerOfTwo(name: string, said: unknown, otherwise: number, lowest: number, highest: number): number {
  const value = said === undefined ? otherwise : said;
  checkInteger(name, value, lowest, highest);
  if ((value & (value - 1)) !== 0) throw outOfRange(name, 'a power of two', value);
  return value;
}

function checkFixedFiles(value: unknown = DEFAULT_FIXED_FILES): number {
  checkInteger('options.fixedFiles', value, 1, MOST_FIXED_FILES);
  return value;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checkSqpoll(
  value: boolean | SqpollOptions = false,
): Pick<RingConfig, 'modeFlags' | 'sqIdle' | 'sqCpu'> {
  if (typeof value === 'boolean') {
    return { modeFlags: value ? IORING_SETUP_SQPOLL : 0, sqIdle: DEFAULT_SQ_IDLE_MS, sqCpu: 0 };
  }
  if (!isObject(value)) throw invalidType('options.sqpoll', 'of type boolean or object', value);
  const { idle = DEFAULT_SQ_IDLE_MS, cpu } = value;
  checkInteger('options.sqpoll.idle', idle, 1, MOST_SQ_IDLE_MS);
  if (cpu !== undefined) checkInteger('options.sqpoll.cpu', cpu, 0, MOST_CPU);
  const bound = cpu === undefined ? 0 : IORING_SETUP_SQ_AFF;
  return { modeFlags: IORING_SETUP_SQPOLL | bound, sqIdle: idle, sqCpu: cpu ?? 0 };
}

function iopollFlags(value: boolean | 'hybrid' = false): number {
  if (value === 'hybrid') return IORING_SETUP_IOPOLL | IORING_SETUP_HYBRID_IOPOLL;
  if (typeof value === 'boolean') return value ? IORING_SETUP_IOPOLL : 0;
  throw typeof value === 'string'
    ? outOfRange('options.iopoll', "true, false or 'hybrid'", value)
    : invalidType('options.iopoll', "of type boolean or 'hybrid'", value);
}

/** How many CPUs the process may use: its affinity, and the quota of its cgroup, which Node 20 does not look at. */
function cpus(): number {
  return Math.min(availableParallelism(), cpuQuota() ?? Number.POSITIVE_INFINITY);
}

function checkSpin(
  value: boolean | 'auto' | SpinOptions = 'auto',
): Pick<RingConfig, 'spinMax' | 'spinShare'> {
  if (typeof value === 'string' && value !== 'auto') {
    throw outOfRange('options.spin', "true, false, 'auto' or an object", value);
  }
  if (typeof value === 'boolean' || value === 'auto') {
    const on = value === 'auto' ? cpus() >= 2 : value;
    return { spinMax: on ? DEFAULT_SPIN_MAX_US : 0, spinShare: on ? DEFAULT_SPIN_SHARE : 0 };
  }
  if (!isObject(value)) throw invalidType('options.spin', "of type boolean or object, or 'auto'", value);
  const { max = DEFAULT_SPIN_MAX_US, share = DEFAULT_SPIN_SHARE } = value;
  checkInteger('options.spin.max', max, 1, MOST_SPIN_US);
  if (typeof share !== 'number') throw invalidType('options.spin.share', 'of type number', share);
  if (!(share >= 0 && share <= 1)) throw outOfRange('options.spin.share', '>= 0 && <= 1', share);
  return share === 0 ? { spinMax: 0, spinShare: 0 } : { spinMax: max, spinShare: share };
}

function checkMinWait(
  value: MinWaitOptions | undefined,
): Pick<RingConfig, 'minWaitCompletions' | 'minWaitUs'> {
  if (value === undefined) return { minWaitCompletions: 0, minWaitUs: 0 };
  if (!isObject(value)) throw invalidType('options.minWait', 'of type object', value);
  const { completions, us } = value;
  checkInteger('options.minWait.completions', completions, 2, MOST_CQ_ENTRIES);
  checkInteger('options.minWait.us', us, 1, MOST_WAIT_US);
  return { minWaitCompletions: completions, minWaitUs: us };
}

function checkWorkers(value: WorkerLimits = {}): Pick<RingConfig, 'boundedWorkers' | 'unboundedWorkers'> {
  if (!isObject(value)) throw invalidType('options.workers', 'of type object', value);
  const { bounded, unbounded } = value;
  if (bounded !== undefined) checkInteger('options.workers.bounded', bounded, 1, MOST_WORKERS);
  if (unbounded !== undefined) checkInteger('options.workers.unbounded', unbounded, 1, MOST_WORKERS);
  return { boundedWorkers: bounded ?? 0, unboundedWorkers: unbounded ?? 0 };
}

/** What a variable's text means, or a string that says what it must be. */
type Parse<T> = (text: string) => T | Refusal;

class Refusal {
  readonly range: string;
  constructor(range: string) {
    this.range = range;
  }
}

/** A variable of the environment; one that is empty counts as not there. */
function variable<T>(env: NodeJS.ProcessEnv, name: string, parse: Parse<T>): T | undefined {
  const text = env[name];
  if (text === undefined || text === '') return undefined;
  const value = parse(text);
  if (value instanceof Refusal) throw outOfRange(name, value.range, text);
  return value;
}

function integer(text: string): number {
  return /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
}

function integerIn(lowest: number, highest: number): Parse<number> {
  return (text) => {
    const value = integer(text);
    return value >= lowest && value <= highest
      ? value
      : new Refusal(`an integer from ${lowest} to ${highest}`);
  };
}

function powerOfTwoIn(lowest: number, highest: number): Parse<number> {
  return (text) => {
    const value = integer(text);
    return value >= lowest && value <= highest && (value & (value - 1)) === 0
      ? value
      : new Refusal(`a power of two from ${lowest} to ${highest}`);
  };
}

function parseSqpoll(text: string): boolean | SqpollOptions | Refusal {
  if (text === '0' || text === '1') return text === '1';
  const [first = '', second, ...more] = text.split(':');
  const idle = integer(first);
  const cpu = second === undefined ? undefined : integer(second);
  return idle >= 1 &&
    idle <= MOST_SQ_IDLE_MS &&
    more.length === 0 &&
    (cpu ?? 0) >= 0 &&
    (cpu ?? 0) <= MOST_CPU
    ? { idle, cpu }
    : new Refusal(`0, 1, or milliseconds up to ${MOST_SQ_IDLE_MS} with or without :CPU`);
}

function parseIopoll(text: string): boolean | 'hybrid' | Refusal {
  if (text === '0' || text === '1') return text === '1';
  return text === 'hybrid' ? text : new Refusal('0, 1 or hybrid');
}

function parseSpin(text: string): boolean | 'auto' | SpinOptions | Refusal {
  if (text === '0' || text === '1') return text === '1';
  if (text === 'auto') return text;
  const max = integer(text);
  return max >= 1 && max <= MOST_SPIN_US
    ? { max }
    : new Refusal(`0, 1, auto or microseconds up to ${MOST_SPIN_US}`);
}

/** Two numbers with a colon between them. */
function pair(text: string): readonly [number, number] {
  const parts = text.split(':');
  return parts.length === 2 ? [integer(parts[0]), integer(parts[1])] : [Number.NaN, Number.NaN];
}

function parseMinWait(text: string): MinWaitOptions | Refusal {
  const [completions, us] = pair(text);
  return completions >= 2 && completions <= MOST_CQ_ENTRIES && us >= 1 && us <= MOST_WAIT_US
    ? { completions, us }
    : new Refusal(`completions:microseconds, from 2 to ${MOST_CQ_ENTRIES} and from 1 to ${MOST_WAIT_US}`);
}

function parseWorkers(text: string): WorkerLimits | Refusal {
  const [bounded, unbounded] = pair(text);
  return bounded <= MOST_WORKERS && unbounded <= MOST_WORKERS
    ? {
        bounded: bounded === 0 ? undefined : bounded,
        unbounded: unbounded === 0 ? undefined : unbounded,
      }
    : new Refusal(`bounded:unbounded, each from 0 to ${MOST_WORKERS}`);
}
