import { awaitFast, Deferred } from '@ouro/runtime/driver';
import { givenUp } from '../errors.ts';
import type { Arrivals } from './arrivals.ts';
import type { Want } from './want.ts';

/** Where somebody waits. */
interface WaitedFor {
  /** Takes out one who waits no more. False if that has been told already. */
  forget(waiter: Waiter<unknown>): boolean;
}

/** Somebody who waits for bytes. */
export class Waiter<T> extends Deferred<T> {
  readonly #waitedFor: WaitedFor;
  readonly want: Want<T>;

  constructor(waitedFor: WaitedFor, want: Want<T>) {
    super();
    this.#waitedFor = waitedFor;
    this.want = want;
  }

  override cancel(reason?: unknown): void {
    if (this.#waitedFor.forget(this)) this.reject(givenUp(reason, 'read', this.want.taken));
  }

  /** Gives it what it wants, if that is there. False if not. */
  serve(arrivals: Arrivals): boolean {
    try {
      const value = this.want.take(arrivals);
      if (value === undefined) return false;
      this.resolve(value);
    } catch (error) {
      // The reader's buffer was detached or shrunk meanwhile, say. The bytes stay for the next one.
      this.reject(error);
    }
    return true;
  }

  /** Tells it that nothing more comes. */
  end(arrivals: Arrivals): void {
    try {
      this.resolve(this.want.end(arrivals));
    } catch (error) {
      this.reject(error);
    }
  }

  close(): void {
    try {
      this.resolve(this.want.closed());
    } catch (error) {
      this.reject(error);
    }
  }

  failWith(error: Error): void {
    const { taken } = this.want;
    this.reject(taken > 0 ? Object.assign(error, { bytesTransferred: taken }) : error);
  }
}
awaitFast(Waiter);
