import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel';
import {
  ETIME,
  IORING_CQE_F_MORE,
  IORING_CQE_F_NOTIF,
  IORING_OP_TIMEOUT,
  IOSQE_FIXED_FILE,
} from '@ouro/native/abi';
import { systemError } from '../base/errors.ts';
import { opcodeName, opName } from './counts.ts';
import type { Observer } from './observer.ts';
import type { Completion } from './slots.ts';

/** One op as subscribers see it: the same object at its start, at its error and at its end. */
export interface TracedOp {
  /** What errors call it: `read`, `accept`. Part of the channel's name. */
  readonly op: string;
  /** The kernel's name of it, without the prefix: `READ`, `RECV`. */
  readonly opcode: string;
  /** The descriptor it is on; -1 for none. */
  readonly fd: number;
  /** `fd` is an index into the ring's table of direct descriptors. */
  readonly direct: boolean;
  /** Its place among the ops in flight. */
  readonly slot: number;
  /** Completions so far: more than one for multishot ops. */
  completions: number;
  /** The kernel's result, of the last completion so far: bytes, a descriptor, or an errno below zero. */
  result: number | undefined;
  /** Why it failed; also for an op that was cancelled (ECANCELED). */
  error: Error | undefined;
}

class Traced implements TracedOp {
  readonly op: string;
  readonly opcode: string;
  readonly fd: number;
  readonly direct: boolean;
  readonly slot: number;
  completions = 0;
  result: number | undefined = undefined;
  error: Error | undefined = undefined;

  constructor(slot: number, head: number, fd: number, completion: Completion) {
    this.opcode = opcodeName(head & 0xff);
    this.op = opName(head & 0xff, completion);
    this.fd = fd;
    this.direct = (head & (IOSQE_FIXED_FILE << 8)) !== 0;
    this.slot = slot;
  }
}

const TIMEOUT = opcodeName(IORING_OP_TIMEOUT);

type Channels = TracingChannel<unknown, TracedOp>;

/**
 * Publishes what becomes of ops. A subscriber is a program: he may submit ops, close handles, throw. He is therefore never
 * called where the reactor is in the middle of something (an SQE more inside a chain would tear it, a slot given back may
 * be taken while its scratch is still to be read) but right afterwards.
 */
export class Tracer implements Observer {
  readonly #channels: Map<string, Channels> = new Map();
  readonly #inFlight: (Traced | null)[] = [];
  #ended: Traced[] = [];
  /** How many want it to be installed. */
  users = 0;

  #of(op: string): Channels {
    let channels = this.#channels.get(op);
    if (channels === undefined) {
      channels = tracingChannel<unknown, TracedOp>(`ouro.${op}`);
      this.#channels.set(op, channels);
    }
    return channels;
  }

  queued(slot: number, head: number, fd: number, completion: Completion): void {
    const { start, asyncEnd, error } = this.#of(opName(head & 0xff, completion));
    if (!start.hasSubscribers && !asyncEnd.hasSubscribers && !error.hasSubscribers) {
      this.#inFlight[slot] = null;
      return;
    }
    const traced = new Traced(slot, head, fd, completion);
    this.#inFlight[slot] = traced;
    // A microtask of Node's keeps the AsyncLocalStorage of whoever submits. No completion can come before it.
    if (start.hasSubscribers) queueMicrotask(() => start.publish(traced));
  }

  completed(slot: number, result: number, cqeFlags: number): void {
    const traced = this.#inFlight[slot];
    if (traced === undefined || traced === null) return;
    traced.completions++;
    // Of the two completions of a zero-copy send the first has the result.
    if ((cqeFlags & IORING_CQE_F_NOTIF) === 0) traced.result = result;
    if ((cqeFlags & IORING_CQE_F_MORE) !== 0) return;
    this.#inFlight[slot] = null;
    this.#ended.push(traced);
  }

  batchEnded(): void {
    if (this.#ended.length === 0) return;
    const ended = this.#ended;
    this.#ended = [];
    for (const traced of ended) {
      const { asyncEnd, error } = this.#of(traced.op);
      const { result = 0 } = traced;
      if (result < 0 && !(result === ETIME && traced.opcode === TIMEOUT)) {
        traced.error = systemError(result, traced.op);
        error.publish(traced);
      }
      asyncEnd.publish(traced);
    }
  }

  /** Forgets what is in flight: its ends would be told to whoever traces next, who has not seen it start. */
  forget(): void {
    this.#inFlight.fill(null);
  }
}
