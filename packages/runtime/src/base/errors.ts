import { getSystemErrorMap } from 'node:util';
import type { Engine } from '@ouro/native';
import {
  EBADF,
  EBADFD,
  ECHILD,
  ETIMEDOUT,
  OPCODE_NAMES,
  OPCODE_SINCE,
  OURO_OP_FIRST,
  OURO_OPCODE_NAMES,
} from '@ouro/native/abi';

/** What an error of a system call says beside its code. */
export interface ErrorDetail {
  readonly path?: string | Buffer;
  readonly dest?: string | Buffer;
}

/** An error as Node makes them from a failed system call. */
export interface SystemError extends Error {
  /** `ENOENT` and the like. */
  readonly code: string;
  /** The kernel's errno, negative as in Node. */
  readonly errno: number;
  readonly syscall: string;
  readonly path?: string;
  readonly dest?: string;
  /** Bytes that had moved before the failure, for ops that move bytes and if there were any. */
  readonly bytesTransferred?: number;
}

/** What libuv, from which Node has its names, does not know. */
const UNNAMED: ReadonlyMap<number, readonly [name: string, message: string]> = new Map([
  [ECHILD, ['ECHILD', 'no child processes']],
  [EBADFD, ['EBADFD', 'file descriptor in bad state']],
]);

// Node makes a new one for each call.
let named: ReadonlyMap<number, readonly [name: string, message: string]> | null = null;

/** Name and description of an errno given as the kernel gives it, below zero. */
export function describe(errno: number): readonly [name: string, message: string] {
  named ??= getSystemErrorMap();
  return (
    named.get(errno) ?? UNNAMED.get(errno) ?? [`Unknown system error ${errno}`, `unknown error ${errno}`]
  );
}

const shown = (path: string | Buffer): string => (typeof path === 'string' ? path : path.toString());

/** `ENOENT: no such file or directory, open 'x'`, with `errno`, `code`, `syscall`, `path` and `dest`; or in other `words`. */
export function systemError(
  errno: number,
  syscall: string,
  detail?: ErrorDetail | null,
  words?: string,
): SystemError {
  const [code, meaning] = describe(errno);
  const description = words ?? meaning;
  let message = `${code}: ${description}, ${syscall}`;
  const extra: { path?: string; dest?: string } = {};
  if (detail?.path !== undefined) {
    extra.path = shown(detail.path);
    message += ` '${extra.path}'`;
  }
  if (detail?.dest !== undefined) {
    extra.dest = shown(detail.dest);
    message += ` -> '${extra.dest}'`;
  }
  return Object.assign(new Error(message), { errno, code, syscall, ...extra });
}

/** What a cancelled op rejects with: Node's `AbortError`, the reason as its `cause`. */
export class AbortError extends Error {
  readonly code = 'ABORT_ERR';
  /** Bytes that had moved before, for ops that move bytes. */
  readonly bytesTransferred: number = 0;

  constructor(reason?: unknown, bytesTransferred = 0) {
    super('The operation was aborted', reason === undefined ? undefined : { cause: reason });
    this.name = 'AbortError';
    if (bytesTransferred !== 0) this.bytesTransferred = bytesTransferred;
  }
}

/** The reason of a cancellation that a deadline brings about. */
export class Expired {
  readonly ms: number;
  /** Whether nothing has happened for so long, and not just the operation has taken so long. */
  readonly idle: boolean;

  constructor(ms: number, idle = false) {
    this.ms = ms;
    this.idle = idle;
  }

  /** For the message of an error: the kernel's words for ETIMEDOUT speak of a connection. */
  get words(): string {
    return this.idle ? `no byte has moved for ${this.ms} ms` : `the operation timed out after ${this.ms} ms`;
  }
}

/**
 * What rejects when a timeout of ours runs out. (An `ETIMEDOUT` without `timeout` is the kernel's: a peer does not answer, as in
 * Node.)
 */
