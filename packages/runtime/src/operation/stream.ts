import {
  ECANCELED,
  EINTR,
  ENFILE,
  IORING_CQE_F_MORE,
  IORING_OP_CLOSE,
  IORING_OP_TIMEOUT,
  IOSQE_BUFFER_SELECT,
} from '@ouro/native/abi';
import { type Cancellable, followersOf, type Members } from '../base/cancel.ts';
import { cancellation, checkInteger, closedError, invalidType } from '../base/errors.ts';
import type { Completion } from '../engine/slots.ts';
import { reactor } from '../engine/thread.ts';
import { awaitFast, Deferred, type Future, rejected, resolved } from '../future/future.ts';
import type { Descriptor } from './descriptor.ts';
import { insist } from './insist.ts';
import { Op, type Rare } from './op.ts';
import { type OpOptions, refusal } from './op-options.ts';
import { discardResult, errorOf } from './operation.ts';

/** How a multishot op is iterated. */
export interface StreamOptions extends Pick<OpOptions, 'signal' | 'scope'> {
  /**
   * Results that wait to be taken before the op is given up for now; it is queued again when they have been taken. What
   * arrives in between waits in the kernel. @default 1024
   */
  readonly highWater?: number | undefined;
  /** Whether the op keeps the process alive. @default true */
  readonly ref?: boolean | undefined;
}

/** What a kind's `decode` returns for a completion that is the end of the stream (a receive of no bytes). */
export const END_OF_STREAM: never = Symbol('end of stream') as never;

/** What it returns for a completion that brings nothing, after which the op goes on or is queued again. */
export const NO_RESULT: never = Symbol('no result') as never;

/** Somebody who waits for a result. */
export class Waiter<T> extends Deferred<IteratorResult<T, undefined>> {
  readonly #forget: (waiter: Waiter<T>) => boolean;

  constructor(forget: (waiter: Waiter<T>) => boolean) {
    super();
    this.#forget = forget;
  }

  override cancel(reason?: unknown): void {
    if (this.#forget(this)) this.reject(cancellation(reason));
  }
}
awaitFast(Waiter);

/**
 * The completions of a multishot op, one after the other. Begun when somebody first waits; ended by `cancel` or `return`
 * (leaving a loop), by an error of the op, or by whatever the op itself says is its end.
 */
export class Stream<T> implements AsyncIterableIterator<T, undefined>, Cancellable, Completion {
  readonly op: Op<T>;
  refed: boolean;
  readonly #highWater: number;
  readonly #above: Members[] = [];
  readonly #results: T[] = [];
  readonly #waiters: Waiter<T>[] = [];
  #slot = -1;
  /** Memory that the kernel uses in this flight: what the op's `place` has made. */
  hold: unknown = null;
  /** What this flight is one on: the op may be made one on other handles while it lasts. */
  #descriptor: Descriptor | null = null;
  #refers: Rare | null = null;
  #begun = false;
  #stopping = false;
  #over = false;
  #error: Error | null = null;
  readonly #stopped: (() => void)[] = [];
  readonly #resume = (): void => {
    if (this.#waiters.length > 0) this.#arm();
  };

