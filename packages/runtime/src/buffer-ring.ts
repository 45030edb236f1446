import { IORING_CQE_BUFFER_SHIFT, IORING_REGISTER_PBUF_RING } from '@ouro/native/abi';
import { systemError } from './errors.ts';
import { type Reactor, reactor } from './reactor.ts';

const TWO_32 = 4_294_967_296;
/** Bytes of `struct io_uring_buf`: addr, len, bid, and in the first one the ring's tail. */
const ENTRY_BYTES = 16;
const TAIL_AT = 14;

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
  /** All buffers, one after the other: buffer `b` begins at `b * size`. */
  readonly bytes: Uint8Array;
  readonly #address: number;
  readonly #words: Uint32Array;
  readonly #halves: Uint16Array;
  #tail = 0;
  #starved: (() => void)[] = [];

  constructor(r: Reactor, group: number, entries: number, size: number) {
    this.group = group;
    this.entries = entries;
    this.size = size;
    const ring = memory(r, entries * ENTRY_BYTES);
    const buffers = memory(r, entries * size);
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
    request[3] = group;
    const result = r.addon.register(
      IORING_REGISTER_PBUF_RING,
      r.addon.addressOf(new Uint8Array(request.buffer)),
      1,
    );
    if (result < 0) throw systemError(result, 'io_uring_register');
    for (let buffer = 0; buffer < entries; buffer++) this.give(buffer);
  }

  /** Which buffer a completion used. */
  static bufferOf(flags: number): number {
    return flags >>> IORING_CQE_BUFFER_SHIFT;
  }

  /** Gives a buffer back to the kernel. Its bytes are the kernel's from here on. */
  give(buffer: number): void {
    const at = (this.#tail & (this.entries - 1)) * (ENTRY_BYTES / 4);
    const address = this.#address + buffer * this.size;
    this.#words[at] = address;
    this.#words[at + 1] = address / TWO_32;
    this.#words[at + 2] = this.size;
    this.#halves[at * 2 + 6] = buffer;
    this.#tail = (this.#tail + 1) & 0xffff;
    // Sequentially consistent, so that the entry is seen before the tail by a kernel thread on any machine.
    Atomics.store(this.#halves, TAIL_AT / 2, this.#tail);
    if (this.#starved.length !== 0) this.#wake();
  }

  /** Calls `resume` once, after a buffer has come back. For ops that ended with ENOBUFS. */
  whenAvailable(resume: () => void): void {
    this.#starved.push(resume);
  }

  #wake(): void {
    const starved = this.#starved;
    this.#starved = [];
    // Not inside give(): whoever gives a buffer back is in the middle of something.
    queueMicrotask(() => {
      for (const resume of starved) resume();
    });
  }
}

function memory(r: Reactor, bytes: number): ArrayBuffer {
  const region = r.addon.allocate(bytes);
  if (typeof region === 'number') throw systemError(region, 'mmap');
  return region;
}

/** 256 buffers of 16 KiB: 4 MiB of address space, of which only what traffic touches becomes memory. */
const RECEIVE_ENTRIES = 256;
const RECEIVE_SIZE = 16_384;
const RECEIVE_GROUP = 1;

let receive: BufferRing | undefined;

/** The buffers that all multishot receives of this thread share. */
export function receiveBuffers(): BufferRing {
  receive ??= new BufferRing(reactor(), RECEIVE_GROUP, RECEIVE_ENTRIES, RECEIVE_SIZE);
  return receive;
}
