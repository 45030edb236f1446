import { ETIME, IORING_OP_TIMEOUT } from '@ouro/native/abi';
import { followersOf, type Members } from '../base/cancel.ts';
import { reactor } from '../engine/thread.ts';
import { placeTimespec } from '../engine/timespec.ts';
import { type Future, rejected, type Steps, startFlow } from '../future/future.ts';
import { Deadline } from '../operation/deadline.ts';
import { nothing, Op, opKind } from '../operation/op.ts';
import {
  checkMs,
  limitsOf,
  NO_TIMEOUT,
  type OpOptions,
  refusal,
  timeoutOf,
} from '../operation/op-options.ts';
import { begin, Operation } from '../operation/operation.ts';

/** What `sleep` takes. */
export interface SleepOptions extends OpOptions {
  /** Whether the sleep keeps the process alive. @default true */
  readonly ref?: boolean | undefined;
}

// A timeout that has run its time ends with ETIME: that is its success.
const TIMEOUT = opKind<void>('timeout', { passes: ETIME, decode: nothing });

class Timeout extends Op<void> {
  readonly #ms: number;

  constructor(ms: number) {
    super(TIMEOUT, IORING_OP_TIMEOUT, 0, 0, 1);
    this.#ms = ms;
  }

  override place(slot: number): void {
    this.addr = placeTimespec(reactor(), slot, this.#ms);
  }
}

/**
 * Resolves after `ms` milliseconds (fractions count), measured by the kernel's monotonic clock through a timeout op
 * of the ring.
 *
 * @throws TypeError, RangeError if `ms` is not a number from 0 to 9007199254
 */
export function sleep(ms: number, options?: SleepOptions): Future<void> {
  checkMs('ms', ms);
  const operation = new Operation(new Timeout(ms));
  operation.refed = options?.ref ?? true;
  return begin(operation, options);
}

/**
 * Binds a future that is made of several ops to signal, scope and timeout. (What is one op is bound by `begin`.)
 */
export function bound<F extends Future<unknown>>(future: F, options: OpOptions | undefined, refed = true): F {
  if (options === undefined) return future;
  const { signal, scope } = options;
  const timeout = timeoutOf(options);
  const above: Members[] = [];
  if (signal !== undefined) above.push(followersOf(signal));
  if (scope !== undefined) above.push(scope);
  if (above.length > 0) {
    future.whenSettled(() => {
      for (const each of above) each.delete(future);
    });
  }
  try {
    for (const each of above) each.add(future);
  } catch (error) {
    // A signal's addEventListener throws, and what could not be cancelled has begun already.
    future.cancel(error);
    return future;
  }
  if (timeout !== NO_TIMEOUT) expire(future, timeout, refed);
  return future;
}

/** Whether there is something that has to be told when a future of these options has settled. */
function isFollowed(options: OpOptions | undefined): boolean {
  if (options === undefined) return false;
  const { signal, scope } = options;
  return signal !== undefined || scope !== undefined || timeoutOf(options) !== NO_TIMEOUT;
}

/** Cancels `future` after `ms`, unless it has settled, in a way that makes its error an `ETIMEDOUT`. */
export function expire(future: Future<unknown>, ms: number, refed = true): void {
  const deadline = new Deadline(future, ms, refed);
  future.whenSettled(() => deadline.clear());
}

/** Runs `body` as one future. Steps that must not be cancelled (closing, say) are simply not handed to `step`. */
export function flow<T>(body: (steps: Steps) => Promise<T>, options?: OpOptions, refed = true): Future<T> {
  const limits = limitsOf(options);
  const refused = refusal(limits);
  if (refused !== undefined) return rejected(refused);
  return bound(startFlow(body, isFollowed(limits)), limits, refed);
}
