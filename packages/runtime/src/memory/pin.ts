import { types } from 'node:util';
import * as threads from 'node:worker_threads';
import { addon } from '@ouro/native';
import { invalidType } from '../base/errors.ts';
import { asBytes, type Bytes, bufferOf, lengthOf, offsetOf } from '../base/view.ts';
import { hold } from './hold.ts';

const {
  markAsUntransferable,
  isMarkedAsUntransferable, // Node 21
}: Pick<typeof threads, 'markAsUntransferable'> & {
  readonly isMarkedAsUntransferable?: (value: object) => boolean;
} = threads;

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
/** Whether its memory may be given back, or moved, at any time. */
export const isResizable = (buffer: ArrayBufferLike): boolean => resizableGetter?.call(buffer) === true;

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
  // Byte streams and other addons detach without asking for the mark. They only move the memory to another owner: it stays
  // where it is as long as we own it too.
  const holder = bytes.length === 0 ? undefined : hold(bytes);
  if (holder === undefined && bytes.length > 0) return UNPINNED;
  const address = native.addressOf(bytes);
  if (isMarkedAsUntransferable?.(buffer) !== true && !isWasmMemory(buffer, address))
    markAsUntransferable(buffer);
  return { address, holder, fixed: NOT_FIXED };
}

const WASM_PAGE = 65_536;
let locks: boolean | undefined;

/**
 * Whether nothing detaches what is marked (Node 24): V8 ends the process where it must be all the same. Node itself must when a thread
 * ends whose buffers are other addons' memory, and those it marks in a way of its own.
 */
function marksLock(): boolean {
  if (locks !== undefined) return locks;
  const buffer: ArrayBuffer & { transfer?(): ArrayBuffer } = new ArrayBuffer(1);
  markAsUntransferable(buffer);
  try {
    buffer.transfer?.();
    locks = false;
  } catch {
    locks = true;
  }
  return locks;
}

/**
 * Whether a buffer is the memory of a WebAssembly module, where that matters. Nobody can transfer it, but its `grow` must detach it;
 * the bytes stay where they are as long as we own them. To ask costs 20 µs, which only those pay that begin and end where such memory does.
 */
function isWasmMemory(buffer: ArrayBuffer, address: number): boolean {
  if (address % WASM_PAGE !== 0 || buffer.byteLength % WASM_PAGE !== 0 || !marksLock()) return false;
  try {
    structuredClone(null, { transfer: [buffer, buffer] });
    return false;
  } catch (error) {
    // Twice the same is refused in any case, and first what cannot be transferred at all.
    return !String((error as Error).message).includes('duplicate');
  }
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

/** Whether the memory of a view has an address already, so that one more op costs no more than asking for it. */
export function isPinned(view: Bytes): boolean {
  const buffer = bufferOf(view);
  return buffer === lastBuffer || (pins.get(buffer) ?? UNPINNED) !== UNPINNED;
}

/** Up to here copying costs less than owning the memory as well. */
const MOST_COPIED = 16_384;

/**
 * `pinned` for one op, without marking the buffer as untransferable: for memory that its owner will hand on, as the chunks of
 * streams are. Whoever transfers or changes it before the op has ended changes what the kernel reads, but takes no
 * memory from under it.
 * @throws TypeError if the view is detached
 */
export function lent(view: Bytes): Pinned {
  const bytes = asBytes(view);
  const { buffer, length } = bytes;
  if (pins.has(buffer) || types.isSharedArrayBuffer(buffer)) return pinned(view);
  if (length > MOST_COPIED && !isResizable(buffer)) {
    const holder = hold(bytes);
    if (holder !== undefined)
      return { address: addon().addressOf(bytes), length, hold: holder, fixed: NOT_FIXED };
  }
  const bounce = Bounce.filled(bytes);
  return { address: bounce.address, length, hold: bounce, fixed: NOT_FIXED };
}
