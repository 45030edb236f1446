import {
  API_CALLS,
  BATCHES,
  CQES,
  ENTERS,
  IN_FLIGHT,
  LOOP_VISITS,
  OVERFLOWS,
  SQ_HEAD,
  SQ_TAIL,
  SQES,
  WAITS,
} from '@ouro/native/layout';
import { existingReactor } from './reactor.ts';

/** What this thread's ring has done since it was made. All are counts. */
export interface Metrics {
  /** The engine that runs, null before the first op. */
  readonly driver: 'uring' | null;
  /** Ops handed to the kernel. */
  readonly sqes: number;
  /** `io_uring_enter` calls. */
  readonly enters: number;
  /** Ops for each system call; 0 before the first. */
  readonly sqesPerEnter: number;
  /** Completions reaped. */
  readonly cqes: number;
  /** Entries into JavaScript; each brought all completions there were. */
  readonly batches: number;
  /** Enters that were allowed to sleep. */
  readonly waits: number;
  /** Ops the kernel has and has not finished. */
  readonly inFlight: number;
  /** Ops written and not yet handed over. */
  readonly queued: number;
  /** Ops whose future has not settled. */
  readonly pending: number;
  /** Times the completion queue was found overflown. Nothing is lost then. */
  readonly overflows: number;
  /** Times libuv was given its turn. */
  readonly loopVisits: number;
  /** Calls from JavaScript into the engine: set-up, and a full queue. None of them for an op. */
  readonly apiCalls: number;
  /** Completions that came for a slot already given on. A defect if not 0. */
  readonly stale: number;
}

const NOTHING: Metrics = {
  driver: null,
  sqes: 0,
  enters: 0,
  sqesPerEnter: 0,
  cqes: 0,
  batches: 0,
  waits: 0,
  inFlight: 0,
  queued: 0,
  pending: 0,
  overflows: 0,
  loopVisits: 0,
  apiCalls: 0,
  stale: 0,
};

/** The counters of this thread's ring. Asking makes no ring. */
export function metrics(): Metrics {
  const r = existingReactor();
  if (r === undefined) return NOTHING;
  const { counters, words } = r;
  const sqes = counters[SQES];
  const enters = counters[ENTERS];
  return {
    driver: 'uring',
    sqes,
    enters,
    sqesPerEnter: enters === 0 ? 0 : sqes / enters,
    cqes: counters[CQES],
    batches: counters[BATCHES],
    waits: counters[WAITS],
    inFlight: words[IN_FLIGHT],
    queued: (words[SQ_TAIL] - words[SQ_HEAD]) >>> 0,
    pending: r.slots.taken,
    overflows: counters[OVERFLOWS],
    loopVisits: counters[LOOP_VISITS],
    apiCalls: counters[API_CALLS],
    stale: r.stale,
  };
}
