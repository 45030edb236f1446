import {
  EINVAL,
  IORING_CQE_BUFFER_SHIFT,
  IORING_CQE_F_BUF_MORE,
  IORING_CQE_F_BUFFER,
  IORING_FEAT_MIN_TIMEOUT,
  IORING_REGISTER_PBUF_RING,
  IORING_SETUP_SQPOLL,
  IOU_PBUF_RING_INC,
} from '@ouro/native/abi';
import { systemError } from './errors.ts';
import { type Reactor, reactor } from './reactor.ts';

const TWO_32 = 4_294_967_296;
/** Bytes of `struct io_uring_buf`: addr, len, bid, and in the first one the ring's tail. */
const ENTRY_BYTES = 16;
const TAIL_AT = 14;
const CACHE_LINE = 64;

/**
 * A ring of provided buffers (5.19, `IORING_REGISTER_PBUF_RING`): the kernel takes a buffer only when data has
 * arrived, so ten thousand idle connections hold none. Mapped into JavaScript: giving a buffer back is four stores
 * and the tail.
 */
export class BufferRing {
  /** `buf_group` of the ops that select from here. */
  readonly group: number;
  readonly entries: number;
  /** Bytes of one buffer. */
  readonly size: number;
  /** Whether one buffer may serve several receives, one after the other. */
  readonly incremental: boolean;
  /** All buffers; `take` says where in here. */
  readonly bytes: Uint8Array;
  readonly #address: number;
  readonly #words: Uint32Array;
  readonly #halves: Uint16Array;
  /** Bytes from the beginning of one buffer to that of the next. */
  readonly #stride: number;
  /** How far each buffer is filled: never 0 only where the kernel fills buffers piece by piece. */
  readonly #filled: Uint32Array;
  #tail = 0;

  /**
   * @param entries buffers: a power of two up to 32768
   * @param size bytes of each
   * @param incremental let small receives share a buffer, where the kernel can (6.12, `IOU_PBUF_RING_INC`)
   */
  constructor(r: Reactor, group: number, entries: number, size: number, incremental = true) {
    this.group = group;
    this.entries = entries;
    this.size = size;
    // Buffers that begin at multiples of a large power of two would all fall into the same few sets of the cache.
    this.#stride = size + CACHE_LINE;
    this.#filled = new Uint32Array(entries);
    const ring = memory(r, entries * ENTRY_BYTES);
    const buffers = memory(r, entries * this.#stride);
    this.bytes = new Uint8Array(buffers);
    this.#address = r.addon.addressOf(this.bytes);
    this.#words = new Uint32Array(ring);
    this.#halves = new Uint16Array(ring);
    // struct io_uring_buf_reg: ring_addr, ring_entries, bgid, flags, reserved
    const request = new Uint32Array(memory(r, 4096));
    const ringAddress = r.addon.addressOf(new Uint8Array(ring));
    request[0] = ringAddress;
    request[1] = ringAddress / TWO_32;
    request[2] = entries;
    const register = (flags: number): number => {
      request[3] = group | (flags << 16);
      return r.addon.register(
        IORING_REGISTER_PBUF_RING,
        r.addon.addressOf(new Uint8Array(request.buffer)),
        1,
      );
    };
    let result = register(incremental ? IOU_PBUF_RING_INC : 0);
    this.incremental = incremental && result >= 0;
    if (result === EINVAL && incremental) result = register(0);
    if (result < 0) throw systemError(result, 'io_uring_register');
    for (let buffer = 0; buffer < entries; buffer++) this.give(buffer);
  }

  /** Where in `bytes` the `length` bytes lie that a completion with these flags brought. Ask once for each. */
  take(flags: number, length: number): number {
    const buffer = flags >>> IORING_CQE_BUFFER_SHIFT;
    const filled = this.#filled[buffer];
    this.#filled[buffer] = filled + length;
    return buffer * this.#stride + filled;
  }

  /** The buffer to `give` back once the bytes have been used; -1 where the kernel goes on filling it, or used none. */
  static spent(flags: number): number {
    const used = (flags & (IORING_CQE_F_BUFFER | IORING_CQE_F_BUF_MORE)) === IORING_CQE_F_BUFFER;
    return used ? flags >>> IORING_CQE_BUFFER_SHIFT : -1;
  }

  /** Gives a buffer back to the kernel. Its bytes are the kernel's from here on. */
  give(buffer: number): void {
    const at = (this.#tail & (this.entries - 1)) * (ENTRY_BYTES / 4);
    const address = this.#address + buffer * this.#stride;
    this.#filled[buffer] = 0;
    this.#words[at] = address;
    this.#words[at + 1] = address / TWO_32;
    this.#words[at + 2] = this.size;
    this.#halves[at * 2 + 6] = buffer;
    this.#tail = (this.#tail + 1) & 0xffff;
    // Sequentially consistent, so that the entry is seen before the tail by a kernel thread on any machine.
    Atomics.store(this.#halves, TAIL_AT / 2, this.#tail);
  }
}

function memory(r: Reactor, bytes: number): ArrayBuffer {
  const region = r.addon.allocate(bytes);
  if (typeof region === 'number') throw systemError(region, 'mmap');
  return region;
}

const RECEIVE_GROUP = 1;
/** Filled piece by piece, 64 buffers of 64 KiB hold 65,536 messages of 64 bytes or 64 of 64 KiB. */
const INCREMENTAL = { entries: 64, size: 65_536 } as const;
/** Where each receive takes a whole buffer there have to be more of them, and smaller ones. */
const WHOLE = { entries: 256, size: 16_384 } as const;

let receive: BufferRing | undefined;
let failure: unknown;

/** The buffers that all multishot receives of this thread share: 4 MiB, of which only what is used becomes memory. */
export function receiveBuffers(): BufferRing {
  // Not tried again: the memory of a failed attempt stays with the thread.
  if (failure !== undefined) throw failure;
  if (receive === undefined) {
    const r = reactor();
    try {
      receive = supportsIncremental(r)
        ? new BufferRing(r, RECEIVE_GROUP, INCREMENTAL.entries, INCREMENTAL.size)
        : new BufferRing(r, RECEIVE_GROUP, WHOLE.entries, WHOLE.size, false);
    } catch (error) {
      failure = error;
      throw error;
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
function supportsIncremental(r: Reactor): boolean {
  const polled = (r.ring.setupFlags & IORING_SETUP_SQPOLL) !== 0;
  return !polled && (r.ring.features & IORING_FEAT_MIN_TIMEOUT) !== 0;
}
