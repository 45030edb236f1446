import { cancellation, type Future } from '@ouro/runtime/driver';

/**
 * Jobs on a stack, a few of them at a time, that end together: when all are done, or when one has failed or they were stopped and those
 * that had begun have come to an end. The last that came is the first to be done, so a tree is gone through with few of its branches open.
 */
export class Crew<J> {
  readonly #most: number;
  readonly #work: (job: J) => Promise<void>;
  readonly #jobs: J[] = [];
  readonly #live: Set<Future<unknown>> = new Set();
  readonly #ended: () => void;
  #running = 0;
  #stopped = false;
  #error: unknown;
  #failed = false;

  /**
   * @param most how many at a time
   * @param ended called once, when nothing is at work any more
   */
  constructor(most: number, work: (job: J) => Promise<void>, ended: () => void) {
    this.#most = most;
    this.#work = work;
    this.#ended = ended;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  get failed(): boolean {
    return this.#failed;
  }

  /** Why they were stopped. */
  get error(): unknown {
    return this.#error;
  }

  push(job: J): void {
    this.#jobs.push(job);
    this.#pump();
  }

  /** Makes `future` one that is cancelled when they are stopped. */
  step<T>(future: Future<T>): Future<T> {
    if (this.#stopped) future.cancel();
    else {
      this.#live.add(future);
      const gone = (): void => void this.#live.delete(future);
      future.then(gone, gone);
    }
    return future;
  }

  /** Throws if they were stopped. */
  check(): void {
    if (this.#stopped) throw this.#error ?? cancellation(undefined);
  }

  /** Begins nothing more and cancels what can be cancelled. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#jobs.length = 0;
    for (const future of [...this.#live]) future.cancel();
  }

  /** As `stop`, because of `error`. */
  fail(error: unknown): void {
    if (!this.#stopped) {
      this.#failed = true;
      this.#error = error;
    }
    this.stop();
  }

  #pump(): void {
    while (this.#running < this.#most && !this.#stopped) {
      const job = this.#jobs.pop();
      if (job === undefined) return;
      this.#running++;
      this.#work(job).then(
        () => this.#done(),
        (error: unknown) => {
          this.fail(error);
          this.#done();
        },
      );
    }
  }

  #done(): void {
    this.#running--;
    this.#pump();
    if (this.#running === 0) this.#ended();
  }

  /** Whether nothing is at work. */
  get idle(): boolean {
    return this.#running === 0;
  }
}
