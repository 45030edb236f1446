import {
  ECANCELED,
  ETIME,
  IORING_CQE_F_MORE,
  IORING_OP_READ_MULTISHOT,
  IORING_OP_TIMEOUT,
  IORING_TIMEOUT_ETIME_SUCCESS,
  IORING_TIMEOUT_MULTISHOT,
} from '@ouro/native/abi';
import { type Cancellable, followersOf, type Members } from '../base/cancel.ts';
import { cancellation, outOfRange, systemError } from '../base/errors.ts';
import type { Reactor } from '../engine/reactor.ts';
import type { Completion } from '../engine/slots.ts';
import { reactor } from '../engine/thread.ts';
import { placeTimespec } from '../engine/timespec.ts';
import { awaitFast, Deferred, type Future, rejected, resolved } from '../future/future.ts';
import { insist } from '../operation/insist.ts';
import { checkMs, type OpOptions, refusal } from '../operation/op-options.ts';

/** What `interval` takes. */
export interface IntervalOptions extends Pick<OpOptions, 'signal' | 'scope'> {
  /** Whether the interval keeps the process alive. @default true */
  readonly ref?: boolean | undefined;
}

class Waiter extends Deferred<IteratorResult<number, undefined>> {
  readonly #interval: Interval;

  constructor(interval: Interval) {
    super();
    this.#interval = interval;
  }

  override cancel(reason?: unknown): void {
    if (this.#interval.forget(this)) this.reject(cancellation(reason));
  }
}
awaitFast(Waiter);

/** Ticks of the kernel's clock, told one after the other. */
export class Interval implements AsyncIterableIterator<number, undefined>, Cancellable, Completion {
  readonly resultIsFd = false;
  readonly name = 'timeout';
  refed: boolean;
  readonly #ms: number;
  readonly #above: Members[] = [];
  #waiter: Waiter | null = null;
  #slot = -1;
  #ticks = 0;
  #over = false;
  #error: Error | null = null;
  readonly #stopped: (() => void)[] = [];

  /** @internal Use `interval`. */
  constructor(ms: number, { ref = true, signal, scope }: IntervalOptions) {
    this.#ms = ms;
    this.refed = ref;
    if (signal !== undefined) this.#above.push(followersOf(signal));
    if (scope !== undefined) this.#above.push(scope);
    for (const each of this.#above) each.add(this);
    this.#arm();
  }

  #arm(): void {
    const r = reactor();
    const slot = r.take(this);
    const address = placeTimespec(r, slot, this.#ms);
    const flags = IORING_TIMEOUT_ETIME_SUCCESS | (multishot(r) ? IORING_TIMEOUT_MULTISHOT : 0);
    r.push(slot, IORING_OP_TIMEOUT, -1, 0, address, 1, flags, 0, 0);
    this.#slot = slot;
  }

  complete(result: number, cqeFlags: number): void {
    const more = (cqeFlags & IORING_CQE_F_MORE) !== 0;
    if (!more) this.#slot = -1;
    if (result === ETIME || result >= 0) this.#ticked();
    else if (result !== ECANCELED || !this.#over) this.#end(systemError(result, 'timeout'));
    if (more) {
      // Cancelled between two ticks, see `insist`; where ticks come one after the other it may take one more.
      if (this.#over) this.#cancel();
      return;
    }
    if (this.#over) for (const then of this.#stopped.splice(0)) then();
    else this.#armAgain(); // an old kernel, or one whose completion queue had overflown
  }

  #armAgain(): void {
    try {
      this.#arm();
    } catch (error) {
      this.#end(error as Error); // the kernel takes no more ops
    }
  }

  #ticked(): void {
    this.#ticks++;
    const waiter = this.#waiter;
    if (waiter === null) return;
    this.#waiter = null;
    waiter.resolve({ done: false, value: this.#take() });
  }

  #take(): number {
    const ticks = this.#ticks;
    this.#ticks = 0;
    return ticks;
  }

  /** The next tick: how many there were since the last was told, 1 for whoever keeps up. */
  next(): Future<IteratorResult<number, undefined>> {
    if (this.#ticks > 0) return resolved({ done: false, value: this.#take() });
    if (this.#error !== null) {
      const error = this.#error;
      this.#error = null;
      return rejected(error);
    }
    if (this.#over) return resolved({ done: true, value: undefined });
    if (this.#waiter !== null) {
      const error = new Error('Somebody waits for the next tick already');
      return rejected(Object.assign(error, { code: 'ERR_INVALID_STATE' }));
    }
    this.#waiter = new Waiter(this);
    return this.#waiter;
  }

  /** @internal */
  forget(waiter: Waiter): boolean {
    if (this.#waiter !== waiter) return false;
    this.#waiter = null;
    return true;
  }

  #end(error: Error | null): void {
    if (this.#over) return;
    this.#over = true;
    for (const each of this.#above.splice(0)) each.delete(this);
    if (this.#cancel()) insist(() => this.#cancel());
    const waiter = this.#waiter;
    this.#waiter = null;
    if (error === null) waiter?.resolve({ done: true, value: undefined });
    else if (waiter === null) this.#error = error;
    else waiter.reject(error);
  }

  #cancel(): boolean {
    if (this.#slot < 0) return false;
    reactor().cancel(this.#slot);
    return true;
  }

  /** Ends the ticking: whoever waits gets an `AbortError`. */
  cancel(reason?: unknown): void {
    this.#end(cancellation(reason));
  }

  /** Ends the ticking; resolves when the kernel has let go. */
  async return(): Promise<IteratorResult<number, undefined>> {
    this.#end(null);
    this.#error = null;
    if (this.#slot >= 0) {
      await new Promise<void>((stopped) => this.#stopped.push(stopped));
    }
    return { done: true, value: undefined };
  }

  /** Lets the interval keep the process alive: the default. */
  ref(): this {
    return this.#setRef(true);
  }

  /** Lets the process end although the interval ticks. */
  unref(): this {
    return this.#setRef(false);
  }

  #setRef(refed: boolean): this {
    this.refed = refed;
    if (this.#slot >= 0) reactor().setRef(this.#slot, refed);
    return this;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}

/** The op has no bit of its own; that of its kernel (6.4) is seen by an opcode that came soon after (6.7). */
function multishot(r: Reactor): boolean {
  return r.supports(IORING_OP_READ_MULTISHOT);
}

/**
 * Ticks every `ms` milliseconds from now on, by the kernel's clock, with one op for all ticks (multishot timeout, 6.4;
 * below 6.7 one op a tick). Yields how many ticks there were since it last did: 1 for whoever keeps up, more for ticks that
 * fell together, which are told as one. As with `setInterval` the rate is not made up for: the kernel sets the next tick when
 * it comes to the one before, which it does not while the program is busy.
 *
 * ```js
 * for await (const ticks of interval(100)) console.log(ticks);
 * ```
 *
 * @throws TypeError, RangeError if `ms` is not a number above 0; an `AbortError` if the signal has aborted
 */
export function interval(ms: number, options: IntervalOptions = {}): Interval {
  checkMs('ms', ms);
  // Less is no rate that anybody could keep up with: the kernel would do nothing else.
  if (ms < 0.001) throw outOfRange('ms', '>= 0.001', ms);
  const refused = refusal(options);
  if (refused !== undefined) throw refused;
  return new Interval(ms, options);
}
