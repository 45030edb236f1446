import { allocateChunk, copy, MOST_CHUNK } from './chunk.ts';
import { ChunkLease } from './chunk-lease.ts';

/** What has arrived and nobody has taken: chunks of the caller's own, or lent. */
export type Chunk = Buffer | ChunkLease;

const NONE: Buffer = Buffer.alloc(0);

const bytesOf = (chunk: Chunk): Buffer => (chunk instanceof ChunkLease ? chunk.buffer : chunk);

/** The bytes of a chunk, as the caller's own: with others of one slab if `pooled`. */
function owned(chunk: Chunk, pooled: boolean): Buffer {
  if (!(chunk instanceof ChunkLease)) return chunk;
  const { buffer, length } = chunk;
  if (!chunk.lent) {
    chunk.release();
    return buffer;
  }
  const bytes = pooled ? allocateChunk(length) : Buffer.allocUnsafeSlow(length);
  copy(buffer, 0, bytes, 0, length);
  chunk.release();
  return bytes;
}

/** A queue of chunks. */
export class Arrivals {
  readonly #chunks: Chunk[] = [];
  /** Index of the first that has not been taken; the array is emptied when it catches up. */
  #first = 0;
  #bytes = 0;
  /** A chunk, counted from the first, and the bytes before it: where `find` left off, so that many small ones cost no walk each time. */
  #passed = 0;
  #before = 0;
  /** How often something has been put in front: whoever has looked through what was there begins anew. */
  fronted = 0;

  /** Bytes in all chunks. */
  get bytes(): number {
    return this.#bytes;
  }

  push(chunk: Chunk): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  /** Puts bytes in front of all others. */
  unshift(chunk: Chunk): void {
    if (chunk.length === 0) return;
    this.fronted++;
    this.#passed = this.#before = 0;
    this.#bytes += chunk.length;
    if (this.#first > 0) this.#chunks[--this.#first] = chunk;
    else this.#chunks.unshift(chunk);
  }

  /** @throws `ERR_INVALID_STATE` if its memory is lost: then it stays, because what comes behind it is of no use */
  #shift(): Chunk {
    const chunk = this.#chunks[this.#first];
    if (chunk instanceof ChunkLease) void chunk.buffer;
    this.#first++;
    this.#passed = this.#before = 0;
    this.#bytes -= chunk.length;
    if (this.#first === this.#chunks.length) {
      this.#chunks.length = 0;
      this.#first = 0;
    }
    return chunk;
  }

  /** The first chunk, as one that the caller owns: its memory may be that of other chunks too if `pooled`. */
  shift(pooled: boolean): Buffer {
    return owned(this.#shift(), pooled);
  }

  /** The first chunk, as a lease. */
  shiftLease(): ChunkLease {
    const chunk = this.#shift();
    return chunk instanceof ChunkLease && !chunk.isInner ? chunk : ChunkLease.owned(owned(chunk, true));
  }

  /** The bytes of the first chunk, which stay where they are; empty if there is none. */
  get head(): Buffer {
    return this.#bytes === 0 ? NONE : bytesOf(this.#chunks[this.#first]);
  }

  /** Moves bytes into `target`, as many as there are and fit. */
  moveInto(target: Uint8Array): number {
    let filled = 0;
    while (filled < target.length && this.#bytes > 0) {
      const bytes = this.head;
      const count = Math.min(bytes.length, target.length - filled);
      target.set(count === bytes.length ? bytes : bytes.subarray(0, count), filled);
      this.#skip(count);
      filled += count;
    }
    return filled;
  }

  /** Drops the first `count` bytes of the first chunk. */
  #skip(count: number): void {
    const chunk = this.#chunks[this.#first];
    if (count === chunk.length) {
      this.#shift();
      if (chunk instanceof ChunkLease) chunk.release();
      return;
    }
    this.#passed = this.#before = 0;
    this.#bytes -= count;
    if (chunk instanceof ChunkLease) chunk.skip(count);
    else this.#chunks[this.#first] = chunk.subarray(count);
  }

  /**
   * The first `length` bytes, which there must be, in one Buffer that belongs to the caller: memory of its own, unless it is a whole
   * chunk, because what stays here must not go with it when the caller gives it away.
   */
  take(length: number): Buffer {
    if (length === 0) return Buffer.alloc(0);
    const head = this.#chunks[this.#first];
    if (!(head instanceof ChunkLease) && head.length === length) return this.#shift() as Buffer;
    const bytes = length > MOST_CHUNK ? Buffer.allocUnsafeSlow(length) : allocateChunk(length);
    this.moveInto(bytes);
    return bytes;
  }

  /**
   * Where `delimiter` begins, at or after `from`, whether or not it lies in one chunk; -1 if nowhere.
   *
   * @param step bytes of a character: only multiples of it count
   */
  find(delimiter: Uint8Array, from: number, step = 1): number {
    const last = this.#bytes - delimiter.length;
    if (this.#before > from) this.#passed = this.#before = 0;
    let before = this.#before;
    for (let i = this.#first + this.#passed; i < this.#chunks.length && before <= last; i++) {
      const bytes = bytesOf(this.#chunks[i]);
      const end = before + bytes.length;
      if (end > from) {
        const found = this.#findFrom(bytes, i, delimiter, Math.max(0, from - before), before, step);
        if (found >= 0 && found <= last) return found;
      } else {
        this.#passed = i + 1 - this.#first;
        this.#before = end;
      }
      before = end;
    }
    return -1;
  }

  #findFrom(
    bytes: Buffer,
    index: number,
    delimiter: Uint8Array,
    from: number,
    before: number,
    step: number,
  ): number {
    let at = bytes.indexOf(delimiter, from);
    while (at >= 0 && (before + at) % step !== 0) at = bytes.indexOf(delimiter, at + 1);
    if (at >= 0) return before + at;
    // It may begin here and go on in the next.
    for (let i = Math.max(from, bytes.length - delimiter.length + 1); i < bytes.length; i++) {
      if ((before + i) % step === 0 && this.#matches(delimiter, index, i)) return before + i;
    }
    return -1;
  }

  #matches(delimiter: Uint8Array, index: number, at: number): boolean {
    let chunk = index;
    let bytes = bytesOf(this.#chunks[chunk]);
    let i = at;
    for (const byte of delimiter) {
      while (i === bytes.length) {
        chunk++;
        if (chunk === this.#chunks.length) return false;
        bytes = bytesOf(this.#chunks[chunk]);
        i = 0;
      }
      if (bytes[i] !== byte) return false;
      i++;
    }
    return true;
  }

  /** Copies what is lent from memory that others wait for, so that it can go back. */
  own(): void {
    const chunks = this.#chunks;
    for (let i = this.#first; i < chunks.length; i++) {
      const chunk = chunks[i];
      if (chunk instanceof ChunkLease && !chunk.isInner && !chunk.lost) chunks[i] = owned(chunk, false);
    }
  }

  /** Lets go of everything. */
  clear(): void {
    for (let i = this.#first; i < this.#chunks.length; i++) {
      const chunk = this.#chunks[i];
      if (chunk instanceof ChunkLease) chunk.release();
    }
    this.#chunks.length = 0;
    this.#first = 0;
    this.#passed = this.#before = 0;
    this.#bytes = 0;
  }
}
