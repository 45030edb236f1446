/**
 * The memory that TypeScript shares with the addon, as `cpp/src/shared.hpp` lays it out. Change both together.
 */

/** Index into the control words (`Uint32Array` over the shared memory). */
export const SQ_TAIL = 0;
export const SQ_HEAD = 1;
export const REFS = 2;
export const ARMED = 3;
export const BATCH_LENGTH = 4;
export const BATCH_POSITION = 5;
export const FD_HIGH = 6;
export const IN_FLIGHT = 7;
export const CLOSING = 8;
export const SPIN_BUDGET_NS = 9;

/** Index into the counters (`Float64Array` over the shared memory). */
export const ENTERS = 5;
export const SQES = 6;
export const CQES = 7;
export const BATCHES = 8;
export const OVERFLOWS = 9;
export const LOOP_VISITS = 10;
export const API_CALLS = 11;
export const WAITS = 12;
export const SPINS = 13;
export const SPIN_HITS = 14;
export const SPIN_NS = 15;
export const IDLE_NS = 16;
export const WAKEUPS = 17;

/** Byte offset of the batch, and the 32-bit words of one completion in it: slot, generation, result, flags. */
export const BATCH_OFFSET = 4096;
export const BATCH_CAPACITY = 1024;
export const COMPLETION_WORDS = 4;

/** Byte offset of the table of closes that are linked behind other ops, and how many it has: slot, generation, fd + 1, 0. */
export const LINKED_CLOSES_OFFSET = 20_480;
export const LINKED_CLOSES = 1024;

/** 32-bit words of one SQE. */
export const SQE_WORDS = 16;

/** Top bit of the generation: a result of zero or more is a descriptor. */
export const RESULT_IS_FD = 0x8000_0000;

/** The bit below: the op closes a descriptor. */
export const CLOSES_FD = 0x4000_0000;
/** The bit below: a zero-copy send, whose memory stays lent to the network after its first completion. */
export const LENDS_MEMORY = 0x2000_0000;

/** The slot of requests whose completion nobody needs to see, such as cancellations. */
export const SLOT_IGNORED = 0xffff_ffff;
