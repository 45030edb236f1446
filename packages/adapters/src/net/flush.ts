import { existingReactor } from '@ouro/runtime/driver';
import { rethrow } from './ticks.ts';

/** Somebody who has something for the kernel. */
export interface Dirty {
  dirty: boolean;
  flush(alone?: boolean): void;
  /** The same without the ring: the process ends. */
  flushNow(): void;
}

const settled = Promise.resolve();
let waiting: Dirty[] = [];
let scheduled = false;
let watching = false;

function flushAll(): void {
  scheduled = false;
  const all = waiting;
  waiting = [];
  for (const each of all) {
    if (!each.dirty) continue;
    each.dirty = false;
    try {
      each.flush(all.length === 1);
    } catch (error) {
      rethrow(error);
    }
  }
}

// Behind all that has been put off so far: who writes often ends the stream a tick later, and wants both in one turn.
function flushSoon(): void {
  // Not by `queueMicrotask`, which makes a resource for `async_hooks` each time: that is felt where a turn brings one request.
  settled.then(flushAll);
}

/**
 * What was written before `process.exit` was called has been written, as with libuv, which writes at once: queued ops are handed to
 * the kernel, the rest is sent.
 */
function flushAtExit(): void {
  existingReactor()?.flush();
  for (const each of waiting) if (each.dirty) each.flushNow();
}

/** Whether the process is ending already. */
function isExiting(): boolean {
  return (process as { _exiting?: boolean })._exiting === true;
}

/** Has one flushed when the code that runs now is over: everybody who writes in one turn is flushed together. */
export function flushLater(dirty: Dirty): void {
  if (isExiting()) {
    // A listener of the end has written: no turn follows.
    existingReactor()?.flush();
    dirty.flushNow();
    return;
  }
  dirty.dirty = true;
  waiting.push(dirty);
  if (scheduled) return;
  scheduled = true;
  if (!watching) {
    watching = true;
    process.once('exit', flushAtExit);
  }
  process.nextTick(flushSoon);
}

/** Takes one out again. */
export function forgetFlush(dirty: Dirty): void {
  dirty.dirty = false;
}
