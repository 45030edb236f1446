import { types } from 'node:util';
import { addon } from '@ouro/native';
import { hold, isResizable, OwnMemory } from '@ouro/runtime/driver';

/** Where the kernel reads or writes, and what keeps the memory there until the last CQE. */
export interface Memory {
  readonly address: number;
  readonly hold: unknown;
  /** Brings what the kernel has written to the caller, where it could not be given the caller's own memory. */
  readonly copyBack: ((count: number) => void) | null;
}

/** Up to here copying costs less than owning the memory as well. */
const MOST_COPIED = 4096;
/** Memory for copies: 1.2 µs less a write than a piece for each. */
const copies = new OwnMemory();

// Most programs use one buffer for many ops: what owns its memory is made once (0.7 µs). Large ones are not kept alive so.
const MOST_CACHED = 1 << 20;
let lastBuffer: ArrayBufferLike | undefined;
let lastAddress = 0;
let lastHolder: object | undefined;

/** A stretch of a view, as bytes. @throws TypeError, RangeError for what is detached or too short */
export function stretch(view: ArrayBufferView, offset: number, length: number): Uint8Array {
  if (offset + length > view.byteLength) throw new RangeError('The buffer is too short');
  return new Uint8Array(view.buffer, view.byteOffset + offset, length);
}

/**
 * Memory that the caller may still transfer to another thread: the op owns it as well, and it is not marked. Null where it may move.
 */
function owned(bytes: Uint8Array): Memory | null {
  const { buffer, byteOffset } = bytes;
  // A detached buffer has no bytes to make a view of, so it is not taken for the same.
  if (buffer === lastBuffer) {
    return { address: lastAddress + byteOffset, hold: [lastHolder, bytes], copyBack: null };
  }
  const native = addon();
  // Shared memory never moves and cannot be taken away.
  if (types.isSharedArrayBuffer(buffer)) {
    return { address: native.addressOf(bytes), hold: bytes, copyBack: null };
  }
  if (isResizable(buffer) || bytes.length === 0) return null;
  const holder = hold(bytes);
  if (holder === undefined) return null;
  const address = native.addressOf(bytes);
  if (buffer.byteLength <= MOST_CACHED) {
    lastBuffer = buffer;
    lastAddress = address - byteOffset;
    lastHolder = holder;
  }
  return { address, hold: [holder, bytes], copyBack: null };
}

/** The caller's memory for the kernel to write to. */
export function toFill(bytes: Uint8Array): Memory {
  const memory = owned(bytes);
  if (memory !== null) return memory;
  const { buffer, byteOffset, length } = bytes;
  const own = Buffer.allocUnsafeSlow(length);
  const copyBack = (count: number): void => {
    // It may have shrunk or gone meanwhile.
    const fits = Math.min(count, buffer.byteLength - byteOffset);
    if (fits > 0) new Uint8Array(buffer, byteOffset, fits).set(own.subarray(0, fits));
  };
  return { address: addon().addressOf(own), hold: own, copyBack };
}

/** The caller's memory for the kernel to read. */
export function toRead(bytes: Uint8Array): Memory {
  const memory = bytes.length > MOST_COPIED ? owned(bytes) : null;
  if (memory !== null) return memory;
  const { own, address } = ownMemory(bytes.length);
  own.set(bytes);
  return { address, hold: own, copyBack: null };
}

/** Memory of our own, to be filled and handed to the kernel. Zeros are not put there first. */
export function ownMemory(length: number): { readonly own: Buffer; readonly address: number } {
  if (length > MOST_COPIED) {
    const own = Buffer.allocUnsafeSlow(length);
    return { own, address: addon().addressOf(own) };
  }
  const address = copies.cut(length);
  const { slab, at } = copies;
  return { own: slab.subarray(at, at + length), address };
}
