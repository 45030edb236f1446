/** Any view of bytes: Buffer, typed array, DataView. */
export type Bytes = ArrayBufferView;

/**
 * A getter of a prototype as a function of its own. An instance can carry properties of the same names that lie, and
 * the kernel would believe them; the prototype's getters, taken before any program runs, read the object itself.
 */
function getter<T>(prototype: object, name: PropertyKey): (view: Bytes) => T {
  const get = Object.getOwnPropertyDescriptor(prototype, name)?.get;
  if (get === undefined) throw new TypeError(`No getter ${String(name)}`);
  return Function.prototype.call.bind(get) as (view: Bytes) => T;
}

const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as object;
const typedBuffer = getter<ArrayBufferLike>(typedArray, 'buffer');
const typedOffset = getter<number>(typedArray, 'byteOffset');
const typedLength = getter<number>(typedArray, 'byteLength');
const dataBuffer = getter<ArrayBufferLike>(DataView.prototype, 'buffer');
const dataOffset = getter<number>(DataView.prototype, 'byteOffset');
const dataLength = getter<number>(DataView.prototype, 'byteLength');

// Which getter is for whom is a guess from the prototype: the one for the other kind throws a TypeError.

/** The buffer below a view. */
export function bufferOf(view: Bytes): ArrayBufferLike {
  return view instanceof DataView ? dataBuffer(view) : typedBuffer(view);
}

/** Where in its buffer a view begins. @throws TypeError for a DataView of a detached buffer */
export function offsetOf(view: Bytes): number {
  return view instanceof DataView ? dataOffset(view) : typedOffset(view);
}

/** Bytes of a view; 0 for a typed array whose buffer is detached. @throws TypeError for a DataView of a detached buffer */
export function lengthOf(view: Bytes): number {
  return view instanceof DataView ? dataLength(view) : typedLength(view);
}

/** The same memory as bytes. @throws TypeError if it is detached */
export function asBytes(view: Bytes): Uint8Array {
  return new Uint8Array(bufferOf(view), offsetOf(view), lengthOf(view));
}
