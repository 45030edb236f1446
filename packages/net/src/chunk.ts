/**
 * Memory that chunks are cut from: an ArrayBuffer of its own for each would cost more than the copy. Two kinds, so
 * that a small chunk that is kept holds 64 KiB at most.
 */
class Slab {
  readonly #size: number;
  #memory: ArrayBuffer = new ArrayBuffer(0);
  #bytes: Uint8Array = new Uint8Array(this.#memory);
  #used = 0;

  constructor(size: number) {
    this.#size = size;
  }

  copy(source: Uint8Array, at: number, length: number): Buffer {
    if (this.#used + length > this.#memory.byteLength) {
      this.#memory = Buffer.allocUnsafeSlow(this.#size).buffer;
      this.#bytes = new Uint8Array(this.#memory);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used = (start + length + ALIGN) & ~ALIGN;
    const bytes = this.#bytes;
    // A loop beats the call of set() with its temporary view up to about a hundred bytes.
    if (length <= 96) for (let i = 0; i < length; i++) bytes[start + i] = source[at + i];
    else bytes.set(source.subarray(at, at + length), start);
    return Buffer.from(this.#memory, start, length);
  }
}

/** Chunks begin at multiples of 8, as in Node's own pool, so that they can be seen as any typed array. */
const ALIGN = 7;
const SMALL = 2_048;

const small = new Slab(65_536);
const large = new Slab(524_288);

/** A copy of `source[at … at + length)` that belongs to the caller. `length` is a provided buffer's at most. */
export function copyChunk(source: Uint8Array, at: number, length: number): Buffer {
  return (length <= SMALL ? small : large).copy(source, at, length);
}
