import type { WritableStreamDefaultController } from 'node:stream/web';
import type { Bytes } from '../base/view.ts';
import type { Future } from '../future/future.ts';
import { bytesOfChunk, type WritableChunk, whenAborted } from './web-chunk.ts';

/** The sink below a `WritableStream` over a handle, which hands it one chunk after the other. */
export abstract class HandleSink {
  readonly #handle: { close(): PromiseLike<void> };
  readonly #autoClose: boolean;
  #writing: Future<number> | null = null;

  /** @param autoClose whether the handle is closed when the stream has been closed, has failed or been aborted */
  protected constructor(handle: { close(): PromiseLike<void> }, autoClose: boolean) {
    this.#handle = handle;
    this.#autoClose = autoClose;
  }

  start(controller: WritableStreamDefaultController): void {
    whenAborted(controller, (reason) => this.#writing?.cancel(reason));
  }

  /**
   * Begins to write all of a chunk. Its memory is not to be pinned for good: chunks are handed on, and their memory may be used again
   * for the next.
   */
  protected abstract begin(chunk: Bytes): Future<number>;

  /** Called when a chunk has been written. */
  protected written(_bytes: number): void {
    // Most do not count them.
  }

  /** Called when all has been written, before the handle is closed. */
  protected async finish(): Promise<void> {
    // Most have nothing to do.
  }

  async write(chunk: WritableChunk): Promise<void> {
    try {
      const writing = this.begin(bytesOfChunk(chunk));
      this.#writing = writing;
      this.written(await writing);
    } catch (error) {
      await this.#close();
      throw error;
    } finally {
      this.#writing = null;
    }
  }

  async close(): Promise<void> {
    try {
      await this.finish();
    } finally {
      await this.#close();
    }
  }

  abort(): Promise<void> {
    return this.#close();
  }

  async #close(): Promise<void> {
    if (this.#autoClose) await this.#handle.close();
  }
}
