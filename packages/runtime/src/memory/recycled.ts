import { AsyncResource } from 'node:async_hooks';
import { addon } from '@ouro/native';

// As it is now: tests replace it by a clock of their own, which may never come to the time.
const { setTimeout: after } = globalThis;

/** Below that malloc has memory at hand, and above it few are alike. */
const LEAST = 32_768;
const MOST = 1 << 20;
/** Only such lengths are common enough to be asked for again. */
const GRAIN = 16_384;
/** After that time memory that nobody has asked for again is given back. */
const KEPT_MS = 1000;

/** What the timer belongs to: not whoever happens to allocate, whose context (`AsyncLocalStorage`) it would keep for as long. */
const own = new AsyncResource('OURO_MEMORY', { requireManualDestroy: true });
let trimming = false;

function trim(): void {
  trimming = false;
  if (addon().trimRecycled() > 0) trimLater();
}

function trimLater(): void {
  if (trimming) return;
  trimming = true;
  own.runInAsyncScope(() => after(trim, KEPT_MS).unref());
}

/** Memory can be made immutable for good (V8 14, where that is switched on): then it is of no use to others. */
const isImmutable = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'immutable')?.get;

function isUsable(memory: ArrayBuffer, length: number): boolean {
  return memory.byteLength === length && isImmutable?.call(memory) !== true;
}

/**
 * A Buffer with memory of its own, not cleared: what somebody else has had and V8 has collected, where there is some. (Fresh memory
 * costs a page fault for each 4 KiB, which is more than filling it does.) Up to 64 MiB of each thread are kept so, and given back when
 * nobody has asked for them for a second or two.
 */
export function allocateRecycled(length: number): Buffer {
  if (length < LEAST || length > MOST || length % GRAIN !== 0) return Buffer.allocUnsafeSlow(length);
  const native = addon();
  let memory = native.takeRecycled(length);
  while (memory !== undefined) {
    if (isUsable(memory, length)) return Buffer.from(memory);
    memory = native.takeRecycled(length);
  }
  const fresh = Buffer.allocUnsafeSlow(length);
  if (native.addRecycled(fresh.buffer)) trimLater();
  return fresh;
}
