import { ETIME, IORING_OP_TIMEOUT } from '@ouro/native/abi';
import type { Cancellable } from '../base/cancel.ts';
import { Expired } from '../base/errors.ts';
import type { Completion } from '../engine/slots.ts';
import { reactor } from '../engine/thread.ts';
import { placeTimespec } from '../engine/timespec.ts';

/** Cancels something when its time has run out, by a timeout op of the ring. */
export class Deadline implements Completion {
  readonly resultIsFd = false;
  readonly name = 'timeout';
  readonly refed: boolean;
  readonly #target: Cancellable;
  readonly #ms: number;
  #slot: number;

  /** @param refed whether waiting for it keeps the process alive: not where ops do so, or need not */
  constructor(target: Cancellable, ms: number, refed: boolean) {
    this.refed = refed;
    this.#target = target;
    this.#ms = ms;
    const r = reactor();
    const slot = r.take(this);
    r.push(slot, IORING_OP_TIMEOUT, -1, 0, placeTimespec(r, slot, ms), 1, 0, 0, 0);
    this.#slot = slot;
  }

  complete(result: number): void {
    this.#slot = -1;
    if (result === ETIME) this.#target.cancel(new Expired(this.#ms));
  }

  /** The target has settled. */
  clear(): void {
    if (this.#slot < 0) return;
    reactor().cancel(this.#slot);
  }
}
