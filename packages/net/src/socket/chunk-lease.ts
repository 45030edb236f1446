import { transferredError } from '../errors.ts';
import type { SlabRing } from './slab-ring.ts';

/** In the place of a ring, for memory that is not to be handed out. */
const INNER = { release(): void {} } as const;

/**
 * A chunk in memory that is lent: bytes as the kernel has put them there. Release it when you have done with it, a send of it
 * included: `using chunk = …` does so at the end of the block. Afterwards its bytes are another chunk's, of any connection.
 */
export class ChunkLease implements Disposable {
  #bytes: Buffer;
  /** Its bytes: what it has if somebody takes the memory away is none. */
  #length: number;
  /** Whose slab it is; null once released, and for memory of its own. */
  #slabs: SlabRing | typeof INNER | null;
  readonly #slab: number;
  #released = false;

  private constructor(bytes: Buffer, slabs: SlabRing | typeof INNER | null, slab: number) {
    this.#bytes = bytes;
    this.#length = bytes.length;
    this.#slabs = slabs;
    this.#slab = slab;
  }

  /** @internal Bytes in a slab, which is told when they have been used. */
  static of(bytes: Buffer, slabs: SlabRing, slab: number): ChunkLease {
    return new ChunkLease(bytes, slabs, slab);
  }

  /** @internal Bytes that nobody waits for: where memory cannot be lent. */
  static owned(bytes: Buffer): ChunkLease {
    return new ChunkLease(bytes, null, -1);
  }

  /** @internal Bytes in memory that no script may see: to be copied from. */
  static inner(bytes: Buffer): ChunkLease {
    return new ChunkLease(bytes, INNER, -1);
  }

  /** @internal */
  get isInner(): boolean {
    return this.#slabs === INNER;
  }

  /**
   * The bytes of the chunk.
   *
   * @throws Error with `code: 'ERR_INVALID_STATE'` once released, and where somebody has transferred memory that was lent, which
   *   others' chunks lie in as well
   */
  get buffer(): Buffer {
    if (this.#released)
      throw Object.assign(new Error('The chunk has been released'), { code: 'ERR_INVALID_STATE' });
    if (this.lost) throw transferredError();
    return this.#bytes;
  }

  /** @internal Whether somebody has taken its memory away. */
  get lost(): boolean {
    return this.#bytes.length !== this.#length;
  }

  /** Bytes of the chunk; 0 once released. */
  get length(): number {
    return this.#released ? 0 : this.#length;
  }

  /** The bytes in memory of their own. */
  copy(): Buffer {
    return Buffer.from(this.buffer);
  }

  /** Whether it has been given back. */
  get released(): boolean {
    return this.#released;
  }

  /** Gives the memory back. Releasing twice is one release. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    const slabs = this.#slabs;
    this.#slabs = null;
    slabs?.release(this.#slab);
  }

  [Symbol.dispose](): void {
    this.release();
  }

  /** @internal Leaves the first `count` bytes out. */
  skip(count: number): void {
    this.#bytes = this.#bytes.subarray(count);
    this.#length -= count;
  }

  /** @internal Whether releasing it gives memory back that others wait for. */
  get lent(): boolean {
    return this.#slabs !== null;
  }
}
