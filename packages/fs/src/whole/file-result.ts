import { allocateRecycled } from '@ouro/runtime/driver';
import type { PathLike } from '../path.ts';
import type { FileSink } from './read-run.ts';
import type { Slab } from './slab.ts';

/** Below that Node has memory in its pool. */
const POOLED = 4096;

/** A file that was read, or why it could not be. */
export type FileResult<C> =
  | { readonly path: PathLike; readonly content: C; readonly error: null }
  | { readonly path: PathLike; readonly content: null; readonly error: Error };

/** A file in memory that is lent. `using file = …` gives it back at the end of the block. */
export type LentFile = FileResult<Buffer> & Disposable & { release(): void };

export class Lent implements Disposable {
  readonly path: PathLike;
  readonly error: Error | null;
  #content: Buffer | null;
  #slab: Slab | null;
  #released = false;

  constructor(path: PathLike, content: Buffer | null, slab: Slab | null, error: Error | null) {
    this.path = path;
    this.error = error;
    this.#content = content;
    this.#slab = slab;
  }

  /** @throws Error with `code: 'ERR_INVALID_STATE'` once released */
  get content(): Buffer | null {
    if (this.#released) {
      throw Object.assign(new Error('The file has been released'), { code: 'ERR_INVALID_STATE' });
    }
    return this.#content;
  }

  /** Gives the memory back. Releasing twice is one release. */
  release(): void {
    this.#released = true;
    this.#content = null;
    this.#slab?.giveBack();
    this.#slab = null;
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** How the contents are wanted. */
interface Wanted {
  readonly encoding?: BufferEncoding | null | undefined;
  readonly lease?: boolean | undefined;
}

/** What any of them gives. */
export type Result = FileResult<Buffer | string> | LentFile;

/** Files as the caller wants them, in the order of their paths. */
export abstract class Gathering implements FileSink {
  readonly #encoding: BufferEncoding | null;
  readonly #lease: boolean;

  constructor({ encoding, lease }: Wanted) {
    this.#encoding = encoding ?? null;
    this.#lease = lease === true;
  }

  abstract hasRoom(index: number): boolean;
  protected abstract add(index: number, result: Result): void;

  filled(index: number, path: PathLike, slab: Slab, length: number): void {
    if (this.#lease) {
      // (A class for both cases: the one or the other is null.)
      this.add(index, new Lent(path, slab.lend(length), slab, null) as LentFile);
      return;
    }
    const { at, bytes } = slab;
    const encoding = this.#encoding;
    if (encoding !== null) {
      this.add(index, { path, content: bytes.toString(encoding, at, at + length), error: null });
      return;
    }
    // Small ones come out of one piece of memory, as Node's do: to get some for each takes longer than to read the file.
    const content = length < POOLED ? Buffer.allocUnsafe(length) : allocateRecycled(length);
    bytes.copy(content, 0, at, at + length);
    this.add(index, { path, content, error: null });
  }

  put(index: number, path: PathLike, content: Buffer | null, error: Error | null): void {
    if (this.#lease) this.add(index, new Lent(path, content, null, error) as LentFile);
    else if (content === null) {
      this.add(index, { path, content: null, error: error ?? new Error('The file was not read') });
    } else this.add(index, this.#decoded(path, content));
  }

  #decoded(path: PathLike, bytes: Buffer): Result {
    try {
      const content = this.#encoding === null ? bytes : bytes.toString(this.#encoding);
      return { path, content, error: null };
    } catch (error) {
      return { path, content: null, error: error as Error }; // longer than a string may be
    }
  }
}
