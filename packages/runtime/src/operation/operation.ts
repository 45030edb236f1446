import {
  ECANCELED,
  EINTR,
  ENFILE,
  ETIMEDOUT,
  IORING_CQE_F_MORE,
  IORING_CQE_F_NOTIF,
  IORING_NOTIF_USAGE_ZC_COPIED,
  IORING_OP_CLOSE,
  IOSQE_IO_LINK,
} from '@ouro/native/abi';
import { followersOf, type Members } from '../base/cancel.ts';
import {
  cancellation,
  closedError,
  Expired,
  expired,
  type SystemError,
  systemError,
} from '../base/errors.ts';
import type { Completion } from '../engine/slots.ts';
import { reactor } from '../engine/thread.ts';
import { awaitFast, Future } from '../future/future.ts';
import { Deadline } from './deadline.ts';
import type { Descriptor, Listed } from './descriptor.ts';
import { isForced } from './forced.ts';
import type { Rare as OfOp, Op } from './op.ts';
import { NO_TIMEOUT, type OpOptions, refusal, timeoutOf } from './op-options.ts';

/** Whether an op that was cancelled ended because of that: one that a kernel thread was running is interrupted instead. */
export function gaveUp(errno: number): boolean {
  return errno === ECANCELED || errno === EINTR;
}

/**
 * Closes what an op has opened, if it is of those that open something: the kernel was quicker than a cancellation, and
 * nobody waits for this descriptor any more.
 */
export function discardResult(op: Op<unknown>, result: number, slot: number, value?: unknown): boolean {
  const { kind } = op;
  if (kind.resultIsFd) reactor().discard(result);
  else if (kind.resultIsDirect) {
    const { opens } = op;
    const index = opens === null || opens.any ? result : opens.fd;
    // A place that has been closed is emptied by that, and may be somebody else's by now.
    if (index >= 0) reactor().discardDirect(index);
  } else if (kind.discard !== null) kind.discard(op, slot, value);
  else return false;
  return true;
}

/** What an op that ended with `errno` rejects with. */
export function errorOf(op: Op<unknown>, errno: number): Error {
  const { error, syscall } = op.kind;
  if (error === null) return systemError(errno, syscall, op.detail);
  try {
    return error(errno, op);
  } catch (thrown) {
    return thrown as Error; // a kind of somebody else's: what it throws must not cost us the completion
  }
}

/** What an op rejects with whose time has run out. */
export function timeoutErrorOf(op: Op<unknown>, reason: Expired): Error {
  const { error, syscall } = op.kind;
  if (error === null) return expired(systemError(ETIMEDOUT, syscall, op.detail, reason.words), reason);
  const usual = errorOf(op, ETIMEDOUT);
  const { errno = ETIMEDOUT } = usual as Partial<SystemError>;
  return expired(Object.assign(new Error(`${usual.message}: ${reason.words}`), usual, { errno }), reason);
}

/** The reason of ops that end because their handle is closed: they fail with ECANCELED, not with an AbortError. */
export const HANDLE_CLOSED: unique symbol = Symbol('handle closed');

/** What few ops have. */
interface Rare {
  cancelled: boolean;
  reason: unknown;
  /** The scope and the signal that it is cancelled with. */
  readonly above: Members[];
  /** When its timeout has run out (`performance.now`); 0 if it has none. */
  deadline: number;
  /** Its timeout as it was asked for, in milliseconds: `deadline` may be of what was left of it. */
  timeout: number;
  /** What cancels it then, unless the kernel does. */
  timer: Deadline | null;
  /** What the first of two completions said, while the second is awaited. */
  early: number;
}

/**
 * An op as a future, from its way into the queue to its last CQE: queued, submitted, perhaps being cancelled,
 * completed. It keeps alive what the kernel uses, and it settles at its last CQE, never sooner: a cancelled op as well.
 */
export class Operation<T> extends Future<T> implements Completion, Listed {
  readonly op: Op<T>;
  refed = true;
  /** Where in the table of ops in flight; -1 before and afterwards. */
  slot = -1;
  /** @internal The list of the descriptor's ops. */
  next: Listed | null = null;
  /** @internal */
  previous: Listed | null = null;
  #descriptor: Descriptor | null = null;
  /** Places and another handle that it refers to. The op itself may be made one of others meanwhile. */
  readonly refers: OfOp;
  /** What the kernel uses in this flight: the same op may be in flight again, with other memory. */
  hold: unknown = null;
  /** What few ops have: made when first needed, so that the others need not carry it. */
  #rare: Rare | null = null;

  constructor(op: Op<T>) {
    super();
    this.op = op;
    this.refers = op.rare;
  }

  get resultIsFd(): boolean {
    return this.op.kind.resultIsFd;
  }

  /** What diagnostics call it. */
  get name(): string {
    return this.op.kind.syscall;
  }

  /** Makes the op one of a handle's, until it settles. */
  in(descriptor: Descriptor): this {
    this.#descriptor = descriptor;
    descriptor.add(this);
    return this;
  }