  /** @internal Use `stream`. */
  constructor(op: Op<T>, options: StreamOptions) {
    this.op = op;
    const { signal, scope, ref, highWater = 1024 } = options;
    checkInteger('options.highWater', highWater, 1, 0x7fff_ffff);
    this.refed = ref ?? op.descriptor?.refed ?? true;
    this.#highWater = highWater;
    if (signal !== undefined) this.#above.push(followersOf(signal));
    if (scope !== undefined) this.#above.push(scope);
    for (const each of this.#above) each.add(this);
  }

  get resultIsFd(): boolean {
    return this.op.kind.resultIsFd;
  }

  get name(): string {
    return this.op.kind.syscall;
  }

  /** Where in the table of ops in flight; -1 while the op is not. */
  get slot(): number {
    return this.#slot;
  }

  /** Results that wait to be taken. */
  get buffered(): number {
    return this.#results.length;
  }

  /** The next result. Several may wait; each gets another one. */
  next(): Future<IteratorResult<T, undefined>> {
    if (this.#results.length > 0) {
      const value = this.#results.shift() as T;
      if (this.#results.length <= this.#highWater >> 1) this.#arm();
      return resolved({ done: false, value });
    }
    if (this.#error !== null) {
      const error = this.#error;
      this.#error = null;
      return rejected(error);
    }
    if (this.#over) return resolved({ done: true, value: undefined });
    const waiter = new Waiter<T>((each) => this.#forget(each));
    this.#waiters.push(waiter);
    this.#arm();
    return waiter;
  }

  #forget(waiter: Waiter<T>): boolean {
    const at = this.#waiters.indexOf(waiter);
    if (at >= 0) this.#waiters.splice(at, 1);
    return at >= 0;
  }

  #arm(): void {
    if (this.#slot >= 0 || this.#over) return;
    const { op } = this;
    const r = reactor();
    if (op.refersToClosed) {
      // Closing the handle ends a loop that had begun.
      this.#end(this.#begun ? null : closedError(op.kind.syscall));
      return;
    }
    if (!op.ready(this.#resume)) return;
    if (op.opens?.full) {
      this.#end(errorOf(op, ENFILE));
      return;
    }
    this.#begun = true;
    const slot = r.take(this);
    op.place(slot);
    // Another flight of the same op may give it other memory.
    this.hold = op.hold;
    if (op.opcode === IORING_OP_CLOSE && op.file === 0) r.closes(slot);
    try {
      r.push(slot, op.head, op.fd, op.off, op.addr, op.len, op.opFlags, op.buf, op.file, op.addr3);
    } catch (error) {
      this.#end(error as Error); // the kernel takes no more ops
      return;
    }
    this.#slot = slot;
    this.#stopping = false;
    const { descriptor, rare } = op;
    const { opens, closes, also } = rare;
    this.#descriptor = descriptor;
    this.#refers = rare;
    opens?.beginOpening(this);
    closes?.beginEmptying();
    descriptor?.attach(this);
    also?.attach(this);
  }

  #detach(): void {
    const refers = this.#refers;
    refers?.closes?.endEmptying();
    this.#descriptor?.detach(this);
    refers?.also?.detach(this);
  }

  complete(result: number, cqeFlags: number): void {
    const { kind } = this.op;
    const slot = this.#slot;
    const more = (cqeFlags & IORING_CQE_F_MORE) !== 0;
    if (!more) {
      this.#slot = -1;
      this.hold = null;
      this.#detach();
    }
    if (result >= 0 || result === kind.passes) this.#deliver(result, slot, cqeFlags);
    else if (!(this.#stopping && (result === ECANCELED || result === EINTR))) {
      this.#end(errorOf(this.op, result));
    }
    if (more) {
      // A timeout that fires just when it is cancelled is not found by the kernel (ENOENT), and goes on: so ask again.
      if (this.#stopping && this.op.opcode === IORING_OP_TIMEOUT) this.#giveUp();
      // The next one would take a place that is set aside for others.
      else if (this.#refers?.opens?.full) this.#end(errorOf(this.op, ENFILE));
      else if (this.#results.length >= this.#highWater) this.#stop();
      return;
    }
    // (Only now: what has been opened counts as taken by now.)
    this.#refers?.opens?.endOpening(this);
    for (const then of this.#stopped.splice(0)) then();
    if (this.#waiters.length > 0) this.#arm();
  }

  #deliver(result: number, slot: number, cqeFlags: number): void {
    const { op } = this;
    const { decode, drop } = op.kind;
    if (this.#over && drop === null) {
      // Decoding gives the buffer back, which nobody will read.
      if ((op.flags & IOSQE_BUFFER_SELECT) !== 0) decode?.(result, op, slot, cqeFlags);
      else if (result >= 0) discardResult(op, result, slot);
      return;
    }
    let value: T;
    try {
      value = decode === null ? (Math.max(result, 0) as T) : decode(result, op, slot, cqeFlags);
    } catch (error) {
      discardResult(op, result, slot);
      this.#end(error as Error);
      return;
    }
    if (value === NO_RESULT) return;
    if (value === END_OF_STREAM) {
      this.#end(null);
      return;
    }
    if (this.#over) {
      drop?.(value);
      return;
    }
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#results.push(value);
    else waiter.resolve({ done: false, value });
  }

  /** Ends it with an error, told once: to the first who waits, or else to the first who comes. */
  #end(error: Error | null): void {
    if (this.#over) return;
    this.#over = true;
    for (const each of this.#above.splice(0)) each.delete(this);
    if (this.#slot >= 0) this.#stop();
    const waiter = error === null ? undefined : this.#waiters.shift();
    if (waiter === undefined) this.#error = error;
    else if (error !== null) waiter.reject(error);
    for (const each of this.#waiters.splice(0)) each.resolve({ done: true, value: undefined });
  }

  #stop(): void {
    if (this.#stopping || this.#slot < 0) return;
    this.#stopping = true;
    if (this.#giveUp() && this.op.opcode === IORING_OP_TIMEOUT)
      insist(() => this.#stopping && this.#giveUp());
  }

  #giveUp(): boolean {
    if (this.#slot < 0) return false;
    reactor().cancel(this.#slot);
    return true;
  }

  /** Ends the stream: whoever waits gets an `AbortError`. Results that have arrived can still be taken. */
  cancel(reason?: unknown): void {
    this.#end(cancellation(reason));
  }

  /** Ends the stream because its handle is being closed: loops over it end. */
  close(): void {
    this.#end(null);
  }

  /** Leaves the stream; resolves when the kernel has let go of the op. Results nobody has taken are dropped. */
  async return(): Promise<IteratorResult<T, undefined>> {
    this.#end(null);
    this.#error = null;
    await this.#ended();
    this.#drop();
    return { done: true, value: undefined };
  }

  #ended(): Promise<void> {
    if (this.#slot < 0) return Promise.resolve();
    return new Promise((stopped) => this.#stopped.push(stopped));
  }

  /** Results that are descriptors are closed when nobody takes them, leases given back. */
  #drop(): void {
    const { kind } = this.op;
    for (const value of this.#results.splice(0)) {
      if (kind.drop !== null) kind.drop(value);
      else if (kind.resultIsFd && typeof value === 'number') reactor().discard(value);
      else if (kind.resultIsDirect) void (value as AsyncDisposable)[Symbol.asyncDispose]();
    }
  }

  /** Lets the op keep the process alive (the default), or not. */
  setRef(refed: boolean): void {
    this.refed = refed;
    if (this.#slot >= 0) reactor().setRef(this.#slot, refed);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}

/**
 * Iterates over the completions of a multishot op: a poll, an accept, a receive into provided buffers, a timeout. Whenever
 * the op ends without an error, as the kernel may end any of them, it is queued again: one that is not multishot is repeated
 * until the stream is left.
 *
 * @throws TypeError, RangeError for bad arguments; an `AbortError` if the signal has aborted or the scope is cancelled;
 *   `ERR_OURO_UNSUPPORTED` if the kernel lacks the op
 */
export function stream<T>(op: Op<T>, options: StreamOptions = {}): Stream<T> {
  if (!(op instanceof Op)) throw invalidType('op', 'an instance of Op', op);
  const refused = refusal(options);
  if (refused !== undefined) throw refused;
  const r = reactor();
  if (!r.serves(op)) throw r.unsupported(op.opcode, op.kind.syscall);
  return new Stream(op, options);
}
