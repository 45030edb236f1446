import { sleep } from '@ouro/runtime';
import { awaitFast, Deferred, type Future } from '@ouro/runtime/driver';
import type { Endpoint } from '../address.ts';
import { connectErrors, givenUp } from '../errors.ts';
import { type Attempt, attempt, attemptError } from './attempt.ts';
import type { Destination } from './connect-options.ts';

/**
 * Connects to the first of several addresses that answers (RFC 8305). An attempt that has not come to an end after
 * `attemptMs` is joined by one to the next address, one that fails is followed by that at once; the first connection that is made
 * wins, and the other attempts are cancelled and closed.
 *
 * Cancelled, it rejects when all its sockets are closed.
 */
export class Race extends Deferred<Attempt> {
  readonly #options: Destination;
  readonly #place: string | null;
  readonly #waiting: Endpoint[];
  readonly #running: Set<Attempt> = new Set();
  /** Why each attempt failed, in the order of the addresses. */
  readonly #errors: (Error | undefined)[] = [];
  #begun = 0;
  /** The address that was tried last. */
  #last: Endpoint | undefined;
  #timer: Future<void> | null = null;
  #over = false;

  /** @param place where the connection is asked for (`placeOfOpening`) */
  constructor(endpoints: readonly Endpoint[], options: Destination, place: string | null) {
    super();
    this.#place = place;
    this.#options = options;
    this.#waiting = [...endpoints];
  }

  start(): this {
    this.#next();
    return this;
  }

  /** Tries the next address, and those behind it that fail at once. */
  #next(): void {
    this.#stopTimer();
    for (let to = this.#waiting.shift(); to !== undefined; to = this.#waiting.shift()) {
      const number = this.#begun++;
      this.#last = to;
      try {
        this.#follow(attempt(to, this.#options, this.#place), number);
      } catch (error) {
        this.#errors[number] = attemptError(error, this.#options);
        continue;
      }
      if (this.#waiting.length > 0) this.#startTimer();
      return;
    }
    if (this.#running.size === 0) this.#fail();
  }

  #follow(begun: Attempt, number: number): void {
    this.#running.add(begun);
    begun.connecting.then(
      () => this.#made(begun),
      (error: unknown) => this.#failed(begun, number, error),
    );
  }

  #made(winner: Attempt): void {
    this.#running.delete(winner);
    if (this.#over) {
      // It was quicker than being called off.
      close(winner).catch(() => {});
      return;
    }
    this.#over = true;
    this.#stopTimer();
    for (const loser of this.#running) close(loser).catch(() => {});
    this.resolve(winner);
  }

  #failed(loser: Attempt, number: number, error: unknown): void {
    this.#running.delete(loser);
    if (this.#over) return;
    this.#errors[number] = attemptError(error, this.#options);
    close(loser).then(
      () => this.#goOn(),
      () => this.#goOn(),
    );
  }

  #goOn(): void {
    if (!this.#over) this.#next();
  }

  #fail(): void {
    this.#over = true;
    const errors = this.#errors.filter((error) => error !== undefined);
    const { host, port } = this.#options;
    this.failFromKernel(errors.length === 1 ? errors[0] : connectErrors(errors, host, port));
  }

  #startTimer(): void {
    const timer = sleep(this.#options.attemptMs);
    this.#timer = timer;
    timer.then(
      () => {
        if (this.#timer === timer && !this.#over) this.#next();
      },
      () => {}, // not needed any more
    );
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  override cancel(reason?: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#stopTimer();
    const closings = [...this.#running].map((each) => close(each).catch(() => {}));
    void Promise.all(closings).then(() => this.reject(givenUp(reason, 'connect', 0, this.#last)));
  }
}
awaitFast(Race);

/** Ends an attempt: its connect is cancelled, and the socket closed when the kernel has let go. */
function close({ descriptor }: Attempt): Future<void> {
  return descriptor.close();
}