  /** Queues it. A timeout in milliseconds becomes a linked timeout of the kernel (see `isForced`); `NO_TIMEOUT` for none. */
  start(timeout: number = NO_TIMEOUT): this {
    const { op } = this;
    const slot = reactor().take(this);
    op.place(slot);
    return this.enqueue(slot, op.off, op.addr, op.len, timeout);
  }

  /**
   * Has it done without a queue, or refuses it. What does it cannot be called back: cancelling and timeouts have no effect.
   *
   * @returns false if it is to be queued after all, for the poll engine beside the ring
   */
  startElsewhere(): boolean {
    const { op } = this;
    const elsewhere = op.elsewhere();
    if (elsewhere === null) {
      if (reactor().serves(op)) return false;
      this.abandon(reactor().unsupported(op.opcode, op.kind.syscall));
      return true;
    }
    reactor().counts.elsewhere[op.opcode]++;
    elsewhere.then(
      (result) => this.finish(result, 0),
      (error: unknown) => this.abandon(error),
    );
    return true;
  }

  /** Queues the op at another place or with another length than it says. */
  protected enqueue(slot: number, off: number, addr: number, len: number, timeout: number): this {
    const { op } = this;
    const r = reactor();
    const { head, fd, opFlags, buf } = op;
    const { file, addr3 } = op.rare;
    this.hold = op.hold;
    if ((head & 0xff) === IORING_OP_CLOSE && file === 0) r.closes(slot);
    if (timeout === NO_TIMEOUT) r.push(slot, head, fd, off, addr, len, opFlags, buf, file, addr3);
    else if (isForced(op) || !r.supports(op.opcode)) {
      const rare = this.#expiresIn(timeout);
      // First: should the kernel take no more ops, nothing is in flight that would have to be cancelled.
      rare.timer ??= new Deadline(this, timeout, false);
      r.push(slot, head, fd, off, addr, len, opFlags, buf, file, addr3);
    } else {
      this.#expiresIn(timeout);
      r.reserveFor(slot, 2);
      r.push(slot, head | (IOSQE_IO_LINK << 8), fd, off, addr, len, opFlags, buf, file, addr3);
      r.pushLinkTimeout(slot, timeout, 0);
    }
    this.slot = slot;
    return this;
  }

