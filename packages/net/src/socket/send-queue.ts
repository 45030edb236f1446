import { NO_TIMEOUT } from '@ouro/runtime/driver';

/** What is sent when its turn has come. */
export interface Queued {
  /** Bytes that are to be sent, as far as that is known before: see `SendQueue.queued`. */
  readonly length: number;
  /** It is its turn. It calls `SendQueue.next` when it has sent all, or has failed. */
  go(timeout: number): unknown;
  /** Fails it before it has begun. */
  abandon(error: unknown): void;
  /** The same, because the socket is being closed. */
  drop(): void;
}

/**
 * The sends of one socket, one in the kernel at a time: it gives no order among several, and a short one would let
 * the next overtake its rest.
 */
export class SendQueue {
  /** Bytes that the kernel has taken. */
  written = 0;
  /** Bytes that wait to be taken, those of the send in hand included. */
  queued = 0;
  #current: Queued | null = null;
  /** Those behind it; made when there is a first one. */
  #waiting: Queued[] | null = null;
  #whenIdle: (() => void)[] | null = null;
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

  add(send: Queued, timeout: number): void {
    this.queued += send.length;
    if (this.#current === null) {
      this.#current = send;
      this.#begin(send, timeout);
    } else {
      this.#waiting ??= [];
      this.#waiting.push(send);
    }
  }

  /** Takes out a send that has not begun. False if it has. */
  remove(send: Queued): boolean {
    const waiting = this.#waiting;
    const at = waiting?.indexOf(send) ?? -1;
    if (at < 0) return false;
    waiting?.splice(at, 1);
    this.queued -= send.length;
    return true;
  }

  /** Notes that the kernel has taken bytes. */
  moved(count: number): void {
    this.written += count;
    this.queued -= count;
  }

  /** The send in hand has ended, with so many of its bytes not sent. */
  next(unsent: number): void {
    this.queued -= unsent;
    this.#current = this.#waiting?.shift() ?? null;
    if (this.#current !== null) this.#begin(this.#current, NO_TIMEOUT);
    else if (this.#whenIdle !== null) this.#tellIdle(this.#whenIdle);
  }

  #tellIdle(waiting: readonly (() => void)[]): void {
    this.#whenIdle = null;
    for (const then of waiting) then();
  }

  #begin(send: Queued, timeout: number): void {
    try {
      send.go(timeout);
    } catch (error) {
      // The kernel takes no more ops.
      this.queued -= send.length;
      this.#current = null;
      send.abandon(error);
    }
  }

  /** Calls `then` when everything has been sent or has failed. */
  whenIdle(then: () => void): void {
    if (this.#current === null) {
      then();
      return;
    }
    this.#whenIdle ??= [];
    this.#whenIdle.push(then);
  }

  /** Fails what has not begun: the socket is being closed. */
  clear(): void {
    for (const send of this.#waiting?.splice(0) ?? []) {
      this.queued -= send.length;
      send.drop();
    }
  }
}
