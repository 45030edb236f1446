import { EAGAIN, ECANCELED, POLLOUT } from '@ouro/native/abi';
import { sleep, submit } from '@ouro/runtime';
import { awaitFast, expire, type Future, NO_TIMEOUT, type Op, Operation } from '@ouro/runtime/driver';
import { pollAdd } from '@ouro/runtime/ops';
import { givenUp, socketError } from '../errors.ts';
import type { Queued, SendQueue } from './send-queue.ts';

/** How long to wait for the receiver to make room, in milliseconds: at first, and at most. */
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 20;

/** Times that one waits for the socket to say that there is room, before it is not believed any more. */
const MOST_POLLS = 4;

/**
 * A send of one message in its socket's queue: all of it or nothing. What fails with EAGAIN (`MSG_DONTWAIT`) is tried again when
 * there is room. `op.descriptor` is asked for that if it is told (`told`), otherwise it is found out.
 */
export class MessageSend extends Operation<number> implements Queued {
  readonly #queue: SendQueue;
  readonly #told: boolean;
  /** Bytes of the message. */
  readonly length: number;
  #pause: Future<unknown> | null = null;
  #pauseMs = FIRST_PAUSE_MS;
  #polls = 0;

  /**
   * @param told whether the socket becomes writable when there is room where the message goes
   * @param then what is to be done when it is over, also if it never begins
   */
  constructor(queue: SendQueue, op: Op<number>, length: number, told: boolean, then?: () => void) {
    super(op);
    this.#queue = queue;
    this.#told = told;
    this.length = length;
    if (then !== undefined) this.whenSettled(then);
  }

  /** Joins the queue. */
  override start(timeout: number = NO_TIMEOUT): this {
    if (timeout === NO_TIMEOUT || this.#queue.idle) this.#queue.add(this, timeout);
    else {
      // What is waited for is mostly the turn, which is no op.
      expire(this, timeout);
      this.#queue.add(this, NO_TIMEOUT);
    }
    return this;
  }

  /** @internal It is its turn. */
  go(timeout: number): this {
    return super.start(timeout);
  }

  override complete(result: number, flags: number): void {
    if (result === EAGAIN && !this.cancelled) {
      this.slot = -1;
      this.#rest();
      return;
    }
    super.complete(result === EAGAIN ? ECANCELED : result, flags);
    if (this.slot >= 0) return;
    if (result > 0) this.#queue.moved(this.length);
    this.#queue.next(result > 0 ? 0 : this.length);
  }

  #rest(): void {
    const pause = this.#room();
    this.#pause = pause;
    const again = (): void => {
      if (this.#pause !== pause) return;
      this.#pause = null;
      this.#again();
    };
    pause.then(again, again);
  }

  /** Settles when it may be worth trying again. */
  #room(): Future<unknown> {
    const { descriptor } = this.op;
    if (this.#told && descriptor !== null && this.#polls++ < MOST_POLLS) {
      return submit(pollAdd(descriptor, POLLOUT));
    }
    const ms = this.#pauseMs;
    this.#pauseMs = Math.min(ms * 2, LONGEST_PAUSE_MS);
    return sleep(ms, { ref: this.refed });
  }

  #again(): void {
    const left = this.timeLeft;
    if (left === 0) {
      this.settleExpired(0);
      this.#queue.next(this.length);
      return;
    }
    try {
      this.go(left);
    } catch (error) {
      // The kernel takes no more ops.
      this.abandon(error);
      this.#queue.next(this.length);
    }
  }

  override cancel(reason?: unknown): void {
    if (!this.#giveUp(() => givenUp(reason, 'sendmsg'))) super.cancel(reason);
  }

  override close(): void {
    if (!this.#giveUp(() => this.#closed())) super.close();
  }

  /** Gives up a send that is not in the kernel. False if it is there, or is over. */
  #giveUp(error: () => Error): boolean {
    const pause = this.#pause;
    if (pause !== null) {
      this.#pause = null;
      pause.cancel();
      this.abandon(error());
      this.#queue.next(this.length);
      return true;
    }
    if (this.slot >= 0 || !this.#queue.remove(this)) return false;
    this.abandon(error());
    return true;
  }

  /** Fails a send that has not begun. */
  drop(): void {
    this.abandon(this.#closed());
  }

  #closed(): Error {
    return socketError(ECANCELED, this.op.kind.syscall);
  }
}
awaitFast(MessageSend);
