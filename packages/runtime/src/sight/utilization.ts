import { type EventLoopUtilization, performance } from 'node:perf_hooks';
import { IDLE_NS } from '@ouro/native/layout';
import { existingReactor } from '../engine/thread.ts';

/** How busy this thread was: times in milliseconds, `utilization` from 0 to 1. */
export interface Utilization {
  readonly idle: number;
  readonly active: number;
  readonly utilization: number;
}

/**
 * As `performance.eventLoopUtilization`, which counts the time that we sleep in the ring as active, because it is not
 * libuv that sleeps: here it is idle. Time spent spinning is active, for it takes a CPU.
 *
 * ```js
 * const before = utilization();
 * await work();
 * console.log(utilization(before).utilization);
 * ```
 *
 * @param later without it, since the loop began; alone, from then to now
 * @param earlier from there to `later`
 */
export function utilization(later?: Utilization, earlier?: Utilization): Utilization {
  if (later !== undefined && earlier !== undefined) return between(earlier, later);
  const now = total();
  return later === undefined ? now : between(later, now);
}

function total(): Utilization {
  const { idle, active }: EventLoopUtilization = performance.eventLoopUtilization();
  const asleep = (existingReactor()?.counters[IDLE_NS] ?? 0) / 1e6;
  return share(idle + asleep, active - asleep);
}

function between(earlier: Utilization, later: Utilization): Utilization {
  return share(later.idle - earlier.idle, later.active - earlier.active);
}

function share(idle: number, active: number): Utilization {
  // Two clocks are read one after the other: what is next to nothing may come out below it.
  const busy = Math.max(0, active);
  const all = idle + busy;
  return { idle, active: busy, utilization: all > 0 ? busy / all : 0 };
}
