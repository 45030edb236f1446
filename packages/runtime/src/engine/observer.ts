import type { Completion } from './slots.ts';

/**
 * Somebody who watches every op on its way through the reactor. He is told in the middle of things: what is called here
 * must not throw, must not submit, and must not call into a program. `batchEnded` may.
 */
export interface Observer {
  /** An SQE is about to be written. `head` is its first word: opcode, `IOSQE_*` flags << 8, ioprio << 16. */
  queued(slot: number, head: number, fd: number, completion: Completion): void;
  /** A completion has come and is about to be handed out; without `IORING_CQE_F_MORE` in `cqeFlags` it is the last. */
  completed(slot: number, result: number, cqeFlags: number): void;
  /** All completions of a batch have been handed out, and nobody has gone on because of them yet. */
  batchEnded(): void;
}

/** Several observers as one. */
export class Observers implements Observer {
  readonly #all: readonly Observer[];

  private constructor(all: readonly Observer[]) {
    this.#all = all;
  }

  /** The observer to install when `more` comes to those there are: itself, if there are none. */
  static with(present: Observer | null, more: Observer): Observer {
    if (present === null) return more;
    return new Observers([...(present instanceof Observers ? present.#all : [present]), more]);
  }

  /** What is left when `one` goes. */
  static without(present: Observer | null, one: Observer): Observer | null {
    if (!(present instanceof Observers)) return present === one ? null : present;
    const left = present.#all.filter((each) => each !== one);
    return left.length === 1 ? left[0] : new Observers(left);
  }

  queued(slot: number, head: number, fd: number, completion: Completion): void {
    for (const each of this.#all) each.queued(slot, head, fd, completion);
  }

  completed(slot: number, result: number, cqeFlags: number): void {
    for (const each of this.#all) each.completed(slot, result, cqeFlags);
  }

  batchEnded(): void {
    for (const each of this.#all) each.batchEnded();
  }
}
