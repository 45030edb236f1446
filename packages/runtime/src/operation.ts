import { AbortError, type ErrorDetail, systemError } from './errors.ts';
import { awaitFast, checkSignal, Future, follow, type OpOptions } from './future.ts';
import { existingReactor, reactor } from './reactor.ts';
import type { Completion } from './slots.ts';

const ECANCELED = -125;
const EINTR = -4;

/** Whether an op that was cancelled ended because of that: one that a kernel thread was running is interrupted instead. */
export function gaveUp(errno: number): boolean {
  return errno === ECANCELED || errno === EINTR;
}

/** The reason of ops that end because their handle is closed: they fail with ECANCELED, not with an AbortError. */
const HANDLE_CLOSED = Symbol('handle closed');

/** What the functions of an `OpKind` see of an op. */
export interface OpState {
  readonly slot: number;
  readonly hold: unknown;
  readonly detail: ErrorDetail | null;
}

/** What all ops of one kind have in common. One constant object for each kind. */
export interface OpKind<T> {
  /** As errors name it: the system call that does the same. */
  readonly syscall: string;
  /** A result of zero or more is a descriptor. */
  readonly resultIsFd: boolean;
  /** Turns a result of zero or more into the value; null where the result is the value. Must not throw. */
  readonly decode: ((result: number, op: OpState) => T) | null;
  /** Makes the error for a result below zero; null for `systemError`. */
  readonly error: ((errno: number, op: OpState) => Error) | null;
  /** Given up when the handle is closed: what only brings data. What was to be written is finished first. */
  readonly endsWithHandle: boolean;
}

/**
 * The ops in flight of one handle. A list through the operations themselves: joining and leaving cost a few stores.
 */
export class InFlight {
  /** @internal */
  first: Operation<unknown> | null = null;
  #drained: (() => void) | null = null;

  get empty(): boolean {
    return this.first === null;
  }

  /** Cancels the ops whose kind ends with the handle. */
  cancelEnding(): void {
    for (let op = this.first; op !== null; op = op.next) {
      if (op.kind.endsWithHandle) op.cancel(HANDLE_CLOSED);
    }
  }

  /** Calls `then` when no op is left. */
  whenEmpty(then: () => void): void {
    if (this.first === null) then();
    else this.#drained = then;
  }

  /** Lets the ops keep the process alive, or no longer. */
  setRef(refed: boolean): void {
    for (let op = this.first; op !== null; op = op.next) op.setRef(refed);
  }

  /** @internal */
  add(op: Operation<unknown>): void {
    op.next = this.first;
    if (this.first !== null) this.first.previous = op;
    this.first = op;
  }

  /** @internal */
  remove(op: Operation<unknown>): void {
    if (op.previous === null) this.first = op.next;
    else op.previous.next = op.next;
    if (op.next !== null) op.next.previous = op.previous;
    op.next = op.previous = null;
    if (this.first === null && this.#drained !== null) {
      const then = this.#drained;
      this.#drained = null;
      then();
    }
  }
}

/**
 * One SQE with one CQE, as a future. It keeps alive what the kernel uses (`hold`), it knows its slot, and it
 * settles at its CQE, never sooner: a cancelled op as well.
 */
export class Operation<T> extends Future<T> implements Completion, OpState {
  readonly kind: OpKind<T>;
  /** The caller's buffer or whatever else has to stay alive until the CQE. */
  hold: unknown;
  /** Path and the like, for errors. */
  detail: ErrorDetail | null;
  refed = true;
  slot = -1;
  generation = 0;
  /** @internal */
  next: Operation<unknown> | null = null;
  /** @internal */
  previous: Operation<unknown> | null = null;
  #handle: InFlight | null = null;
  #cancelled = false;
  #reason: unknown;

  constructor(kind: OpKind<T>, hold: unknown, detail: ErrorDetail | null) {
    super();
    this.kind = kind;
    this.hold = hold;
    this.detail = detail;
  }

  get resultIsFd(): boolean {
    return this.kind.resultIsFd;
  }

  /** Makes the op one of a handle's, until it settles. */
  in(handle: InFlight): this {
    this.#handle = handle;
    handle.add(this);
    return this;
  }

  complete(result: number, _flags: number): void {
    if (result < 0) this.settleFailure(result, 0);
    else if (this.#cancelled && this.kind.resultIsFd) {
      // The kernel was quicker than the cancellation. Nobody waits for this descriptor any more.
      reactor().discard(result);
      this.settleFailure(ECANCELED, 0);
    } else this.settle(result);
  }

  protected settle(result: number): void {
    const decode = this.kind.decode;
    try {
      this.fulfil(decode === null ? (result as T) : decode(result, this));
    } catch (error) {
      // The caller's memory has gone meanwhile (a resizable buffer that was transferred): the bytes have nowhere to be.
      this.fail(error);
    }
    this.#finish();
  }

  protected settleFailure(errno: number, bytesTransferred: number): void {
    const given = this.#cancelled && gaveUp(errno);
    if (given && this.#reason !== HANDLE_CLOSED) {
      this.fail(new AbortError(this.#reason, bytesTransferred));
    } else {
      const kind = this.kind;
      const error =
        kind.error === null ? systemError(errno, kind.syscall, this.detail) : kind.error(errno, this);
      this.fail(bytesTransferred === 0 ? error : Object.assign(error, { bytesTransferred }));
    }
    this.#finish();
  }

  /** Fails an op that was never queued. */
  protected abandon(error: Error): void {
    this.fail(error);
    this.#finish();
  }

  #finish(): void {
    this.slot = -1;
    this.hold = null;
    if (this.#handle !== null) this.#handle.remove(this);
  }

  /** Lets the op keep the process alive (the default), or not. */
  setRef(refed: boolean): void {
    this.refed = refed;
    if (this.slot >= 0) reactor().setRef(this.slot, refed);
  }

  /** Whether the kernel has the op, or is about to get it. */
  get inFlight(): boolean {
    return this.slot >= 0;
  }

  get cancelled(): boolean {
    return this.#cancelled;
  }

  override cancel(reason?: unknown): void {
    if (this.slot < 0 || this.#cancelled) return;
    this.#cancelled = true;
    this.#reason = reason;
    reactor().cancel(this.slot, this.generation);
  }
}
awaitFast(Operation);

/**
 * Queues the SQE of an operation; the parameters are those of `Reactor.push`. The slot can be given if its scratch
 * had to be filled before.
 */
export function submit<O extends Operation<unknown>>(
  op: O,
  slot: number,
  head: number,
  fd: number,
  offset: number,
  address: number,
  length: number,
  opFlags = 0,
  buffer = 0,
  file = 0,
): O {
  const r = reactor();
  r.push(slot, head, fd, offset, address, length, opFlags, buffer, file);
  op.slot = slot;
  op.generation = r.slots.generations[slot];
  return op;
}

/** Why an op must not even begin: its signal has aborted, or there is no ring to be had. Undefined if it may. */
export function refusal(options: OpOptions | undefined): Error | undefined {
  const signal = options?.signal;
  if (signal !== undefined) {
    checkSignal(signal);
    if (signal.aborted) return new AbortError(signal.reason);
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

/** Binds a queued operation to the caller's signal. */
export function bound<F extends Future<unknown>>(future: F, options: OpOptions | undefined): F {
  if (options?.signal !== undefined) follow(future, options.signal);
  return future;
}
