import { checkSignal } from '../base/cancel.ts';
import { cancellation, invalidType, outOfRange } from '../base/errors.ts';
import { existingReactor, reactor } from '../engine/thread.ts';
import { checkScope, type Scope } from '../future/scope.ts';

/** What every method that does I/O takes. */
export interface OpOptions {
  /** Cancels the op when it aborts; the op then rejects with an `AbortError` whose `cause` is the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Cancels the op together with all else in the scope. */
  readonly scope?: Scope | undefined;
  /**
   * Milliseconds (fractions count) after which the op is given up: it then rejects with `code: 'ETIMEDOUT'`. A linked
   * timeout of the kernel (`IORING_OP_LINK_TIMEOUT`) for what is one op, a timeout op of the ring for what is several and
   * for what waits for a thread of the kernel, where the other would not be started. With 0 the op succeeds only if it need
   * not wait. An op that was quicker succeeds, and so does one that cannot be
   * interrupted (a read of a disk in progress). @default none
   */
  readonly timeout?: number | undefined;
}

/** About 104 days: nanoseconds up to here are exact in a double. */
export const MOST_MS: number = 2 ** 53 / 1_000_000;

/** Checks a number of milliseconds. */
export function checkMs(name: string, ms: unknown): asserts ms is number {
  if (typeof ms !== 'number') throw invalidType(name, 'of type number', ms);
  if (!(ms >= 0 && ms <= MOST_MS)) throw outOfRange(name, `>= 0 && <= ${MOST_MS}`, ms);
}

/** In the place of options that nobody has given: not even those that somebody has put into `Object.prototype`. */
export const NO_OPTIONS: Readonly<Record<never, never>> = Object.freeze(Object.create(null));

/** In the place of a timeout, where there is none. */
export const NO_TIMEOUT = -1;

/** `options.timeout`, checked. */
export function timeoutOf(options: OpOptions | undefined): number {
  const timeout = options?.timeout;
  if (timeout === undefined || timeout === Number.POSITIVE_INFINITY) return NO_TIMEOUT;
  checkMs('options.timeout', timeout);
  return timeout;
}

function checkOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw invalidType('options', 'an instance of Object', options);
}

/**
 * What of options limits a future that is made of several ops, read once: what a getter says the next time comes when something has
 * begun already.
 */
export function limitsOf(options: OpOptions | undefined): OpOptions | undefined {
  if (options === undefined) return undefined;
  checkOptions(options);
  const { signal, scope, timeout } = options;
  return { signal, scope, timeout };
}

/**
 * Why an op must not even begin: its signal has aborted, its scope has been cancelled, or there is no ring to be had.
 * Undefined if it may.
 * @throws TypeError, RangeError for options that make no sense
 */
export function refusal(options: OpOptions | undefined): Error | undefined {
  if (options !== undefined) {
    checkOptions(options);
    const { signal, scope } = options;
    checkSignal(signal);
    checkScope('options.scope', scope);
    timeoutOf(options);
    if (signal?.aborted) return cancellation(signal.reason);
    if (scope?.cancelled) return cancellation(scope.reason);
  }
  if (existingReactor() !== undefined) return undefined;
  try {
    reactor();
    return undefined;
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
}
