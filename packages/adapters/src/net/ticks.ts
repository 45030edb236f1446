import { soon } from '../timers.ts';

/** A call of the program that has thrown: loud, and without losing what others get in the same batch. */
export function rethrow(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}

/**
 * Calls the program back as libuv would: `process.nextTick` callbacks and microtasks of one callback run before the next one is
 * called. One batch of completions brings many and runs those at its end, so that beginnings and ends of connections, which must not
 * see each other's midst, go through `setImmediate`, which does that between any two. (What a socket has read does not: that is the
 * many.)
 */
export function callBack(call: () => void): void {
  waiting++;
  soon(() => {
    waiting--;
    call();
  });
}

let waiting = 0;

/** Whether somebody waits to be called back: who comes later in the same batch is to come later to the program as well. */
export function othersWait(): boolean {
  return waiting > 0;
}
