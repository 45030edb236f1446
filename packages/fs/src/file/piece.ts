import { awaitFast, type Completion, Deferred, reactor } from '@ouro/runtime/driver';
import type { Memory } from './chunk-memory.ts';

/** What one read has brought: the first `length` bytes of its memory. */
export interface Filled {
  readonly memory: Memory;
  readonly length: number;
}

interface PieceOwner {
  /** A read has ended. */
  completed(piece: Piece): void;
}

interface Cancellable {
  cancel(reason?: unknown): void;
}

/** One read in flight, or what it has brought. */
export class Piece implements Completion {
  readonly resultIsFd = false;
  readonly name = 'read';
  refed: boolean;
  readonly memory: Memory;
  readonly position: number;
  readonly length: number;
  readonly #owner: PieceOwner;
  /** -1 when it is not in flight. */
  slot = -1;
  result = 0;
  done = false;
  /** Nobody wants what it brings. */
  dropped = false;

  constructor(owner: PieceOwner, memory: Memory, position: number, length: number, refed: boolean) {
    this.#owner = owner;
    this.memory = memory;
    this.position = position;
    this.length = length;
    this.refed = refed;
  }

  complete(result: number): void {
    this.slot = -1;
    this.result = result;
    this.done = true;
    this.#owner.completed(this);
  }

  giveUp(): void {
    if (this.slot < 0) return;
    reactor().cancel(this.slot);
  }
}

/** Somebody who waits for the next piece. */
export class Waiter<T> extends Deferred<T> {
  readonly #owner: Cancellable;
  /** Makes what is waited for; null is the end. */
  readonly take: (filled: Filled | null) => T;

  constructor(owner: Cancellable, take: (filled: Filled | null) => T) {
    super();
    this.#owner = owner;
    this.take = take;
  }

  override cancel(reason?: unknown): void {
    this.#owner.cancel(reason);
  }
}
awaitFast(Waiter);

/** Hands a piece, or the end, to somebody. */
export function settle(waiter: Waiter<unknown> | undefined, filled: Filled | null): void {
  try {
    waiter?.resolve(waiter.take(filled));
  } catch (error) {
    waiter?.reject(error);
  }
}