export interface TimeoutError extends Error {
  readonly code: 'ETIMEDOUT';
  readonly errno: number;
  /** What was waited for, as far as it was one thing. */
  readonly syscall?: string;
  /** Milliseconds: those of the `timeout` or `idleTimeout` that has run out. */
  readonly timeout: number;
  /** True where nothing has moved for so long (`idleTimeout`), false where it took so long (`timeout`). */
  readonly idle: boolean;
  /** Bytes that had moved before, for ops that move bytes. */
  readonly bytesTransferred?: number;
}

/** The error of a cancellation for `reason`: a deadline's is `ETIMEDOUT`, any other an `AbortError`. */
export function cancellation(reason: unknown, bytesTransferred = 0): AbortError | TimeoutError {
  if (!(reason instanceof Expired)) return new AbortError(reason, bytesTransferred);
  const error = new Error(`ETIMEDOUT: ${reason.words}`);
  return expired(Object.assign(error, { errno: ETIMEDOUT }), reason, bytesTransferred);
}

/** Makes an error with the errno `ETIMEDOUT` that of a timeout of ours. */
export function expired<E extends Error & { readonly errno: number }>(
  error: E,
  { ms, idle }: Expired,
  bytesTransferred = 0,
): E & TimeoutError {
  const code = 'ETIMEDOUT' as const;
  return Object.assign(
    error,
    { code, timeout: ms, idle },
    bytesTransferred === 0 ? {} : { bytesTransferred },
  );
}

/** The use of something closed: `EBADF`, as Node's FileHandle says it. */
export function closedError(syscall: string): SystemError {
  return systemError(EBADF, syscall);
}

/** An op that this kernel or engine does not have, and that nothing can stand in for: `code: 'ERR_OURO_UNSUPPORTED'`. */
export function unsupportedError(engine: Engine, opcode: number, syscall: string): Error {
  const own = OURO_OPCODE_NAMES[opcode - OURO_OP_FIRST];
  if (own !== undefined) {
    const why = `${own} is no op of the kernel: not in a chain, nor on a direct descriptor, nor where OURO_WITHOUT names it`;
    return Object.assign(new Error(`${why}, ${syscall}`), { code: 'ERR_OURO_UNSUPPORTED', syscall });
  }
  const name = OPCODE_NAMES[opcode];
  const what = name === undefined ? `opcode ${opcode}` : `IORING_OP_${name} (Linux ${OPCODE_SINCE[opcode]})`;
  const who = engine === 'uring' ? 'This kernel' : 'The poll engine';
  return Object.assign(new Error(`${who} cannot do ${what}, ${syscall}`), {
    code: 'ERR_OURO_UNSUPPORTED',
    syscall,
  });
}

/** A `TypeError` shaped like Node's `ERR_INVALID_ARG_TYPE`. */
export function invalidType(name: string, expected: string, value: unknown): TypeError {
  const kind =
    value === null || value === undefined
      ? String(value)
      : typeof value === 'object' || typeof value === 'function'
        ? `an instance of ${value.constructor?.name ?? 'Object'}`
        : `type ${typeof value} (${String(value)})`;
  return Object.assign(new TypeError(`The "${name}" argument must be ${expected}. Received ${kind}`), {
    code: 'ERR_INVALID_ARG_TYPE',
  });
}

/** A `RangeError` shaped like Node's `ERR_OUT_OF_RANGE`. */
export function outOfRange(name: string, range: string, value: unknown): RangeError {
  return Object.assign(
    new RangeError(`The value of "${name}" is out of range. It must be ${range}. Received ${String(value)}`),
    { code: 'ERR_OUT_OF_RANGE' },
  );
}

/** Checks an integer from `lowest` to `highest`. */
export function checkInteger(
  name: string,
  value: unknown,
  lowest: number,
  highest: number,
): asserts value is number {
  if (typeof value !== 'number') throw invalidType(name, 'of type number', value);
  if (!Number.isInteger(value)) throw outOfRange(name, 'an integer', value);
  if (value < lowest || value > highest) throw outOfRange(name, `>= ${lowest} && <= ${highest}`, value);
}
