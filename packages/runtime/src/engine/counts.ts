import {
  ECANCELED,
  ENOBUFS,
  ETIME,
  IORING_CQE_F_NOTIF,
  IORING_OP_READ,
  IORING_OP_READ_MULTISHOT,
  IORING_OP_RECV,
  IORING_OP_RECVMSG,
  IORING_OP_TIMEOUT,
  OPCODE_NAMES,
  OURO_OP_FIRST,
  OURO_OPCODE_NAMES,
} from '@ouro/native/abi';
import type { Completion, Slots } from './slots.ts';

/** What has become of the ops of one opcode. */
export interface OpMetrics {
  /** SQEs written for the kernel. A transfer in several pieces is several. */
  readonly submitted: number;
  /** Those the kernel has not finished. */
  readonly inFlight: number;
  /** Those that ended well; a timeout that ran its time is one. */
  readonly completed: number;
  /** Those that ended with an error. */
  readonly failed: number;
  /** Those that ended with ECANCELED: cancelled, timed out, or behind a broken link of a chain. */
  readonly cancelled: number;
  /** Completions that were not their op's last, as those of a multishot accept. */
  readonly shots: number;
  /** Requests whose completion nobody looks at: cancellations, linked timeouts, closes of what nobody took. */
  readonly unseen: number;
  /** Ops done without the ring because the kernel lacks the opcode. Not among `submitted`. */
  readonly elsewhere: number;
}

const OPCODES = 256;

/**
 * Counts by opcode. An op that ends well costs one increment, when it is submitted: what has completed is what is left
 * of those when the others are taken away.
 */
export class OpCounts {
  readonly submitted: Float64Array = new Float64Array(OPCODES);
  readonly unseen: Float64Array = new Float64Array(OPCODES);
  readonly shots: Float64Array = new Float64Array(OPCODES);
  readonly elsewhere: Float64Array = new Float64Array(OPCODES);
  readonly #failed: Float64Array = new Float64Array(OPCODES);
  readonly #cancelled: Float64Array = new Float64Array(OPCODES);
  /** Receives that ended because no provided buffer was left. */
  starved = 0;

  /** Notes a completion below zero. */
  failure(opcode: number, result: number, cqeFlags: number): void {
    // Of a zero-copy send the first completion says how it ended; the result of the other one is made of flags.
    if ((cqeFlags & IORING_CQE_F_NOTIF) !== 0) return;
    if (result === ETIME && opcode === IORING_OP_TIMEOUT) return;
    if (result === ECANCELED) this.#cancelled[opcode]++;
    else this.#failed[opcode]++;
    if (result === ENOBUFS && selectsBuffers(opcode)) this.starved++;
  }

  /** The counts of each opcode that has any, by its name. */
  byName(slots: Slots): Record<string, OpMetrics> {
    const inFlight = new Float64Array(OPCODES);
    for (let slot = 0; slot < slots.capacity; slot++) {
      if (slots.completions[slot] !== null) inFlight[slots.opcodes[slot]]++;
    }
    const named: Record<string, OpMetrics> = {};
    for (let opcode = 0; opcode < OPCODES; opcode++) {
      const submitted = this.submitted[opcode];
      const unseen = this.unseen[opcode];
      const elsewhere = this.elsewhere[opcode];
      if (submitted + unseen + elsewhere === 0) continue;
      const failed = this.#failed[opcode];
      const cancelled = this.#cancelled[opcode];
      named[opcodeName(opcode)] = {
        submitted,
        inFlight: inFlight[opcode],
        // Below 0 for a moment where a zero-copy send has failed and is still in flight.
        completed: Math.max(0, submitted - inFlight[opcode] - failed - cancelled),
        failed,
        cancelled,
        shots: this.shots[opcode],
        unseen,
        elsewhere,
      };
    }
    return named;
  }
}

/** The name of an opcode without its prefix: the kernel's, or ours. */
export function opcodeName(opcode: number): string {
  return OPCODE_NAMES[opcode] ?? OURO_OPCODE_NAMES[opcode - OURO_OP_FIRST] ?? `OP_${opcode}`;
}

/** What an op is called in diagnostics: as its completion says, which is as errors do; else by its opcode, `accept`. */
export function opName(opcode: number, completion: Completion | null): string {
  return completion?.name ?? opcodeName(opcode).toLowerCase();
}

/** ENOBUFS of other ops says something else: a network device whose queue is full. */
function selectsBuffers(opcode: number): boolean {
  return (
    opcode === IORING_OP_RECV ||
    opcode === IORING_OP_RECVMSG ||
    opcode === IORING_OP_READ ||
    opcode === IORING_OP_READ_MULTISHOT
  );
}
