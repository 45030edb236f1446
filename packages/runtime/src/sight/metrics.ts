import type { Engine } from '@ouro/native';
import {
  API_CALLS,
  BATCHES,
  CQES,
  ENTERS,
  IDLE_NS,
  IN_FLIGHT,
  LOOP_VISITS,
  OVERFLOWS,
  SPIN_HITS,
  SPIN_NS,
  SPINS,
  SQ_HEAD,
  SQ_TAIL,
  SQES,
  WAITS,
  WAKEUPS,
} from '@ouro/native/layout';
import { registeredBuffers } from '../buffers/buffer-pool.ts';
import { existingFiles } from '../descriptors/direct.ts';
import type { OpMetrics } from '../engine/counts.ts';
import type { Fallback } from '../engine/engine.ts';
import { existingReactor } from '../engine/thread.ts';

/** What this thread's engine has done since it was made. All are counts, except where it says what they are. */
export interface Metrics {
  /** The engine that runs: the kernel's ring or user space. Null before the first op. */
  readonly driver: Engine | null;
  /** Why it is not the ring that runs: what denies it, or that the driver `'poll'` was asked for. Null where it is. */
  readonly fallback: Fallback | null;
  /** Ops handed to the engine. */
  readonly sqes: number;
  /** `io_uring_enter` calls; in the poll engine, the times it took the queue. */
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
  /** What has become of the ops of each opcode, by the kernel's name of it: `ops.READ`. Those never used are missing. */
  readonly ops: Readonly<Record<string, OpMetrics>>;
  /** Ops done elsewhere because the engine lacks their opcode: not to be mixed up with `fallback`. */
  readonly fallbacks: number;
  /** Receives that ended because no provided buffer was left: more than a few, and the buffers are too few. */
  readonly starved: number;
  /** Waits that began with a look at the completion queue instead of sleeping at once: see `RunOptions.spin`. */
  readonly spins: number;
  /** Spins that a completion ended: sleeps saved. */
  readonly spinHits: number;
  /** Milliseconds spent spinning. */
  readonly spinTime: number;
  /** Milliseconds asleep in the ring. */
  readonly idleTime: number;
  /** Times the kernel's submission thread had to be woken: see `RunOptions.sqpoll`. */
  readonly wakeups: number;
  /** Registered buffers: pools that are registered. */
  readonly buffers: number;
  /** Places in use in the table of direct descriptors. */
  readonly files: number;
}

const NOTHING: Metrics = {
  driver: null,
  fallback: null,
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
  ops: {},
  fallbacks: 0,
  starved: 0,
  spins: 0,
  spinHits: 0,
  spinTime: 0,
  idleTime: 0,
  wakeups: 0,
  buffers: 0,
  files: 0,
};

/** The counters of this thread's ring. Asking makes no ring. */
export function metrics(): Metrics {
  const r = existingReactor();
  if (r === undefined) return NOTHING;
  const { counters, counts, words } = r;
  const table = existingFiles(r);
  const sqes = counters[SQES];
  const enters = counters[ENTERS];
  return {
    driver: r.ring.driver,
    fallback: r.fallback,
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
    ops: counts.byName(r.slots),
    fallbacks: counts.elsewhere.reduce((sum, each) => sum + each),
    starved: counts.starved,
    spins: counters[SPINS],
    spinHits: counters[SPIN_HITS],
    spinTime: counters[SPIN_NS] / 1e6,
    idleTime: counters[IDLE_NS] / 1e6,
    wakeups: counters[WAKEUPS],
    buffers: registeredBuffers(r),
    files: table === undefined ? 0 : table.used + table.adopted,
  };
}
