import { IORING_OP_TIMEOUT } from '@ouro/native/abi';
import { type Completion, placeTimespec, reactor } from '@ouro/runtime/driver';

/** As long as a timeout can be: about 104 days. */
const FOREVER_MS = 9_000_000_000;

/**
 * Keeps the process alive for a listener that is full, for which no accept is in flight to do so: a timeout op that is cancelled
 * when it is not needed any more.
 */
export class Vigil implements Completion {
  readonly resultIsFd = false;
  readonly name = 'accept';
  readonly #listens: { readonly refed: boolean };
  #slot = -1;
  #ending = false;
  #wanted = false;

  constructor(listens: { readonly refed: boolean }) {
    this.#listens = listens;
  }

  get refed(): boolean {
    return this.#listens.refed;
  }

  begin(): void {
    this.#wanted = true;
    if (this.#slot >= 0) return;
    const r = reactor();
    const slot = r.take(this);
    r.push(slot, IORING_OP_TIMEOUT, -1, 0, placeTimespec(r, slot, FOREVER_MS), 1, 0, 0, 0);
    this.#slot = slot;
    this.#ending = false;
  }

  end(): void {
    this.#wanted = false;
    if (this.#slot < 0 || this.#ending) return;
    this.#ending = true;
    reactor().cancel(this.#slot);
  }

  complete(): void {
    this.#slot = -1;
    if (this.#wanted) this.begin();
  }

  setRef(refed: boolean): void {
    if (this.#slot >= 0) reactor().setRef(this.#slot, refed);
  }
}
