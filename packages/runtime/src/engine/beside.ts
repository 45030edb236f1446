import type { Addon } from '@ouro/native';
import { IO_URING_OP_SUPPORTED } from '@ouro/native/abi';
import { SQ_HEAD, SQ_TAIL, SQE_WORDS } from '@ouro/native/layout';

/** The poll engine beside the kernel's ring, for the ops that this kernel lacks: its queue. */
export class Beside {
  readonly #addon: Addon;
  readonly #words: Uint32Array;
  readonly #sqes: Uint32Array;
  readonly #entries: number;
  readonly #opcodes: Uint8Array;

  private constructor(
    addon: Addon,
    shared: ArrayBuffer,
    sqes: ArrayBuffer,
    entries: number,
    opcodes: Uint8Array,
  ) {
    this.#addon = addon;
    this.#words = new Uint32Array(shared);
    this.#sqes = new Uint32Array(sqes);
    this.#entries = entries;
    this.#opcodes = opcodes;
  }

  /** Puts it there. Answers an errno, below zero, where that does not go. */
  static open(addon: Addon): Beside | number {
    const description = addon.beside();
    if (typeof description === 'number') return description;
    const { shared, sqes, sqEntries, opcodes } = description;
    return new Beside(addon, shared, sqes, sqEntries, opcodes);
  }

  supports(opcode: number): boolean {
    return ((this.#opcodes[opcode] ?? 0) & IO_URING_OP_SUPPORTED) !== 0;
  }

  /** Queues a copy of the SQE that begins at `at` in `sqes`. */
  push(sqes: Uint32Array, at: number): void {
    const words = this.#words;
    if ((words[SQ_TAIL] - words[SQ_HEAD]) >>> 0 >= this.#entries) this.#addon.submit();
    const to = (words[SQ_TAIL] & (this.#entries - 1)) * SQE_WORDS;
    for (let word = 0; word < SQE_WORDS; word++) this.#sqes[to + word] = sqes[at + word];
    words[SQ_TAIL]++;
  }
}
