import { types } from 'node:util';
import { markAsUntransferable } from 'node:worker_threads';
import { addon } from '@ouro/native';
import { invalidType } from './errors.ts';
import { asBytes, type Bytes, bufferOf, lengthOf, offsetOf } from './view.ts';

/** What `addressOf` answers for memory that may go away under the kernel: go through a `Bounce`. */
export const UNSTABLE = -1;

/** In the place of an index into the table of registered buffers, for memory that is not registered. */
export const NOT_FIXED = -1;

/** Where a buffer is, and what keeps the memory there even if somebody detaches or drops the buffer. */
interface Pin {
  readonly address: number;
  readonly holder: object | undefined;
  /** Its index in the table of registered buffers. */
  fixed: number;
}

const UNPINNED: Pin = { address: UNSTABLE, holder: undefined, fixed: NOT_FIXED };
const pins = new WeakMap<ArrayBufferLike, Pin>();

// One entry in front of the WeakMap: most programs use one slab for many ops. Large buffers are not kept alive so.
const MOST_CACHED_BYTES = 1 << 20;
let lastBuffer: ArrayBufferLike | undefined;
let lastAddress = 0;
let lastFixed = NOT_FIXED;

/** Checks that `value` is a view of bytes. */
export function checkBytes(name: string, value: unknown): asserts value is Bytes {
  if (!ArrayBuffer.isView(value)) {
    throw invalidType(name, 'an instance of Buffer, TypedArray, or DataView', value);
  }
}

/**
 * The address of a view's first byte, or `UNSTABLE`. The buffer below it is marked as untransferable: it can no
 * longer be moved to another thread (a transfer copies it on Node 20 and throws on later versions), because the
 * kernel writes to it while JavaScript runs. Its memory is kept as long as the buffer object exists, and the op must
 * keep the view alive until its last CQE.
 *
 * Asked once for each ArrayBuffer and then remembered.
 * @throws TypeError if the buffer is detached
 */
export function addressOf(view: Bytes): number {
  const buffer = bufferOf(view);
  if (buffer === lastBuffer) return lastAddress + offsetOf(view);
  const { address: base, fixed } = pins.get(buffer) ?? pin(buffer);
  if (base === UNSTABLE) return UNSTABLE;
  // A detached view is empty. Only then is it worth asking.
  if (lengthOf(view) === 0) assertAttached(buffer);
  if (buffer.byteLength <= MOST_CACHED_BYTES) {
    lastBuffer = buffer;
    lastAddress = base;
    lastFixed = fixed;
  }
  return base + offsetOf(view);
}

/** The index of a view's buffer in the table of registered buffers, or `NOT_FIXED`. Ask `addressOf` first. */
export function fixedIndexOf(view: Bytes): number {
  const buffer = bufferOf(view);
  return buffer === lastBuffer ? lastFixed : (pins.get(buffer)?.fixed ?? NOT_FIXED);
}

/** Notes that a buffer, which has an address, is registered under an index, or no longer. */
export function setFixed(buffer: ArrayBuffer, index: number): void {
  const found = pins.get(buffer);
  if (found === undefined || found === UNPINNED) throw new TypeError('The buffer has no stable address');
  found.fixed = index;
  lastBuffer = undefined;
}

function assertAttached(buffer: ArrayBufferLike): void {
  // Throws the engine's own TypeError for a detached buffer.
  new Uint8Array(buffer);
}

// As the getters of view.ts: the object itself is asked, not a property it may carry. Undefined on Node 18.
const resizableGetter = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'resizable')?.get;
const isResizable = (buffer: ArrayBufferLike): boolean => resizableGetter?.call(buffer) === true;

function pin(buffer: ArrayBufferLike): Pin {
  const pinned = pinOf(buffer, new Uint8Array(buffer));
  pins.set(buffer, pinned);
  return pinned;
}

function pinOf(buffer: ArrayBufferLike, bytes: Uint8Array): Pin {
  const native = addon();
  // Shared memory never moves and cannot be detached; growing happens in place. (Not instanceof: the buffer may come
  // from another realm.)
  if (types.isSharedArrayBuffer(buffer)) {
    return { address: native.addressOf(bytes), holder: undefined, fixed: NOT_FIXED };
  }
  if (isResizable(buffer)) return UNPINNED;
  // Byte streams, other addons and (on Node 22) `ArrayBuffer.prototype.transfer` detach without asking for the mark. They
  // only move the memory to another owner: it stays where it is as long as we own it too.
  const holder = bytes.length === 0 ? undefined : native.hold(bytes);
  if (holder === undefined && bytes.length > 0) return UNPINNED;
  markAsUntransferable(buffer);
  return { address: native.addressOf(bytes), holder, fixed: NOT_FIXED };
}

/**
 * Memory of our own in the place of a caller's that cannot be trusted to stay: a resizable buffer, or any buffer on
 * a build of Node whose memory cannot be owned by others. No script ever sees it, so nothing can detach it.
 */
export class Bounce {
  readonly address: number;
  readonly bytes: Buffer;
  readonly #target: Bytes;

  private constructor(target: Bytes) {
    this.#target = target;
    this.bytes = Buffer.allocUnsafeSlow(lengthOf(target));
    this.address = addon().addressOf(this.bytes);
  }

  /** For the kernel to fill; `copyBack` brings the bytes to the caller. */
  static toFill(target: Bytes): Bounce {
    return new Bounce(target);
  }

  /** For the kernel to read: a copy of what the view holds now. */
  static filled(source: Bytes): Bounce {
    const bounce = new Bounce(source);
    bounce.bytes.set(asBytes(source));
    return bounce;
  }

  /** Copies the first `count` bytes to where the caller wanted them, as far as that memory still exists. */
  copyBack(count: number): number {
    const target = asBytes(this.#target);
    const fits = Math.min(count, target.byteLength);
    target.set(this.bytes.subarray(0, fits));
    return fits;
  }
}

/** Bytes that stay where they are, whatever scripts do to the view they came from. */
export interface Pinned {
  readonly address: number;
  readonly length: number;
  /** To be kept alive as long as the address is used. */
  readonly hold: unknown;
  /** Index in the table of registered buffers, or `NOT_FIXED`. */
  readonly fixed: number;
}

/**
 * The bytes of a view for the kernel to read: in place where they cannot be taken away, else as a copy.
 * @throws TypeError if the view is detached
 */
export function pinned(view: Bytes): Pinned {
  const address = addressOf(view);
  const length = lengthOf(view);
  if (address !== UNSTABLE) return { address, length, hold: view, fixed: fixedIndexOf(view) };
  const bounce = Bounce.filled(view);
  return { address: bounce.address, length, hold: bounce, fixed: NOT_FIXED };
}