  #expiresIn(timeout: number): Rare {
    const rare = this.#own();
    if (rare.deadline === 0) rare.timeout = timeout;
    rare.deadline = performance.now() + timeout;
    return rare;
  }

  /** Queues it again, with what is left of its timeout. */
  protected restart(): void {
    const left = this.timeLeft;
    if (left === 0) {
      this.settleExpired(0);
      return;
    }
    try {
      this.start(left);
    } catch (error) {
      this.abandon(error); // the kernel takes no more ops
    }
  }

  /** Milliseconds left of its timeout, `NO_TIMEOUT` if it has none. */
  protected get timeLeft(): number {
    const deadline = this.#rare?.deadline ?? 0;
    return deadline === 0 ? NO_TIMEOUT : Math.max(0, deadline - performance.now());
  }

  complete(result: number, cqeFlags: number): void {
    if ((cqeFlags & (IORING_CQE_F_MORE | IORING_CQE_F_NOTIF)) !== 0) {
      // A zero-copy send: the first completion says what was sent, the second that the buffer is free again.
      if ((cqeFlags & IORING_CQE_F_MORE) !== 0) {
        // (Of a multishot op, which is for `stream`, what has been opened is nobody's.)
        if (result < 0 || !discardResult(this.op, result, this.slot)) this.#own().early = result;
        // What is awaited now is the peer or the network. The descriptor can be closed meanwhile.
        this.#descriptor?.delete(this);
        this.#descriptor = null;
        return;
      }
      // Whether the kernel copied all the same is the top bit, of flags that have no use for it.
      this.finish(this.#rare?.early ?? result, cqeFlags | (result & IORING_NOTIF_USAGE_ZC_COPIED));
    } else this.finish(result, cqeFlags);
  }

  /** Settles with the kernel's result. */
  protected finish(result: number, cqeFlags: number): void {
    const { kind } = this.op;
    if (result >= 0) {
      if (this.cancelled && discardResult(this.op, result, this.slot)) this.settleFailure(ECANCELED, 0);
      else this.settle(result, cqeFlags);
    } else if (result === kind.passes) this.settle(kind.decode === null ? 0 : result, cqeFlags);
    else this.settleFailure(result, 0);
  }

  protected settle(result: number, cqeFlags = 0): void {
    const { op } = this;
    const { decode } = op.kind;
    try {
      this.fulfil(decode === null ? (result as T) : decode(result, op, this.slot, cqeFlags));
    } catch (error) {
      // The caller's memory has gone meanwhile (a resizable buffer that was transferred): the bytes have nowhere to be.
      discardResult(op, result, this.slot);
      this.fail(error);
    }
    this.#leave();
  }

  protected settleFailure(errno: number, bytesTransferred: number): void {
    this.failFromKernel(this.#error(errno, bytesTransferred));
    this.#leave();
  }

  /** Fails it because its time has run out before it could be queued again. */
  protected settleExpired(bytesTransferred: number): void {
    this.fail(this.#expired(new Expired(this.#rare?.timeout ?? 0), bytesTransferred));
    this.#leave();
  }

  #expired(reason: Expired, bytesTransferred: number): Error {
    return withBytes(timeoutErrorOf(this.op, reason), bytesTransferred);
  }

  #error(errno: number, bytesTransferred: number): Error {
    let shown = errno;
    if (gaveUp(errno) && this.#rare !== null) {
      const { cancelled, reason, deadline, timeout } = this.#rare;
      if (!cancelled) {
        // Neither we nor the handle: its own timeout, if that has run out, or somebody who cancelled the descriptor.
        if (deadline !== 0 && performance.now() >= deadline)
          return this.#expired(new Expired(timeout), bytesTransferred);
      } else if (reason instanceof Expired) return this.#expired(reason, bytesTransferred);
      else if (reason !== HANDLE_CLOSED) return cancellation(reason, bytesTransferred);
      else shown = ECANCELED; // also where a kernel thread was interrupted
    }
    return withBytes(errorOf(this.op, shown), bytesTransferred);
  }

  /** Fails an op that is not in the kernel. */
  abandon(error: unknown): void {
    this.fail(error);
    this.#leave();
  }

  #leave(): void {
    this.slot = -1;
    this.hold = null;
    const { opens, closes, also } = this.refers;
    opens?.endOpening(this);
    closes?.endEmptying();
    also?.detach(this);
    this.#descriptor?.delete(this);
    if (this.#rare === null) return;
    for (const each of this.#rare.above.splice(0)) each.delete(this);
    this.#rare.timer?.clear();
  }

  #own(): Rare {
    this.#rare ??= {
      cancelled: false,
      reason: undefined,
      above: [],
      deadline: 0,
      timeout: 0,
      timer: null,
      early: 0,
    };
    return this.#rare;
  }

  /** Has the op cancelled with its signal and its scope. */
  follow({ signal, scope }: OpOptions): void {
    if (signal === undefined && scope === undefined) return;
    const { above } = this.#own();
    if (signal !== undefined) above.push(followersOf(signal));
    if (scope !== undefined) above.push(scope);
    for (const each of above) each.add(this);
  }

  /** Lets the op keep the process alive (the default), or not. */
  setRef(refed: boolean): void {
    this.refed = refed;
    if (this.inFlight) reactor().setRef(this.slot, refed);
  }

  /** Whether the kernel has the op, or is about to get it. Not while its result is decoded: the slot is given on by then. */
  get inFlight(): boolean {
    return this.slot >= 0 && reactor().slots.completions[this.slot] === this;
  }

  get cancelled(): boolean {
    return this.#rare?.cancelled ?? false;
  }

  /** @internal The other handle that it refers to is being closed. */
  close(): void {
    if (this.op.kind.endsWithHandle) this.cancel(HANDLE_CLOSED);
  }

  override cancel(reason?: unknown): void {
    if (!this.inFlight || this.cancelled) return;
    const rare = this.#own();
    rare.cancelled = true;
    rare.reason = reason;
    reactor().cancel(this.slot);
  }
}
awaitFast(Operation);

function withBytes(error: Error, bytesTransferred: number): Error {
  return bytesTransferred === 0 ? error : Object.assign(error, { bytesTransferred });
}

/**
 * Queues an operation: with its descriptor's others, and bound to the signal, scope and timeout of `options`. Where it
 * may not even begin (the signal has aborted, the handle is closed, there is no ring) its future rejects.
 *
 * @throws TypeError, RangeError for options that make no sense
 */
export function begin<O extends Operation<unknown>>(operation: O, options?: OpOptions): O {
  const refused = refusal(options);
  const { descriptor } = operation.op;
  const { opens, closes, also } = operation.refers;
  const full = opens?.full === true;
  opens?.beginOpening(operation);
  closes?.beginEmptying();
  if (refused !== undefined) operation.abandon(refused);
  else if (full) operation.abandon(errorOf(operation.op, ENFILE));
  else if (operation.op.refersToClosed) operation.abandon(closedError(operation.op.kind.syscall));
  else {
    if (descriptor !== null) {
      operation.in(descriptor);
      if (!descriptor.refed) operation.refed = false;
    }
    also?.attach(operation);
    try {
      if (!reactor().supports(operation.op.opcode) && operation.startElsewhere()) return operation;
      if (options === undefined) operation.start();
      else {
        operation.follow(options);
        operation.start(timeoutOf(options));
      }
    } catch (error) {
      // The kernel takes no more ops, or a signal's addEventListener throws.
      operation.abandon(error);
    }
  }
  return operation;
}
