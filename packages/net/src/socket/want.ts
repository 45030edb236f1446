import { ECANCELED } from '@ouro/native/abi';
import { asBytes, type Bytes } from '@ouro/runtime/driver';
import { socketError, unexpectedEnd } from '../errors.ts';
import type { Arrivals } from './arrivals.ts';
import type { ChunkLease } from './chunk-lease.ts';

/** What somebody waits for to arrive. */
export interface Want<T> {
  /** Whether several may wait for the like of it, each getting what comes next: loops do. A read waits alone. */
  readonly shared: boolean;
  /** Whether the memory of what it gets may be that of other chunks too. */
  readonly pooled: boolean;
  /** Whether it is chunks that are to be lent (or not); null where that makes no difference. */
  readonly lends: boolean | null;
  /** Bytes that may lie there before it has what it wants. */
  readonly most: number;
  /** Bytes that it has taken already, of what it wants. */
  readonly taken: number;
  /** It, made of what has arrived; undefined if that is not enough. At least one byte has. */
  take(arrivals: Arrivals): T | undefined;
  /** It, or what it throws, where no more bytes come. */
  end(arrivals: Arrivals): T;
  /** The same where the stream has been closed meanwhile. */
  closed(): T;
}

type Result<T> = IteratorResult<T, undefined>;

const done = (): Result<never> => ({ done: true, value: undefined });
const value = <T>(it: T): Result<T> => ({ done: false, value: it });

/** What all wants of loops are like. */
const LOOP = { shared: true, pooled: false, most: 0, taken: 0, end: done, closed: done } as const;

/** The next chunk. One and the same object for all, which is how the usual case is told. */
export const nextChunk: Want<Result<Buffer>> = {
  ...LOOP,
  pooled: true,
  lends: false,
  take: (arrivals) => value(arrivals.shift(true)),
};

/** The next chunk, for somebody who hands its memory on. */
export const nextFresh: Want<Result<Buffer>> = {
  ...nextChunk,
  pooled: false,
  take: (arrivals) => value(arrivals.shift(false)),
};

/** The next chunk, lent. */
export const nextLease: Want<Result<ChunkLease>> = {
  ...LOOP,
  lends: true,
  take: (arrivals) => value(arrivals.shiftLease()),
};

/** All chunks, up to one whose memory is lost. @throws Error that says so, if that is the first */
function all<C>(arrivals: Arrivals, shift: () => C): Result<C[]> {
  const batch: C[] = [];
  try {
    while (arrivals.bytes > 0) batch.push(shift());
  } catch (error) {
    if (batch.length === 0) throw error;
  }
  return value(batch);
}

/** All chunks. */
export const nextBatch: Want<Result<Buffer[]>> = {
  ...LOOP,
  pooled: true,
  lends: false,
  take: (arrivals) => all(arrivals, () => arrivals.shift(true)),
};

/** All chunks, lent. */
export const nextLeases: Want<Result<ChunkLease[]>> = {
  ...LOOP,
  lends: true,
  take: (arrivals) => all(arrivals, () => arrivals.shiftLease()),
};

/** What is not for loops. */
abstract class Reading<T> implements Want<T> {
  readonly shared = false;
  readonly pooled = false;
  readonly lends: boolean | null = null;
  abstract readonly most: number;
  taken = 0;
  abstract take(arrivals: Arrivals): T | undefined;
  abstract end(arrivals: Arrivals): T;

  closed(): T {
    const error = socketError(ECANCELED, 'read');
    throw this.taken > 0 ? Object.assign(error, { bytesTransferred: this.taken }) : error;
  }
}

/** Into a buffer, as much as there is. Memory that is gone by then costs no bytes. */
export class ReadInto extends Reading<number> {
  override readonly most = 0;
  readonly #view: Bytes;

  constructor(view: Bytes) {
    super();
    this.#view = view;
  }

  override take(arrivals: Arrivals): number {
    const target = asBytes(this.#view);
    if (target.length === 0)
      throw new TypeError('The buffer has shrunk to nothing while the read was waiting');
    return arrivals.moveInto(target);
  }

  override end(): number {
    return 0;
  }
}

/** Into a buffer, until it is full. */
export class ReadFull extends Reading<number> {
  override readonly most = 0;
  readonly #view: Bytes;
  readonly #length: number;

  constructor(view: Bytes, length: number) {
    super();
    this.#view = view;
    this.#length = length;
  }

  override take(arrivals: Arrivals): number | undefined {
    const target = asBytes(this.#view);
    if (target.length < this.#length) throw new TypeError('The buffer has shrunk while the read was waiting');
    this.taken += arrivals.moveInto(target.subarray(this.taken, this.#length));
    return this.taken === this.#length ? this.taken : undefined;
  }

  override end(): number {
    throw unexpectedEnd(`${this.taken} of ${this.#length} bytes had arrived`, this.taken);
  }
}

/** Up to the end of a delimiter. */
export class ReadUntil extends Reading<Buffer> {
  override readonly most: number;
  readonly #delimiter: Uint8Array;
  /** Where to look on, as long as nothing more is put in front. */
  #from = 0;
  #fronted = 0;

  constructor(delimiter: Uint8Array, most: number) {
    super();
    this.#delimiter = delimiter;
    this.most = most;
  }

  override take(arrivals: Arrivals): Buffer | undefined {
    const { length } = this.#delimiter;
    if (this.#fronted !== arrivals.fronted) this.#from = 0;
    this.#fronted = arrivals.fronted;
    const at = arrivals.find(this.#delimiter, this.#from);
    if (at < 0 ? arrivals.bytes >= this.most : at + length > this.most) {
      throw Object.assign(
        new RangeError(`No delimiter within the first ${this.most} bytes ("options.maxLength")`),
        { code: 'ERR_OUT_OF_RANGE' },
      );
    }
    if (at >= 0) return arrivals.take(at + length);
    this.#from = Math.max(0, arrivals.bytes - length + 1);
    return undefined;
  }

  override end(arrivals: Arrivals): Buffer {
    if (arrivals.bytes === 0) return Buffer.alloc(0);
    throw unexpectedEnd(`${arrivals.bytes} bytes without the delimiter can still be read`);
  }
}
