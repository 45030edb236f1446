import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { opName } from '../engine/counts.ts';
import type { Observer } from '../engine/observer.ts';
import type { Reactor } from '../engine/reactor.ts';
import type { Completion } from '../engine/slots.ts';
import { existingReactor, reactor } from '../engine/thread.ts';

// A histogram has memory for the range it was given: an hour at two figures is 30 KiB, all integers at three 360 KiB.
const MOST_NS = 3_600_000_000_000;
const FIGURES = 2;

/** Notes when each op is queued, and for each name how long it took to its first completion. */
class Latency implements Observer {
  readonly histograms: Map<string, RecordableHistogram> = new Map();
  readonly #reactor: Reactor;
  /** When the op in each slot was queued, in ms; 0 if nobody saw that, or its first completion has come. */
  #began: Float64Array = new Float64Array(0);
  #names: string[] = [];

  constructor(r: Reactor) {
    this.#reactor = r;
  }

  queued(slot: number, head: number, _fd: number, completion: Completion): void {
    const { capacity } = this.#reactor.slots;
    if (this.#began.length < capacity) {
      const before = this.#began;
      this.#began = new Float64Array(capacity);
      this.#began.set(before);
    }
    this.#names[slot] = opName(head & 0xff, completion);
    this.#began[slot] = performance.now();
  }

  completed(slot: number): void {
    const began = this.#began[slot];
    if (began === undefined || began === 0) return;
    this.#began[slot] = 0;
    const ns = Math.round((performance.now() - began) * 1e6);
    this.#histogram(this.#names[slot]).record(Math.min(Math.max(ns, 1), MOST_NS));
  }

  #histogram(name: string): RecordableHistogram {
    let found = this.histograms.get(name);
    if (found === undefined) {
      found = createHistogram({ lowest: 1, highest: MOST_NS, figures: FIGURES });
      this.histograms.set(name, found);
    }
    return found;
  }

  /** Forgets what is in flight: it would be taken for something newer when measuring goes on. */
  forget(): void {
    this.#began.fill(0);
  }

  batchEnded(): void {
    // All has been noted already.
  }
}

let latency: Latency | undefined;
let measuring = false;

/**
 * Begins or ends measuring how long each op takes: from the moment it is queued to the moment its first completion comes
 * to JavaScript, the wait for the end of the turn included. Off costs nothing; on, an op takes about 0.15 µs more. Makes
 * this thread's ring if there is none and `on` is true.
 *
 * What has been measured stays: `latencies()` gives it, and `reset()` of a histogram empties it.
 *
 * @throws UringUnavailableError where io_uring is denied
 */
export function measureLatency(on = true): void {
  if (on === measuring) return;
  if (on) {
    const r = reactor();
    latency ??= new Latency(r);
    r.observe(latency);
  } else if (latency !== undefined) {
    existingReactor()?.unobserve(latency);
    latency.forget();
  }
  measuring = on;
}

/**
 * What has been measured since `measureLatency`: for each kind of op, by the name that errors give it (`read`, `accept`),
 * its latencies in nanoseconds, to two figures. Empty where nothing was.
 */
export function latencies(): ReadonlyMap<string, RecordableHistogram> {
  return new Map(latency?.histograms);
}
