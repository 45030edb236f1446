import { markAsUntransferable } from 'node:worker_threads';

/**
 * Memory for chunks. Small ones are cut from a slab, because an ArrayBuffer for each would cost more than the copy; a
 * slab is small enough that a chunk that is kept does not hold much, and that malloc serves it from memory that it
 * has (from 128 KiB on it asks the kernel for fresh pages, which cost 1.6 µs each at the first touch).
 */
const SLAB = 65_536;
const MOST_IN_SLAB = 16_384;

/** The longest chunk: see above. */
export const MOST_CHUNK = 65_536;

/** Chunks begin at multiples of 8, as in Node's own pool, so that they can be seen as any typed array. */
const ALIGN = 7;

let memory: ArrayBuffer = new ArrayBuffer(0);
let used = 0;

/** `length` bytes (at most `MOST_CHUNK`) that nobody else has, not cleared. */
export function allocateChunk(length: number): Buffer {
  if (length > MOST_IN_SLAB) return Buffer.allocUnsafeSlow(length);
  if (used + length > memory.byteLength) {
    memory = Buffer.allocUnsafeSlow(SLAB).buffer;
    // As Node does with its pool: whoever transferred one chunk to a worker would take its neighbours' bytes along.
    markAsUntransferable(memory);
    used = 0;
  }
  const start = used;
  used = (start + length + ALIGN) & ~ALIGN;
  return Buffer.from(memory, start, length);
}

/** Up to here a loop beats the call of set() with its temporary view. */
const LOOPED = 96;

/** Copies bytes. */
export function copy(source: Uint8Array, from: number, target: Uint8Array, to: number, length: number): void {
  if (length <= LOOPED) for (let i = 0; i < length; i++) target[to + i] = source[from + i];
  else target.set(source.subarray(from, from + length), to);
}
