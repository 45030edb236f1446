import type { BufferPool, Lease } from '@ouro/runtime';
import { checkInteger, type Descriptor, invalidType, type OpOptions, outOfRange } from '@ouro/runtime/driver';
import type { Alignment } from '../op/direct-align.ts';
import { checkOptions } from '../options.ts';
import { CURRENT, checkPosition, type Position } from '../position.ts';
import { type MemorySource, OwnMemory, PoolMemory } from './chunk-memory.ts';
import { type ChunkLoop, Loop } from './loop.ts';
import type { Filled } from './piece.ts';
import { ReadAhead, type Stretch } from './read-ahead.ts';

/** A stretch of a file. */
export interface StretchOptions {
  /** First byte that is read. @default where the file stands, which moves on with each chunk */
  readonly start?: Position | undefined;
  /** Last byte that is read, as for `fs.createReadStream`: 0 is one byte. @default Infinity */
  readonly end?: number | bigint | undefined;
}

/** How a file is read in chunks. */
export interface ChunkOptions extends OpOptions, StretchOptions {
  /** Bytes of a chunk. The last one is shorter, and so may be all of what is no regular file. @default 131072 */
  readonly size?: number | undefined;
  /** Reads in flight at most, each with memory for one chunk; of what is no regular file there is one. @default 4 */
  readonly ahead?: number | undefined;
  /** Milliseconds that the wait for one chunk may take. @default none */
  readonly timeout?: number | undefined;
}

/** How a file is read into memory that is used again. */
export interface LeaseOptions extends Omit<ChunkOptions, 'size'> {
  /** Bring leases of pool memory, to be released, in the place of Buffers. */
  readonly lease: true;
  /** Whose buffers. While all are lent nothing is read. @default one for this loop: `ahead` times two of `size` */
  readonly pool?: BufferPool | undefined;
  /** Bytes of a chunk; of a pool it is the pool's. @default 131072 */
  readonly size?: number | undefined;
}

/** Small enough for the second cache, and for malloc to have it without asking the kernel: see docs/files.md. */
export const CHUNK_BYTES = 131_072;
const AHEAD = 4;
const MOST_AHEAD = 1024;
const MOST_CHUNK = 2 ** 30;

/**
 * A chunk in memory of a pool, lent. Release it when you have done with it: `using chunk = …` does so at the end of the
 * block. Afterwards its bytes are another chunk's.
 */
export class ChunkLease implements Disposable {
  readonly #lease: Lease;
  readonly #buffer: Buffer;

  /** @internal */
  constructor(lease: Lease, buffer: Buffer) {
    this.#lease = lease;
    this.#buffer = buffer;
  }

  /** The bytes of the chunk. @throws Error with `code: 'ERR_INVALID_STATE'` once released */
  get buffer(): Buffer {
    return this.#lease.released ? this.#lease.buffer : this.#buffer;
  }

  /** The bytes in memory of their own. */
  copy(): Buffer {
    return Buffer.from(this.buffer);
  }

  /** Whether it has been given back. */
  get released(): boolean {
    return this.#lease.released;
  }

