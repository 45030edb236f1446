import {
  IORING_CQE_BUFFER_SHIFT,
  IORING_CQE_F_BUF_MORE,
  IORING_CQE_F_BUFFER,
  IORING_FEAT_MIN_TIMEOUT,
  IORING_SETUP_SQPOLL,
} from '@ouro/native/abi';
import { checkInteger, outOfRange } from '../base/errors.ts';
import type { Reactor } from '../engine/reactor.ts';
import { reactor } from '../engine/thread.ts';
import { BufferGroup, borrow, giveBack } from './buffer-group.ts';

const CACHE_LINE = 64;
const MOST_ENTRIES = 32_768;
const MOST_SIZE = 1 << 30;
/** The most that a ring may reserve: what every engine can show as one ArrayBuffer. */
const MOST_BYTES = 2 ** 32 - 4096;

/** How many buffers, and of what size. */
export interface BufferRingOptions {
  /** The most buffers that there may be: a power of two up to 32768. Only what is used becomes memory. */
  readonly entries: number;
  /** Bytes of each. */
  readonly size: number;
  /** Buffers to begin with; when they run out there are twice as many, up to `entries`. @default entries */
  readonly initial?: number | undefined;
  /** Let small receives share a buffer, where the kernel can (6.12, `IOU_PBUF_RING_INC`). @default true */
  readonly incremental?: boolean | undefined;
}

/**
 * A ring of provided buffers (5.19): the kernel takes a buffer only when data has arrived, so ten thousand idle
 * connections hold none. Mapped into JavaScript: giving a buffer back is four stores and the tail.
 */
export class BufferRing implements Disposable {
  readonly entries: number;
  /** Bytes of one buffer. */
  readonly size: number;
  /** All buffers; `take` says where in here. */
  readonly bytes: Uint8Array;
  readonly #group: BufferGroup;
  readonly #memory: ArrayBuffer;
  readonly #address: number;
  /** Bytes from the beginning of one buffer to that of the next. */
  readonly #stride: number;
  /** How far each buffer is filled: never 0 only where the kernel fills buffers piece by piece. */
  readonly #filled: Uint32Array;
  /** Which buffer was given after each: the order in which a bundle fills them. */
  readonly #following: Uint16Array;
  /** Completions of each buffer whose bytes are still in use. */
  readonly #leases: Uint32Array;
  /** 1 where the kernel has done with a buffer that is still in use. */
  readonly #spent: Uint8Array;
  #last = 0;
  #provided = 0;
  #available = 0;
  #starved = 0;
  #retired = false;
  /** Those who wait for a buffer. */
  readonly #hungry: Set<() => void> = new Set();

