import { bound, Deferred, limitsOf, type OpOptions, refusal } from '@ouro/runtime/driver';
import type { PathLike } from '../path.ts';
import { type FileResult, Gathering, Lent, type Result } from './file-result.ts';
import { ReadRun } from './read-run.ts';
import { Source } from './source.ts';

/** How a stream reads. */
export interface StreamHow extends OpOptions {
  readonly concurrency: number;
  readonly encoding?: BufferEncoding | null | undefined;
  readonly lease?: boolean | undefined;
}

/**
 * Files as they are read, in the order of their paths. Those that nobody has taken yet are as many as are read side by side,
 * at most; whatever is lent beyond that is for the taker to release.
 */
export class FileStream<R extends FileResult<unknown>>
  implements AsyncIterableIterator<R, undefined>, AsyncDisposable
{
  readonly #source: Source<PathLike>;
  readonly #run: ReadRun;
  readonly #ready: (Result | undefined)[];
  readonly #most: number;
  #head = 0;
  #waiter: Deferred<void> | null = null;
  #over = false;
  #error: unknown = null;
  #told = false;

  /** @internal Use `readFiles.stream`. */
  constructor(paths: Iterable<PathLike> | AsyncIterable<PathLike>, options: StreamHow) {
    const { concurrency } = options;
    this.#most = 2 * concurrency;
    this.#ready = new Array<Result | undefined>(this.#most);
    this.#source = new Source<PathLike>(paths, () => this.#run.pump());
    const add = (index: number, result: Result): void => {
      this.#ready[index % this.#most] = result;
      if (index === this.#head) this.#wake();
    };
    const sink = new (class extends Gathering {
      readonly #hasRoom: (index: number) => boolean;
      constructor(hasRoom: (index: number) => boolean) {
        super(options);
        this.#hasRoom = hasRoom;
      }
      hasRoom(index: number): boolean {
        return this.#hasRoom(index);
      }
      protected add(index: number, result: Result): void {
        add(index, result);
      }
    })((index) => index < this.#head + this.#most);
    this.#run = new ReadRun(this.#source, sink, concurrency);
    const limits = limitsOf(options);
    const refused = refusal(limits);
    if (refused === undefined) bound(this.#run, limits);
    else this.#run.cancel(refused);
    this.#run.then(
      () => this.#end(this.#source.error),
      (error: unknown) => this.#end(refused ?? error),
    );
  }

  #end(error: unknown): void {
    this.#over = true;
    this.#error = error;
    if (error !== null) this.#source.stop();
    this.#wake();
  }

  #wake(): void {
    const waiter = this.#waiter;
    this.#waiter = null;
    waiter?.resolve(undefined);
  }

  #take(): R | undefined {
    const at = this.#head % this.#most;
    const result = this.#ready[at];
    if (result === undefined) return undefined;
    this.#ready[at] = undefined;
    this.#head++;
    return result as R;
  }

  async #arrival(): Promise<void> {
    this.#run.pump();
    // What could be had at once has not been: files are read between the turns of the loop.
    if (this.#ready[this.#head % this.#most] !== undefined || this.#over) return;
    this.#waiter ??= new Deferred<void>();
    await this.#waiter;
  }

  #rest(): IteratorResult<never, undefined> {
    if (this.#error !== null && !this.#told) {
      this.#told = true;
      throw this.#error;
    }
    return { done: true, value: undefined };
  }

  async next(): Promise<IteratorResult<R, undefined>> {
    for (;;) {
      const value = this.#take();
      if (value !== undefined) return { done: false, value };
      if (this.#over) return this.#rest();
      await this.#arrival();
    }
  }

  /** The same in arrays: all that are there, with one wait for them. */
  async *batches(): AsyncGenerator<R[], undefined> {
    try {
      for (;;) {
        const batch: R[] = [];
        for (let value = this.#take(); value !== undefined; value = this.#take()) batch.push(value);
        if (batch.length > 0) yield batch;
        else if (this.#over) {
          this.#rest();
          return undefined;
        } else await this.#arrival();
      }
    } finally {
      await this.return();
    }
  }

  /** Ends it: what is being read is given up, what has not been taken released. */
  async return(): Promise<IteratorResult<R, undefined>> {
    this.#source.stop();
    this.#told = true;
    this.#run.cancel();
    await this.#run.catch(() => {});
    for (const result of this.#ready.splice(0)) if (result instanceof Lent) result.release();
    return { done: true, value: undefined };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
