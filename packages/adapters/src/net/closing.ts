import { IORING_OP_CLOSE } from '@ouro/native/abi';
import { type Completion, reactor } from '@ouro/runtime/driver';

/** Closes a descriptor through the ring, behind all that is queued. */
export class Closing implements Completion {
  readonly resultIsFd = false;
  readonly refed = true;
  readonly #then: () => void;

  private constructor(then: () => void) {
    this.#then = then;
  }

  /** @param then called in the midst of a batch: it must not call into the program */
  static begin(fd: number, then: () => void): void {
    const r = reactor();
    const slot = r.take(new Closing(then));
    r.closes(slot);
    r.push(slot, IORING_OP_CLOSE, fd, 0, 0, 0, 0, 0, 0);
  }

  complete(): void {
    this.#then();
  }
}