  /**
   * @throws RangeError for sizes that make no sense; `ENOMEM` with `syscall: 'io_uring_register'` if the limit of locked
   *   memory is too low for the ring's entries (16 bytes each; the buffers do not count)
   */
  constructor(options: BufferRingOptions) {
    const { entries, size, initial = entries, incremental = true } = options;
    checkInteger('options.entries', entries, 1, MOST_ENTRIES);
    if ((entries & (entries - 1)) !== 0) throw outOfRange('options.entries', 'a power of two', entries);
    checkInteger('options.size', size, 1, MOST_SIZE);
    checkInteger('options.initial', initial, 1, entries);
    // Buffers that begin at multiples of a large power of two would all fall into the same few sets of the cache.
    this.#stride = Math.ceil(size / CACHE_LINE) * CACHE_LINE + CACHE_LINE;
    if (entries * this.#stride > MOST_BYTES)
      throw outOfRange('options.size', `<= ${Math.floor(MOST_BYTES / entries) - 2 * CACHE_LINE}`, size);
    this.entries = entries;
    this.size = size;
    this.#filled = new Uint32Array(entries);
    this.#following = new Uint16Array(entries);
    this.#leases = new Uint32Array(entries);
    this.#spent = new Uint8Array(entries);
    this.#memory = borrow(entries * this.#stride);
    this.bytes = new Uint8Array(this.#memory);
    this.#address = reactor().addon.addressOf(this.bytes);
    try {
      this.#group = new BufferGroup(entries, incremental && supportsIncremental(reactor()));
    } catch (error) {
      giveBack(this.#memory);
      throw error;
    }
    this.#provide(initial);
  }

  /** `buf_group` of the ops that select from here. */
  get group(): number {
    return this.#group.id;
  }

  /** Whether one buffer may serve several receives, one after the other. */
  get incremental(): boolean {
    return this.#group.incremental;
  }

  /** Buffers that there are by now. */
  get provided(): number {
    return this.#provided;
  }

  /** Buffers that the kernel has, as far as completions have told. */
  get available(): number {
    return this.#available;
  }

  /** How often the kernel found no buffer (`ENOBUFS`). */
  get starved(): number {
    return this.#starved;
  }

  get closed(): boolean {
    return this.#group.closed;
  }

  /**
   * Where in `bytes` the `length` bytes lie that a completion with these flags brought. Ask once for each that has
   * `IORING_CQE_F_BUFFER`, and tell `release` its `bufferOf` when they have been used.
   */
  take(flags: number, length: number): number {
    const buffer = flags >>> IORING_CQE_BUFFER_SHIFT;
    const filled = this.#filled[buffer];
    this.#filled[buffer] = filled + length;
    this.#leases[buffer]++;
    if ((flags & IORING_CQE_F_BUF_MORE) === 0) this.#finish(buffer);
    return buffer * this.#stride + filled;
  }

  /** The buffer that a completion with these flags filled; -1 if it used none. */
  static bufferOf(flags: number): number {
    return (flags & IORING_CQE_F_BUFFER) === 0 ? -1 : flags >>> IORING_CQE_BUFFER_SHIFT;
  }

  /** Gives a buffer back to the kernel. Its bytes are the kernel's from here on. */
  #give(buffer: number): void {
    const group = this.#group;
    if (group.closed) return;
    this.#filled[buffer] = 0;
    this.#following[this.#last] = buffer;
    this.#last = buffer;
    this.#available++;
    group.add(this.#address + buffer * this.#stride, this.size, buffer);
    if (this.#hungry.size > 0) this.#wake();
  }

  /**
   * Lends what a completion with these flags brought: `length` bytes that lie in one buffer or, of a bundle, in as many
   * as it takes, in the order in which the kernel got them. Ask once for each completion.
   */
  lease(flags: number, length: number): RingLease {
    const pieces: Uint8Array[] = [];
    const buffers: number[] = [];
    let buffer = flags >>> IORING_CQE_BUFFER_SHIFT;
    let left = length;
    for (;;) {
      const filled = this.#filled[buffer];
      const part = Math.min(left, this.size - filled);
      const at = buffer * this.#stride + filled;
      pieces.push(this.bytes.subarray(at, at + part));
      buffers.push(buffer);
      this.#filled[buffer] = filled + part;
      this.#leases[buffer]++;
      left -= part;
      if (left === 0) {
        // Only of the last one the kernel may go on to fill the rest.
        if ((flags & IORING_CQE_F_BUF_MORE) === 0) this.#finish(buffer);
        return new RingLease(this, pieces, buffers);
      }
      this.#finish(buffer);
      buffer = this.#following[buffer];
    }
  }

  #finish(buffer: number): void {
    this.#spent[buffer] = 1;
    this.#available--;
  }

  /**
   * Notes that the bytes of one completion have been used. Others may have brought more of the same buffer: the kernel gets
   * it back when all of them have been, and it has done with it itself. (Not when its last bytes have: who got those
   * may be done before the others, and a full queue is flushed at any time.)
   */
  release(buffer: number): void {
    this.#leases[buffer]--;
    if (this.#leases[buffer] === 0 && this.#spent[buffer] === 1) {
      this.#spent[buffer] = 0;
      this.#give(buffer);
    }
  }

  /** Notes that the kernel found no buffer, and gives it more if there may be more. */
  starve(): void {
    this.#starved++;
    this.grow();
  }

  /** Doubles the number of buffers, up to `entries`. False if that has been reached. */
  grow(): boolean {
    const more = Math.min(this.#provided, this.entries - this.#provided);
    if (more === 0 || this.closed) return false;
    this.#provide(more);
    return true;
  }

  #provide(count: number): void {
    const end = this.#provided + count;
    while (this.#provided < end) this.#give(this.#provided++);
  }

  /** Whether the kernel has a buffer. If not, `resume` is called when it has got one. */
  ready(resume: () => void): boolean {
    if (this.#available > 0 || this.closed || this.grow()) return true;
    this.#hungry.add(resume);
    return false;
  }

  #wake(): void {
    const hungry = [...this.#hungry];
    this.#hungry.clear();
    for (const resume of hungry) resume();
  }

  /** @internal Notes that the op in `slot` selects from here. */
  usedBy(slot: number): void {
    this.#group.usedBy(slot);
  }

  /**
   * Takes the buffers away from the kernel: receives that want one from here end with `ENOBUFS`. The memory is used for
   * other rings when no op can reach it any more: do not touch `bytes` or leases afterwards.
   */
  close(): void {
    if (this.#retired) {
      this.#retired = false;
      giveBack(this.#memory);
    } else this.#group.close([this.#memory]);
    this.#wake();
  }

  /**
   * The same while bytes in it are still in use: the memory stays theirs until `close` is called as well. Not while ops that select from
   * here are in flight.
   */
  retire(): void {
    this.#retired = true;
    this.#group.close([]);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Bytes that lie in buffers of a ring until they are given back: `dispose`, or a `using` declaration. */
export class RingLease implements Disposable {
  /** Where they are, one stretch for each buffer. */
  readonly pieces: readonly Uint8Array[];
  readonly #ring: BufferRing;
  readonly #buffers: readonly number[];
  #over = false;

  /** @internal Use `BufferRing.lease`. */
  constructor(ring: BufferRing, pieces: readonly Uint8Array[], buffers: readonly number[]) {
    this.#ring = ring;
    this.pieces = pieces;
    this.#buffers = buffers;
  }

  /** Bytes in all pieces. */
  get length(): number {
    return this.pieces.reduce((sum, piece) => sum + piece.length, 0);
  }

  /** The bytes in memory of their own. */
  copy(): Buffer {
    return Buffer.concat(this.pieces);
  }

  /** Gives the buffers back. The pieces are the kernel's from here on. */
  [Symbol.dispose](): void {
    if (this.#over) return;
    this.#over = true;
    for (const buffer of this.#buffers) this.#ring.release(buffer);
  }
}

/** Filled piece by piece, 64 buffers of 64 KiB hold 65,536 messages of 64 bytes or 64 of 64 KiB. */
const INCREMENTAL_SIZE = 65_536;
/** Where each receive takes a whole buffer there have to be more of them, and smaller ones. */
const WHOLE_SIZE = 16_384;

let receive: BufferRing | null | undefined;

/**
 * The buffers that all multishot receives of this thread share (`RunOptions.receiveMemory`), of which only what is used becomes
 * memory, and not more: that is what one turn of the loop can bring, however slow the readers are. Null where the kernel gives no
 * ring for them (the limit of locked memory, an older kernel): receive one by one.
 */
export function receiveBuffers(): BufferRing | null {
  // Asked once: what keeps the kernel from it does not go away.
  if (receive === undefined) {
    const r = reactor();
    const incremental = supportsIncremental(r);
    const size = incremental ? INCREMENTAL_SIZE : WHOLE_SIZE;
    const entries = (r.config.receiveMemory * 1024) / size;
    try {
      receive = new BufferRing({ entries, size, incremental });
    } catch {
      receive = null;
    }
  }
  return receive;
}

/**
 * The feature bit of the same kernel (6.12) stands for what cannot be probed by itself. Not with SQPOLL: `take` relies on
 * completions coming in the order in which a shared buffer was filled. A receive that finds the completion queue full ends,
 * and its last completion is made at the end of the kernel's batch. While the kernel's thread is at that we make
 * room, and a later receive into the same buffer overtakes it.
 */
export function supportsIncremental(r: Reactor): boolean {
  const polled = (r.ring.setupFlags & IORING_SETUP_SQPOLL) !== 0;
  return !polled && (r.ring.features & IORING_FEAT_MIN_TIMEOUT) !== 0;
}
