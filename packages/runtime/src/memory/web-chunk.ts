import type { WritableStreamDefaultController } from 'node:stream/web';
import { types } from 'node:util';
import { invalidType } from '../base/errors.ts';
import type { Bytes } from '../base/view.ts';

/** What the `WritableStream`s of handles take; a string is written as UTF-8. */
export type WritableChunk = Bytes | ArrayBufferLike | string;

const { isAnyArrayBuffer } = types;

/** The bytes of a chunk. @throws TypeError if it is none, or detached */
export function bytesOfChunk(chunk: unknown): Bytes {
  if (typeof chunk === 'string') return Buffer.from(chunk);
  if (ArrayBuffer.isView(chunk)) return chunk;
  if (isAnyArrayBuffer(chunk)) return new Uint8Array(chunk);
  throw invalidType(
    'chunk',
    'of type string or an instance of ArrayBuffer, Buffer, TypedArray, or DataView',
    chunk,
  );
}

/** Bytes of a chunk; 0 for what is none, which fails when it is to be written. */
export function sizeOfChunk(chunk: unknown): number {
  if (typeof chunk === 'string') return Buffer.byteLength(chunk);
  return ArrayBuffer.isView(chunk) || isAnyArrayBuffer(chunk) ? chunk.byteLength : 0;
}

/** What the types of Node 20 leave out. */
interface Aborting extends WritableStreamDefaultController {
  readonly signal: AbortSignal;
}

/** Calls `then` when the stream is aborted: at once, where its `abort` waits for the chunk in hand. */
export function whenAborted(
  controller: WritableStreamDefaultController,
  then: (reason: unknown) => void,
): void {
  const { signal } = controller as Aborting;
  signal.addEventListener('abort', () => then(signal.reason), { once: true });
}

/** Checks `options.autoClose`. @default false */
export function checkAutoClose(autoClose: unknown): boolean {
  if (autoClose === undefined) return false;
  if (typeof autoClose !== 'boolean') throw invalidType('options.autoClose', 'of type boolean', autoClose);
  return autoClose;
}
