import { ETIME, IORING_OP_TIMEOUT } from '@ouro/native/abi';
import { type Completion, Expired, placeTimespec, reactor } from '@ouro/runtime/driver';

/** What is watched of a stream. */
export interface Watched {
  /** A number that changes when bytes move. */
  readonly moved: number;
  /** A number that changes when the peer takes bytes of ours that the kernel has; a future of it where that has to be asked for. */
  readonly taken: number | PromiseLike<number>;
  /** Whether anything waits for bytes to move. */
  readonly waits: boolean;
  /** Fails all that waits. */
  expire(reason: Expired): void;
}

/** Looks so many times before the time has run out: it is kept to a quarter more. */
const LOOKS = 4;

/**
 * Fails what waits when nothing has moved for a time. A timeout op of the ring looks, now and then and only while something
 * waits, whether a counter has changed: reads and writes themselves pay for a comparison.
 */
export class IdleWatch implements Completion {
  readonly resultIsFd = false;
  readonly name = 'timeout';
  /** What waits keeps the process alive. */
  readonly refed = false;
  readonly ms: number;
  readonly #watched: Watched;
  #slot = -1;
  #stopped = false;
  /** Whether what has been taken is being asked for, which is an op on the descriptor like any other. */
  #asking = false;
  /** What had moved when it was last looked; -1 before. */
  #last = -1;
  /** What had been taken by then: a send of much moves long before the kernel says so, which is when it has all. */
  #lastTaken = -1;
  /** Looks since then that have found no change. */
  #quiet = 0;

  constructor(watched: Watched, ms: number) {
    this.#watched = watched;
    this.ms = ms;
  }

  /** Something is about to wait. */
  begin(): void {
    // (Who begins to wait may be noted as waiting already: a transfer that has had to wait for its turn.)
    if (this.#slot >= 0 && this.#watched.waits) return;
    this.#last = -1;
    this.#quiet = 0;
    if (!this.#asking) this.#arm();
  }

  /** Begins to look, although something waits already. */
  start(): void {
    this.#arm();
  }

  #arm(): void {
    if (this.#slot >= 0 || this.#stopped) return;
    const r = reactor();
    const slot = r.take(this);
    const address = placeTimespec(r, slot, this.ms / LOOKS);
    r.push(slot, IORING_OP_TIMEOUT, -1, 0, address, 1, 0, 0, 0);
    this.#slot = slot;
  }

  complete(result: number): void {
    this.#slot = -1;
    if (this.#stopped || result !== ETIME) return;
    const { moved, waits } = this.#watched;
    if (!waits) return; // the next that waits begins anew
    const { taken } = this.#watched;
    if (typeof taken === 'number') this.#look(moved, taken);
    else {
      this.#asking = true;
      taken.then(
        (count) => this.#answered(count),
        () => this.#answered(this.#lastTaken), // it cannot be known
      );
    }
  }

  #answered(taken: number): void {
    this.#asking = false;
    const { moved, waits } = this.#watched;
    if (!this.#stopped && waits) this.#look(moved, taken);
  }

  #look(moved: number, taken: number): void {
    if (moved !== this.#last || taken !== this.#lastTaken) {
      this.#last = moved;
      this.#lastTaken = taken;
      this.#quiet = 0;
    } else if (++this.#quiet === LOOKS) {
      this.#last = -1;
      this.#watched.expire(new Expired(this.ms, true));
    }
    this.#arm();
  }

  /** Looks no more. */
  stop(): void {
    this.#stopped = true;
    if (this.#slot < 0) return;
    reactor().cancel(this.#slot);
  }
}
