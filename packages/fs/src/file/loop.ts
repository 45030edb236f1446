import type { ReadAhead } from './read-ahead.ts';

/** What comes out of a loop over a file. It can be run once, and ends for good when it is left. */
export type ChunkLoop<T> = AsyncIterableIterator<T, undefined> & AsyncDisposable;

/** A loop over what a reader brings. */
export abstract class Loop<T> implements AsyncIterableIterator<T, undefined>, AsyncDisposable {
  /** @internal */
  readonly reader: ReadAhead;

  constructor(reader: ReadAhead) {
    this.reader = reader;
  }

  abstract next(): Promise<IteratorResult<T, undefined>>;

  async return(): Promise<IteratorResult<T, undefined>> {
    await this.reader.stop();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.reader.stop();
  }
}
