import { type Completion, reactor } from '@ouro/runtime/driver';

/** What receives by one op at a time, which brings many things: how that op is given up, and who waits for it to end. */
export abstract class ReceiveInFlight implements Completion {
  readonly resultIsFd = false;
  abstract readonly refed: boolean;
  /** Where in the table of ops in flight; -1 if there is none. */
  protected slot = -1;
  /** Whether it is being cancelled. */
  protected stopping = false;
  #stopped: (() => void)[] | null = null;

  /** Whether the kernel holds nothing of ours. */
  get idle(): boolean {
    return this.slot < 0;
  }

  /** Notes the op that has just been queued. */
  protected begun(slot: number): void {
    this.slot = slot;
    this.stopping = false;
  }

  /** Gives up the op in flight, if there is one. */
  protected giveUp(): void {
    const { slot } = this;
    if (slot < 0 || this.stopping) return;
    this.stopping = true;
    reactor().cancel(slot);
  }

  abstract complete(result: number, flags: number): void;

  /** To be called when the op has ended: those hear of it who have asked for that. */
  protected tellStopped(): void {
    const waiting = this.#stopped;
    if (waiting === null) return;
    this.#stopped = null;
    for (const then of waiting) then();
  }

  /** Takes no more from the kernel; what has arrived stays. `then` is called when the kernel has let go. */
  stop(then: () => void): void {
    if (this.slot < 0) {
      then();
      return;
    }
    this.#stopped ??= [];
    this.#stopped.push(then);
    this.giveUp();
  }

  /** To be told when the descriptor has changed its mind about it. */
  setRef(refed: boolean): void {
    if (this.slot >= 0) reactor().setRef(this.slot, refed);
  }
}
