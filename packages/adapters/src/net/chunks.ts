import { markAsUntransferable } from 'node:worker_threads';
import { allocateRecycled } from '@ouro/runtime/driver';

/** Small enough that malloc has it at hand, and that a chunk that is kept does not hold much. */
const SLAB = 65_536;
const MOST_IN_SLAB = 16_384;
const ALIGN = 7;

let slab: ArrayBuffer = new ArrayBuffer(0);
let used = 0;

/** Where `cut` has put what it was last asked for. */
export let cutAt = 0;

/** Memory for `length` bytes, which begin at `cutAt`: a piece of a slab that several share, or for large ones all of it. */
export function cut(length: number): ArrayBuffer {
  if (length > MOST_IN_SLAB) {
    cutAt = 0;
    return allocateRecycled(length).buffer as ArrayBuffer;
  }
  if (used + length > slab.byteLength) {
    slab = Buffer.allocUnsafeSlow(SLAB).buffer as ArrayBuffer;
    // As Node does with its own pool: who transferred one chunk would take its neighbours along.
    markAsUntransferable(slab);
    used = 0;
  }
  cutAt = used;
  used = (used + length + ALIGN) & ~ALIGN;
  return slab;
}
