import { asBytes, type Bytes, lengthOf, offsetOf } from '../base/view.ts';
import { OwnMemory } from './own-memory.ts';
import { isPinned, NOT_FIXED, type Pinned, pinned } from './pin.ts';

/** Up to here it costs less to copy bytes than to have their memory kept where it is (1 to 2 µs, and a collection later). */
const MOST = 1024;
/** V8 has typed arrays up to here in its heap, where they move, until somebody asks for their buffer: another 0.5 µs. */
const IN_HEAP = 64;
/** Up to here a loop beats the call of set(). */
const LOOPED = 96;

const memory = new OwnMemory();

/** Where the last copy lies: to be kept alive as long as its address is used. */
export let copied: Uint8Array = memory.slab;

/** Whether the kernel should get a copy of `length` bytes rather than the bytes of the view themselves. */
export function isSmall(view: Bytes, length: number): boolean {
  if (length > MOST || length === 0) return false;
  return (length <= IN_HEAP && offsetOf(view) === 0) || !isPinned(view);
}

/** Copies all `length` bytes of a view to where they stay, and answers their address. The slab is `copied` until the next call. */
export function copySmall(view: Bytes, length: number): number {
  const address = memory.cut(length);
  const { slab, at } = memory;
  if (length <= LOOPED && view instanceof Uint8Array) {
    for (let i = 0; i < length; i++) slab[at + i] = view[i];
  } else {
    slab.set(asBytes(view), at);
  }
  copied = slab;
  return address;
}

/**
 * The bytes of a view for the kernel to read: a copy if they are few, else in place where they cannot be taken away.
 * @throws TypeError if the view is detached
 */
export function snapshot(view: Bytes): Pinned {
  const length = lengthOf(view);
  if (!isSmall(view, length)) return pinned(view);
  return { address: copySmall(view, length), length, hold: copied, fixed: NOT_FIXED };
}
