import { constants as limits } from 'node:buffer';
import {
  type Bytes,
  type Descriptor,
  type Future,
  flow,
  NOT_FIXED,
  type OpOptions,
  reactor,
  type Steps,
} from '@ouro/runtime/driver';
import type { Alignment } from '../op/direct-align.ts';
import { CURRENT } from '../position.ts';
import { type Memory, type MemorySource, OwnMemory } from './chunk-memory.ts';
import type { Filled } from './piece.ts';
import { ReadAhead } from './read-ahead.ts';

/** How the rest of a file is read. */
export interface ReadRestOptions extends OpOptions {
  /** Resolve to a string in this encoding. */
  readonly encoding?: BufferEncoding | null | undefined;
}

/** First piece of a file whose size is not known; later ones double. */
const FIRST_PIECE = 16_384;
const MOST_PIECE = 4 << 20;
/** Is there more than the size says? */
const PROBE = 4096;
const ALIGNED_PIECE = 1 << 20;

/** Memory that is filled from one end to the other, and grows by pieces if need be. No script sees it before the end. */
class Growing implements MemorySource {
  readonly most: number = limits.MAX_LENGTH;
  readonly #pieces: Buffer[] = [];
  #piece: Buffer;
  #address: number;
  #filled = 0;
  readonly #sized: boolean;

  constructor(size: number) {
    this.#sized = size > 0;
    this.#piece = Buffer.allocUnsafeSlow(size > 0 ? size : FIRST_PIECE);
    this.#address = reactor().addon.addressOf(this.#piece);
  }

  take(): Memory {
    if (this.#filled === this.#piece.length) this.#grow();
    const filled = this.#filled;
    return {
      bytes: this.#piece.subarray(filled),
      address: this.#address + filled,
      fixed: NOT_FIXED,
      lease: null,
    };
  }

  #grow(): void {
    const { length } = this.#piece;
    this.#pieces.push(this.#piece);
    const more =
      this.#sized && this.#pieces.length === 1 ? PROBE : Math.min(Math.max(length, PROBE) * 2, MOST_PIECE);
    this.#piece = Buffer.allocUnsafeSlow(more);
    this.#address = reactor().addon.addressOf(this.#piece);
    this.#filled = 0;
  }

  advance(count: number): void {
    this.#filled += count;
  }

  giveBack(): void {}
  whenFree(): void {}
  close(): void {}

  content(): Buffer {
    const last = this.#piece.subarray(0, this.#filled);
    if (this.#pieces.length === 0) return last;
    return this.#pieces.length === 1 && last.length === 0
      ? this.#pieces[0]
      : Buffer.concat([...this.#pieces, last]);
  }

  get length(): number {
    return this.#pieces.reduce((sum, { length }) => sum + length, this.#filled);
  }
}

/** See `File.readFile`. */
export function readRest(
  descriptor: Descriptor,
  options: ReadRestOptions,
  alignment: Alignment | null,
): Future<Buffer | string> {
  return flow(async (steps) => {
    if (alignment !== null) {
      const content = Buffer.concat(await alignedPieces(steps, descriptor, alignment));
      return options.encoding ? content.toString(options.encoding) : content;
    }
    const { addon } = reactor();
    const { fd } = descriptor;
    const size = fd < 0 ? 0 : addon.sizeHint(fd) - Math.max(addon.seek(fd, CURRENT), 0);
    if (size > limits.MAX_LENGTH) {
      throw Object.assign(
        new RangeError(`File size (${size}) is greater than the longest Buffer (${limits.MAX_LENGTH} bytes)`),
        { code: 'ERR_FS_FILE_TOO_LARGE' },
      );
    }
    const memory = new Growing(size);
    // One read at a time: each begins where the last one ended, in memory as in the file.
    const reader = new ReadAhead(descriptor, memory, {
      start: CURRENT,
      end: Number.POSITIVE_INFINITY,
      ahead: 1,
    });
    const advance = (filled: Filled | null): boolean => {
      if (filled !== null) memory.advance(filled.length);
      return filled !== null;
    };
    try {
      while (await steps.step(reader.next(advance)));
      const content = memory.content();
      return options.encoding ? content.toString(options.encoding) : content;
    } catch (error) {
      if (memory.length > 0 && error instanceof Error)
        Object.assign(error, { bytesTransferred: memory.length });
      throw error;
    }
  }, options);
}

/** The rest of a file that is open for direct I/O. */
async function alignedPieces(
  steps: Steps,
  descriptor: Descriptor,
  alignment: Alignment,
): Promise<readonly Buffer[]> {
  const stretch = { start: CURRENT, end: Number.POSITIVE_INFINITY, ahead: 4, alignment };
  const reader = new ReadAhead(descriptor, new OwnMemory(ALIGNED_PIECE, alignment.memory), stretch);
  const pieces: Buffer[] = [];
  const keep = (filled: Filled | null): boolean => {
    if (filled !== null) pieces.push(filled.memory.bytes.subarray(0, filled.length));
    return filled !== null;
  };
  try {
    while (await steps.step(reader.next(keep)));
    return pieces;
  } finally {
    await reader.stop();
  }
}

/** What `File.writeFile` writes: bytes, text, or several of them, one after the other. */
export type WriteFileData = Bytes | string | Iterable<Bytes | string> | AsyncIterable<Bytes | string>;

/** Whether it is several. */
export function isSeveral(data: unknown): data is Iterable<Bytes | string> | AsyncIterable<Bytes | string> {
  if (typeof data !== 'object' || data === null || ArrayBuffer.isView(data)) return false;
  return Symbol.asyncIterator in data || Symbol.iterator in data;
}
