import { IORING_OP_SEND, MSG_NOSIGNAL, MSG_WAITALL } from '@ouro/native/abi';
import {
  AbortError,
  addressOf,
  awaitFast,
  Bounce,
  type Bytes,
  lengthOf,
  type OpKind,
  SOCKET,
  Transfer,
  UNSTABLE,
  type Until,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';

const SEND: OpKind<number> = {
  syscall: 'write',
  resultIsFd: false,
  decode: null,
  error: (errno) => socketError(errno, 'write'),
  endsWithHandle: true,
};

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

  add(send: Send): void {
    if (this.#current === null) {
      this.#current = send;
      this.#begin(send);
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
    if (this.#current !== null) this.#begin(this.#current);
    else if (this.#whenIdle.length > 0) for (const then of this.#whenIdle.splice(0)) then();
  }

  #begin(send: Send): void {
    try {
      send.start();
    } catch (error) {
      // The kernel takes no more ops.
      this.#current = null;
      send.refuse(error);
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

/**
 * `send(2)` (5.6), the kernel itself finishing short ones (`MSG_WAITALL`, 5.19), without SIGPIPE. What was not taken
 * is sent again until all is gone.
 */
export class Send extends Transfer {
  readonly #queue: SendQueue;
  /** Bytes to send. */
  readonly length: number;

  private constructor(
    queue: SendQueue,
    until: Until,
    hold: unknown,
    fd: number,
    address: number,
    length: number,
    flags: number,
  ) {
    super(SEND, until, hold, IORING_OP_SEND, fd, SOCKET, address, length, flags);
    this.#queue = queue;
    this.length = length;
  }

  /** A send of all of `view`. */
  static whole(queue: SendQueue, fd: number, view: Bytes): Send {
    return Send.#of(queue, 'all', fd, view, MSG_NOSIGNAL | MSG_WAITALL);
  }

  /** A send of what the socket takes at once. */
  static part(queue: SendQueue, fd: number, view: Bytes): Send {
    return Send.#of(queue, 'short', fd, view, MSG_NOSIGNAL);
  }

  static #of(queue: SendQueue, until: Until, fd: number, view: Bytes, flags: number): Send {
    const stable = addressOf(view);
    const bounce = stable === UNSTABLE ? Bounce.filled(view) : null;
    const address = bounce?.address ?? stable;
    return new Send(queue, until, bounce ?? view, fd, address, lengthOf(view), flags);
  }

  override complete(result: number, flags: number): void {
    super.complete(result, flags);
    if (this.slot < 0) this.#queue.next();
  }

  override cancel(reason?: unknown): void {
    if (this.slot < 0 && this.#queue.remove(this)) this.abandon(new AbortError(reason));
    else super.cancel(reason);
  }

  /** A send of no bytes: done without the kernel. */
  nothing(): void {
    this.settle(0);
  }

  /** Fails a send that could not begin. */
  refuse(error: unknown): void {
    this.abandon(error instanceof Error ? error : new Error(String(error)));
  }

  /** Fails a send that has not begun. */
  drop(): void {
    this.abandon(socketError(-125, 'write'));
  }
}
awaitFast(Send);
