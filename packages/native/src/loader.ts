import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** What `cpp/src/addon.cpp` exports. Results below zero are `-errno`. */
export interface Addon {
  /** The layout of the shared memory as the build has it: what `layout.ts` says. */
  readonly layout: Readonly<Record<string, number>>;
  open(options: RingOptions, dispatch: (count: number) => void): RingDescription | number;
  switchedOff(): boolean;
  trySetup(setupFlags: number, cpu: number): number;
  submit(settle?: boolean): number;
  beside(): BesideDescription | number;
  arm(): void;
  register(opcode: number, address: number, count: number): number;
  allocate(bytes: number): ArrayBuffer | number;
  allocateForFds(bytes: number): ArrayBuffer | number;
  allocateForControl(cells: number, bytes: number): ArrayBuffer | number;
  addressOf(view: Uint8Array): number;
  hold(view: Uint8Array): object | undefined;
  takeRecycled(bytes: number): ArrayBuffer | undefined;
  addRecycled(memory: ArrayBuffer): boolean;
  trimRecycled(): number;
  own(fd: number): void;
  sizeHint(fd: number): number;
  seek(fd: number, position: number): number;
  pipe(bytes: number): readonly [readEnd: number, writeEnd: number, capacity: number] | number;
  splice(from: number, to: number, bytes: number, flags: number, socket: number): number;
  sendCached(file: number, offset: number, socket: number, bytes: number): number;
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array): number;
  connect(fd: number, address: Uint8Array): number;
  listen(fd: number, backlog: number): number;
  shutdown(fd: number, how: number): number;
  send(fd: number, bytes: Uint8Array | readonly Uint8Array[], flags: number, to?: Uint8Array): number;
  setsockopt(fd: number, level: number, name: number, value: number | Uint8Array): number;
  getsockopt(fd: number, level: number, name: number, room?: Uint8Array): number;
  sockaddr(host: string, port: number, out: Uint8Array): number;
  getsockname(fd: number): SocketName | number;
  getpeername(fd: number): SocketName | number;
  socketPair(type: number, out: Int32Array): number;
  duplicate(fd: number): number;
  rawName(fd: number, ofPeer: boolean, out: Uint8Array): number;
}

/** One end of a connection. */
export interface SocketName {
  readonly address: string;
  readonly port: number;
  readonly family: 'IPv4' | 'IPv6';
}

/** Who executes SQEs: the kernel's ring, or user space with what every system has. */
export type Engine = 'uring' | 'poll';

/** How to set up a ring. */
export interface RingOptions {
  /** @default 'uring' */
  readonly driver?: Engine;
  /** Entries of the submission queue: a power of two from 8 to 32768. @default 256 */
  readonly sqEntries?: number;
  /** Entries of the completion queue: a power of two, at least `sqEntries`. @default 4096 */
  readonly cqEntries?: number;
  /** Setup flags (`IORING_SETUP_*`) that may be used at all. @default all */
  readonly flagMask?: number;
  /** Setup flags that there must be, or there is no ring: those of SQPOLL and IOPOLL. @default 0 */
  readonly modeFlags?: number;
  /** With SQPOLL: milliseconds that the kernel's thread looks for work before it sleeps. @default 1000 */
  readonly sqIdle?: number;
  /** With SQ_AFF: the CPU that the kernel's thread runs on. */
  readonly sqCpu?: number;
  /** Microseconds that a wait may spin at most before it sleeps; 0 for not at all. @default 0 */
  readonly spinMax?: number;
  /** The share of the time that may go into spins that bring nothing, 0 to 1. @default 0 */
  readonly spinShare?: number;
  /** Completions that a wait is to bring, unless `minWaitUs` microseconds pass before (6.12). @default 0 */
  readonly minWaitCompletions?: number;
  /** See `minWaitCompletions`. @default 0 */
  readonly minWaitUs?: number;
}

/** The queue of the poll engine beside a ring: for ops that the kernel lacks. */
export interface BesideDescription {
  readonly shared: ArrayBuffer;
  readonly sqes: ArrayBuffer;
  readonly sqEntries: number;
  readonly opcodes: Uint8Array;
}

/** The ring that the kernel gave, with the memory it shares. */
export interface RingDescription {
  readonly driver: Engine;
  /** Its descriptor: what other rings of the process send messages to. */
  readonly fd: number;
  readonly shared: ArrayBuffer;
  readonly sqes: ArrayBuffer;
  readonly fds: ArrayBuffer;
  readonly sqEntries: number;
  readonly cqEntries: number;
  readonly setupFlags: number;
  readonly features: number;
  readonly opcodes: Uint8Array;
}

const require = createRequire(import.meta.url);

function libc(): 'glibc' | 'musl' {
  const header = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header.header?.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
}

/** Where the addon may be, most local first. */
function* candidates(): Generator<string> {
  const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
  const override = process.env.OURO_NATIVE_PATH;
  if (override !== undefined && override !== '') {
    yield override;
    return;
  }
  yield here('../cpp/build/Release/ouro.node');
  yield here('../cpp/build/Debug/ouro.node');
  // Only now: the report that tells the C library apart takes a while.
  if (process.platform === 'linux') yield `@ouro/native-linux-${process.arch}-${libc()}`;
}

let loaded: Addon | undefined;

/**
 * Loads the addon on first use; importing the package loads nothing.
 * @throws Error with `code: 'ERR_OURO_NATIVE'`, naming each place that was tried, where there is no build for
 * this platform; on Bun, which has no libuv, at once.
 */
export function addon(): Addon {
  if (loaded !== undefined) return loaded;
  if (process.versions.bun !== undefined) {
    throw failure('ouro needs the libuv event loop of Node.js, which Bun does not have', []);
  }
  const attempts: string[] = [];
  for (const candidate of candidates()) {
    if (candidate.startsWith('/')) {
      const problem = existsSync(candidate)
        ? candidate.endsWith('.node')
          ? ''
          : 'not a .node file'
        : 'no such file';
      if (problem !== '') {
        attempts.push(`${candidate}: ${problem}`);
        continue;
      }
    }
    try {
      loaded = require(candidate) as Addon;
      return loaded;
    } catch (error) {
      attempts.push(`${candidate}: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`);
    }
  }
  throw failure(
    `No native build of ouro for ${process.platform}-${process.arch} (the README of @ouro/native says how to make one)`,
    attempts,
  );
}

function failure(message: string, attempts: string[]): Error {
  const tried = attempts.map((attempt) => `\n  - ${attempt}`).join('');
  return Object.assign(new Error(tried === '' ? message : `${message}. Tried:${tried}`), {
    code: 'ERR_OURO_NATIVE',
  });
}
