import type { Addon } from '@ouro/native';

/** Whoever waits for the completions of one SQE. */
export interface Completion {
  /** A result of zero or more is a descriptor. Whoever says so must close it or hand it on. */
  readonly resultIsFd: boolean;
  /** What diagnostics call it. */
  readonly name?: string;
  /** Whether the op keeps the process alive. Read when it is submitted; `Reactor.setRef` changes it later. */
  readonly refed: boolean;
  /**
   * Called once for each CQE. When `flags` lack `IORING_CQE_F_MORE` it was the last, and the slot and its scratch
   * belong to somebody else as soon as this returns.
   */
  complete(result: number, flags: number): void;
}

/** Bytes of scratch memory a slot has: room for a path of 239 bytes, a `struct statx` behind it, and a timespec. */
export const SCRATCH_SIZE = 512;
/** Where in the scratch the timespec of a linked timeout lies. What lies before is the op's. */
export const TIMEOUT_AT = 496;
/**
 * Beside the `IOSQE_*` bits of an op: its `off` and `addr` are whole 64-bit words (`user_data` of another op), which a
 * number cannot hold, and lie in the first 16 bytes of the slot's scratch, `off` first.
 */
export const WIDE_OPERANDS = 0x80;
const CHUNK_BITS = 10;
const CHUNK = 1 << CHUNK_BITS;

/** A stretch of scratch memory: that of `CHUNK` slots. */
export interface ScratchChunk {
  readonly address: number;
  readonly bytes: Buffer;
  readonly words: Uint32Array;
}

/** Who knows the scratch memory of each slot. */
export interface Scratch {
  scratch(slot: number): ScratchChunk;
  scratchAddress(slot: number): number;
}

/**
 * The table of ops in flight. A slot is taken when an op is made and given back at its last CQE; in between it
 * owns `SCRATCH_SIZE` bytes of memory that never moves, for what the kernel reads or writes beside the caller's
 * buffer: paths, addresses, timespecs, results. A slot is named to the kernel together with its generation, so
 * that a late CQE can never be taken for somebody else's.
 */
export class Slots {
  readonly #addon: Addon;
  readonly completions: (Completion | null)[] = [];
  /** The high word of user_data of each slot's op, the three bits that say what it does with descriptors and memory included. */
  generations: Int32Array = new Int32Array(0);
  /** 1 where the slot's op is counted among those that keep the process alive. */
  refed: Uint8Array = new Uint8Array(0);
  /** The opcode of each slot's op. */
  opcodes: Uint8Array = new Uint8Array(0);
  readonly #scratch: ScratchChunk[] = [];
  // A stack: the slot given back last is taken first, with its scratch still in the cache.
  #free: Int32Array = new Int32Array(0);
  #freeCount = 0;
  // Not the same in all threads: a message to the ring of a thread that has ended, whose descriptor number is another
  // ring's by now, must not name an op of that one.
  readonly #firstGeneration: number = Math.floor(Math.random() * 0x2000_0000);

  constructor(addon: Addon) {
    this.#addon = addon;
  }

  /** Slots there are, taken or free. */
  get capacity(): number {
    return this.completions.length;
  }

  /** Slots taken. */
  get taken(): number {
    return this.completions.length - this.#freeCount;
  }

  take(completion: Completion): number {
    if (this.#freeCount === 0) this.#grow();
    const slot = this.#free[--this.#freeCount];
    this.completions[slot] = completion;
    const next = (this.generations[slot] + 1) & 0x1fff_ffff;
    this.generations[slot] = completion.resultIsFd ? next | 0x8000_0000 : next;
    return slot;
  }

  release(slot: number): void {
    this.completions[slot] = null;
    this.#free[this.#freeCount++] = slot;
  }

  /** The chunk that holds a slot's scratch; it begins at `scratchOffset(slot)` in it. */
  scratch(slot: number): ScratchChunk {
    return this.#scratch[slot >> CHUNK_BITS];
  }

  #grow(): void {
    const memory = this.#addon.allocate(CHUNK * SCRATCH_SIZE);
    if (typeof memory === 'number') throw new RangeError(`No memory for ${CHUNK} more ops in flight`);
    const bytes = Buffer.from(memory);
    this.#scratch.push({ address: this.#addon.addressOf(bytes), bytes, words: new Uint32Array(memory) });
    const before = this.completions.length;
    const after = before + CHUNK;
    const generations = new Int32Array(after).fill(this.#firstGeneration);
    generations.set(this.generations);
    const refed = new Uint8Array(after);
    refed.set(this.refed);
    const opcodes = new Uint8Array(after);
    opcodes.set(this.opcodes);
    const free = new Int32Array(after);
    this.generations = generations;
    this.refed = refed;
    this.opcodes = opcodes;
    this.#free = free;
    for (let slot = after - 1; slot >= before; slot--) {
      this.completions[slot] = null;
      free[this.#freeCount++] = slot;
    }
  }
}

/** Where a slot's scratch begins inside its chunk, in bytes. */
export function scratchOffset(slot: number): number {
  return (slot & (CHUNK - 1)) * SCRATCH_SIZE;
}
