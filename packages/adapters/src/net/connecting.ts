import { ECANCELED, IORING_OP_CONNECT } from '@ouro/native/abi';
import { type BatchEnd, type Completion, reactor, scratchOffset } from '@ouro/runtime/driver';
import { callBack } from './ticks.ts';

/** A connect in flight. */
export class Connecting implements Completion, BatchEnd {
  readonly resultIsFd = false;
  readonly refed = true;
  readonly #done: (status: number) => void;
  readonly #slot: number;
  #status = 0;
  #over = false;
  #closed: (() => void) | null = null;

  /** @param done called a turn later: 0, or an errno below zero */
  constructor(fd: number, address: Uint8Array, done: (status: number) => void) {
    this.#done = done;
    const r = reactor();
    const slot = r.take(this);
    r.scratch(slot).bytes.set(address, scratchOffset(slot));
    this.#slot = slot;
    r.push(slot, IORING_OP_CONNECT, fd, address.length, r.scratchAddress(slot), 0, 0, 0, 0);
  }

  complete(result: number): void {
    this.#over = true;
    this.#status = this.#closed === null ? result : ECANCELED;
    reactor().afterBatch(this);
  }

  batchEnded(): void {
    callBack(() => this.#done(this.#closed === null ? this.#status : ECANCELED));
    this.#closed?.();
  }

  /** Gives it up: it ends with ECANCELED. */
  close(then: () => void): void {
    if (this.#over) {
      then();
      return;
    }
    this.#closed = then;
    reactor().cancel(this.#slot);
  }
}