  /** Gives the memory back. Releasing twice is one release. */
  release(): void {
    this.#lease.release();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** `start` and `end` of options, checked; with how many reads may be in flight. */
export function checkStretch({ start, end }: StretchOptions, ahead: unknown = AHEAD): Stretch {
  const first = checkPosition(start, 'options.start');
  checkInteger('options.ahead', ahead, 1, MOST_AHEAD);
  if (end === undefined || end === Number.POSITIVE_INFINITY) {
    return { start: first, end: Number.POSITIVE_INFINITY, ahead };
  }
  const last = checkPosition(end, 'options.end');
  if (first !== CURRENT && last < first) throw outOfRange('options.end', `>= ${first} (start)`, end);
  return { start: first, end: last + 1, ahead };
}

/** Bytes of a chunk, checked. */
export function checkSize(size: unknown, name = 'options.size'): number {
  checkInteger(name, size, 1, MOST_CHUNK);
  return size;
}

/** What is handed out of one read. */
type Take<T> = (reader: ReadAhead, filled: Filled) => T;

/** Little of a long memory is copied out of it, so that it does not hold the rest: up to a quarter. */
const LITTLE = 4;

/** A Buffer that is the taker's. */
export function ownChunk(reader: ReadAhead, { memory, length }: Filled): Buffer {
  const { bytes } = memory;
  if (length > bytes.length / LITTLE) return length === bytes.length ? bytes : bytes.subarray(0, length);
  const chunk = Buffer.allocUnsafeSlow(length);
  bytes.copy(chunk, 0, 0, length);
  reader.giveBack(memory);
  return chunk;
}

function leasedChunk(_reader: ReadAhead, { memory, length }: Filled): ChunkLease {
  const { lease, bytes } = memory;
  if (lease === null) throw new TypeError('The memory is not lent');
  return new ChunkLease(lease, bytes.subarray(0, length));
}

function sourceOf(options: ChunkOptions | LeaseOptions, ahead: number): MemorySource {
  const { pool } = options as LeaseOptions;
  if (pool !== undefined) {
    if (typeof pool !== 'object' || pool === null || typeof pool.acquire !== 'function')
      throw invalidType('options.pool', 'an instance of BufferPool', pool);
    return PoolMemory.of(pool);
  }
  return PoolMemory.own(ahead * 2, checkSize(options.size ?? CHUNK_BYTES));
}

function isLeased(options: ChunkOptions | LeaseOptions): options is LeaseOptions {
  const { lease } = options as { lease?: unknown };
  if (lease !== undefined && typeof lease !== 'boolean')
    throw invalidType('options.lease', 'of type boolean', lease);
  return lease === true;
}

/** A reader of a stretch of a file, with what it hands out. */
function readerOf(
  descriptor: Descriptor,
  given: ChunkOptions | LeaseOptions | undefined,
  alignment: Alignment | null,
): readonly [ReadAhead, Take<Buffer | ChunkLease>] {
  const options = checkOptions(given) ?? {};
  const stretch = { ...checkStretch(options, options.ahead), alignment };
  if (isLeased(options))
    return [new ReadAhead(descriptor, sourceOf(options, stretch.ahead), stretch, given), leasedChunk];
  const source = new OwnMemory(checkSize(options.size ?? CHUNK_BYTES), alignment?.memory);
  return [new ReadAhead(descriptor, source, stretch, given), ownChunk];
}

class Chunks<T> extends Loop<T> {
  readonly #result: (filled: Filled | null) => IteratorResult<T, undefined>;

  constructor(reader: ReadAhead, take: Take<T>) {
    super(reader);
    this.#result = (filled) =>
      filled === null ? { done: true, value: undefined } : { done: false, value: take(reader, filled) };
  }

  override next(): Promise<IteratorResult<T, undefined>> {
    return this.reader.next(this.#result);
  }
}

class Batches<T> extends Loop<T[]> {
  readonly #take: Take<T>;

  constructor(reader: ReadAhead, take: Take<T>) {
    super(reader);
    this.#take = take;
  }

  override async next(): Promise<IteratorResult<T[], undefined>> {
    const { reader } = this;
    const take = this.#take;
    // When this goes on, all that one turn has brought is there.
    const first = await reader.next((filled) => (filled === null ? null : [take(reader, filled)]));
    if (first === null) return { done: true, value: undefined };
    const { ahead } = reader.stretch;
    while (first.length < ahead) {
      const filled = reader.ready();
      if (filled === undefined) break;
      first.push(take(reader, filled));
    }
    return { done: false, value: first };
  }
}

/** See `File.chunks`. */
export function chunks(
  descriptor: Descriptor,
  options: ChunkOptions | LeaseOptions | undefined,
  alignment: Alignment | null,
): ChunkLoop<Buffer | ChunkLease> {
  return new Chunks(...readerOf(descriptor, options, alignment));
}

/** See `File.batches`. */
export function batches(
  descriptor: Descriptor,
  options: ChunkOptions | LeaseOptions | undefined,
  alignment: Alignment | null,
): ChunkLoop<(Buffer | ChunkLease)[]> {
  return new Batches(...readerOf(descriptor, options, alignment));
}
