import { awaitFast, cancellation, Deferred } from '@ouro/runtime/driver';

/**
 * A wait for something that goes on by itself, such as a look-up in Node's thread pool: cancelling it only means that
 * nobody waits any more.
 */
export class Wait<T> extends Deferred<T> {
  override cancel(reason?: unknown): void {
    this.reject(cancellation(reason));
  }
}
awaitFast(Wait);
