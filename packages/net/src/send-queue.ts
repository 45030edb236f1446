import { ECANCELED, MSG_WAITALL } from '@ouro/native/abi';
import {
  awaitFast,
  type Bytes,
  cancellation,
  type Descriptor,
  expire,
  NO_TIMEOUT,
  type Op,
  Transfer,
} from '@ouro/runtime/driver';
import { socketError } from './errors.ts';
import { writing } from './op/send.ts';

/**
 * The sends of one socket, one in the kernel at a time: it gives no order among several, and a short one would let
 * the next overtake its rest.
 */
export class SendQueue {
  #current: Send | null = null;
  readonly #waiting: Send[] = [];
  readonly #whenIdle: (() => void)[] = [];
  #ends = 0;

  /** Whether the end of the stream has been asked for: nothing may be sent behind it. */
  get ended(): boolean {
    return this.#ends > 0;
  }

  end(): void {
    this.#ends++;
  }

  /** Takes an `end` back that has not come about. */
  reopen(): void {
    this.#ends--;
  }

  /** Whether a send would be begun at once. */
  get idle(): boolean {
    return this.#current === null;
  }

  add(send: Send, timeout: number): void {
    if (this.#current === null) {
      this.#current = send;
      this.#begin(send, timeout);
    } else {
      this.#waiting.push(send);
    }
  }

  /** Takes out a send that has not begun. False if it has. */
  remove(send: Send): boolean {
    const at = this.#waiting.indexOf(send);
    if (at < 0) return false;
    this.#waiting.splice(at, 1);
    return true;
  }

  next(): void {
    this.#current = this.#waiting.shift() ?? null;
    if (this.#current !== null) this.#begin(this.#current, NO_TIMEOUT);
    else if (this.#whenIdle.length > 0) for (const then of this.#whenIdle.splice(0)) then();
  }

  #begin(send: Send, timeout: number): void {
    try {
      send.go(timeout);
    } catch (error) {
      // The kernel takes no more ops.
      this.#current = null;
      send.abandon(error);
    }
  }

  /** Calls `then` when everything has been sent or has failed. */
  whenIdle(then: () => void): void {
    if (this.#current === null) then();
    else this.#whenIdle.push(then);
  }

  /** Fails what has not begun: the socket is being closed. */
  clear(): void {
    for (const send of this.#waiting.splice(0)) send.drop();
  }
}

/** A send in its socket's queue. What the kernel did not take is sent again until all is gone. */
export class Send extends Transfer {
  readonly #queue: SendQueue;

  private constructor(queue: SendQueue, op: Op<number>, all: boolean) {
    super(op, all ? 'all' : 'short', 'socket');
    this.#queue = queue;
  }

  /** A send of all of `view`. */
  static whole(queue: SendQueue, fd: Descriptor, view: Bytes): Send {
    return new Send(queue, writing(fd, view, MSG_WAITALL), true);
  }

  /** A send of what the socket takes at once. */
  static part(queue: SendQueue, fd: Descriptor, view: Bytes): Send {
    return new Send(queue, writing(fd, view, 0), false);
  }

  /** Bytes to send. */
  get length(): number {
    return this.op.len;
  }

  /** Joins the queue. */
  override start(timeout: number = NO_TIMEOUT): this {
    if (this.op.len === 0) this.settle(0);
    else if (timeout === NO_TIMEOUT || this.#queue.idle) this.#queue.add(this, timeout);
    else {
      // What is waited for is mostly the turn, which is no op.
      expire(this, timeout);
      this.#queue.add(this, NO_TIMEOUT);
    }
    return this;
  }

  /** @internal It is its turn. */
  override go(timeout: number): this {
    return super.go(timeout);
  }

  override complete(result: number, flags: number): void {
    super.complete(result, flags);
    if (this.slot < 0) this.#queue.next();
  }

  override cancel(reason?: unknown): void {
    if (this.slot < 0 && this.#queue.remove(this)) this.abandon(cancellation(reason));
    else super.cancel(reason);
  }

  /** Fails a send that has not begun. */
  drop(): void {
    this.abandon(socketError(ECANCELED, 'write'));
  }
}
awaitFast(Send);
