import { sleep } from '@ouro/runtime';
import { awaitFast, Operation, reactor } from '@ouro/runtime/driver';

/** How long until a cancellation is repeated, in milliseconds: at first, and at most. */
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 20;

/**
 * An op whose cancellation is repeated until it has ended. Where a Unix socket waits for room at another, the kernel polls in vain
 * (128 times) and then has a thread of its own do it; on the way there the op is not found.
 */
export class Insistent<T> extends Operation<T> {
  override cancel(reason?: unknown): void {
    const again = this.cancelled;
    super.cancel(reason);
    if (this.cancelled && !again) this.#insist(FIRST_PAUSE_MS);
  }

  #insist(pause: number): void {
    const then = (): void => {
      if (!this.inFlight) return;
      reactor().cancel(this.slot);
      this.#insist(Math.min(pause * 2, LONGEST_PAUSE_MS));
    };
    sleep(pause, { ref: this.refed }).then(then, () => {}); // without more ops nothing can be cancelled either
  }
}
awaitFast(Insistent);
