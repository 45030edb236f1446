import { markAsUntransferable } from 'node:worker_threads';
import { addressOf, allocateRecycled } from '@ouro/runtime/driver';

/**
 * Memory for chunks. Small ones are cut from a slab, because an ArrayBuffer for each would cost more than the copy; a
 * slab is small enough that a chunk that is kept does not hold much, and that malloc serves it from memory that it
 * has (from 128 KiB on it asks the kernel for fresh pages, which cost 1.6 µs each at the first touch).
 */
const SLAB = 65_536;
/** The longest chunk that shares a slab with others. */
export const MOST_IN_SLAB = 16_384;

/** The longest chunk: see above. */
export const MOST_CHUNK = 65_536;

/** Chunks begin at multiples of 8, as in Node's own pool, so that they can be seen as any typed array. */
const ALIGN = 7;

/** What has to wait lies in smaller slabs, because who waits for long holds all of one, and shares them up to here. */
const WAITING_SLAB = 16_384;
const MOST_WAITING = 1024;

/** Cuts memory from slabs. */
class Slabs {
  readonly #size: number;
  /** Whether its memory gets an address at once: pieces of it are likely to be sent. */
  readonly #sent: boolean;
  #memory: ArrayBuffer = new ArrayBuffer(0);
  #used = 0;

  constructor(size: number, sent: boolean) {
    this.#size = size;
    this.#sent = sent;
  }

  cut(length: number): Buffer {
    if (this.#used + length > this.#memory.byteLength) {
      this.#memory = Buffer.allocUnsafeSlow(this.#size).buffer;
      if (this.#sent) addressOf(new Uint8Array(this.#memory));
      // As Node does with its pool: whoever transferred one chunk to a worker would take its neighbours' bytes along.
      markAsUntransferable(this.#memory);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used = (start + length + ALIGN) & ~ALIGN;
    return Buffer.from(this.#memory, start, length);
  }
}

const handedOut = new Slabs(SLAB, true);
const inner = new Slabs(SLAB, false);
const waiting = new Slabs(WAITING_SLAB, false);

/** `length` bytes (at most `MOST_CHUNK`) that nobody else has, not cleared. */
export function allocateChunk(length: number): Buffer {
  return length > MOST_IN_SLAB ? allocateRecycled(length) : handedOut.cut(length);
}

/** The same, at most `MOST_IN_SLAB`, for what never is handed out: nobody can take it away, its neighbours neither. */
export function allocateInner(length: number): Buffer {
  return inner.cut(length);
}

/** The same for what has to wait until somebody takes it; null if that is so much that it should have memory of its own. */
export function allocateWaiting(length: number): Buffer | null {
  return length > MOST_WAITING ? null : waiting.cut(length);
}

/** Up to here a loop beats the call of set() with its temporary view. */
const LOOPED = 96;

/** Copies bytes. */
export function copy(source: Uint8Array, from: number, target: Uint8Array, to: number, length: number): void {
  if (length <= LOOPED) for (let i = 0; i < length; i++) target[to + i] = source[from + i];
  else target.set(source.subarray(from, from + length), to);
}
