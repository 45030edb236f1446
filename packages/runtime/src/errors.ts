import { getSystemErrorMap } from 'node:util';
import type { Engine } from '@ouro/native';
import { EBADF, EBADFD, ECHILD, ETIMEDOUT, OPCODE_NAMES, OPCODE_SINCE } from '@ouro/native/abi';

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

/** Name and description of an errno given as the kernel gives it, below zero. */
export function describe(errno: number): readonly [name: string, message: string] {
  return (
    getSystemErrorMap().get(errno) ??
    UNNAMED.get(errno) ?? [`Unknown system error ${errno}`, `unknown error ${errno}`]
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

  constructor(ms: number) {
    this.ms = ms;
  }
}

/** The kernel's words for ETIMEDOUT speak of a connection. */
export function timedOut(ms: number): string {
  return `the operation timed out after ${ms} ms`;
}

/** What rejects when something made of several ops runs out of time: `code: 'ETIMEDOUT'`. */
export interface TimeoutError extends Error {
  readonly code: 'ETIMEDOUT';
  readonly errno: number;
  /** Bytes that had moved before, for ops that move bytes. */
  readonly bytesTransferred?: number;
}

/** The error of a cancellation for `reason`: a deadline's is `ETIMEDOUT`, any other an `AbortError`. */
export function cancellation(reason: unknown, bytesTransferred = 0): AbortError | TimeoutError {
  if (!(reason instanceof Expired)) return new AbortError(reason, bytesTransferred);
  const error = new Error(`ETIMEDOUT: ${timedOut(reason.ms)}`);
  const code = 'ETIMEDOUT' as const;
  return Object.assign(error, { code, errno: ETIMEDOUT }, bytesTransferred === 0 ? {} : { bytesTransferred });
}

/** The use of something closed: `EBADF`, as Node's FileHandle says it. */
export function closedError(syscall: string): SystemError {
  return systemError(EBADF, syscall);
}

/** An op that this kernel or engine does not have, and that nothing can stand in for: `code: 'ERR_OURO_UNSUPPORTED'`. */
export function unsupportedError(engine: Engine, opcode: number, syscall: string): Error {
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
