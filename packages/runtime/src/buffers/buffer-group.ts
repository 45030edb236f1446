import { readFileSync } from 'node:fs';
import {
  EEXIST,
  EINVAL,
  ENOMEM,
  IORING_REGISTER_PBUF_RING,
  IORING_REGISTER_PBUF_STATUS,
  IORING_UNREGISTER_PBUF_RING,
  IOU_PBUF_RING_INC,
} from '@ouro/native/abi';
import { systemError } from '../base/errors.ts';
import type { Reactor } from '../engine/reactor.ts';
import { reactor } from '../engine/thread.ts';

const TWO_32 = 4_294_967_296;
/** Bytes of `struct io_uring_buf`: addr, len, bid, and in the first one the ring's tail. */
const ENTRY_BYTES = 16;
const TAIL_AT = 14;
/** The id of a ring that is closed: never one of a ring. */
const NO_GROUP = 0xffff;
const MOST_GROUP = NO_GROUP - 1;
/** Bytes of `struct io_uring_buf_reg`. */
const REQUEST_BYTES = 40;
/** Bytes of `struct io_uring_buf_status`. */
const STATUS_BYTES = 40;

/**
 * A ring through which buffers are handed to the kernel (5.19, `IORING_REGISTER_PBUF_RING`), mapped into JavaScript. It
 * knows nothing of what the buffers are for: `BufferRing` receives into them, the net package's `SendRing` sends them.
 */
export class BufferGroup {
  readonly entries: number;
  /** Whether the kernel uses buffers up piece by piece (6.12, `IOU_PBUF_RING_INC`). */
  readonly incremental: boolean;
  readonly #id: number;
  readonly #memory: ArrayBuffer;
  readonly #words: Uint32Array;
  readonly #halves: Uint16Array;
  #users: User[] = [];
  #pruneAt = 16;
  #tail = 0;
  #closed = false;

  /**
   * @param entries a power of two up to 32768
   * @param incremental asked for; what is got is in the property of that name
   * @throws `ENOMEM` and the like with `syscall: 'io_uring_register'`
   */
  constructor(entries: number, incremental: boolean) {
    this.entries = entries;
    this.#memory = borrow(entries * ENTRY_BYTES);
    this.#words = new Uint32Array(this.#memory);
    this.#halves = new Uint16Array(this.#memory);
    this.#words.fill(0);
    const address = reactor().addon.addressOf(new Uint8Array(this.#memory));
    let id = register(address, entries, incremental ? IOU_PBUF_RING_INC : 0);
    this.incremental = incremental && id >= 0;
    if (id === EINVAL && incremental) id = register(address, entries, 0);
    if (id < 0) {
      giveBack(this.#memory);
      throw refused(id, entries);
    }
    this.#id = id;
  }

  /**
   * `buf_group` of the ops that select from here. To be asked each time one is queued: of a closed ring it is one that has
   * no buffers, because the id may be that of another ring by then.
   */
  get id(): number {
    return this.#closed ? NO_GROUP : this.#id;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Hands a buffer to the kernel, behind those that it has. */
  add(address: number, length: number, buffer: number): void {
    const at = (this.#tail & (this.entries - 1)) * (ENTRY_BYTES / 4);
    this.#words[at] = address;
    this.#words[at + 1] = address / TWO_32;
    this.#words[at + 2] = length;
    this.#halves[at * 2 + 6] = buffer;
    this.#tail = (this.#tail + 1) & 0xffff;
    // Sequentially consistent, so that the entry is seen before the tail by a kernel thread on any machine.
    Atomics.store(this.#halves, TAIL_AT / 2, this.#tail);
  }

  /** How many buffers the kernel has taken, modulo 65536 (6.8, `IORING_REGISTER_PBUF_STATUS`). */
  get head(): number {
    const r = reactor();
    // struct io_uring_buf_status: buf_group, head, resv
    const request = new Uint32Array(STATUS_BYTES / 4);
    request[0] = this.#id;
    const result = r.addon.register(IORING_REGISTER_PBUF_STATUS, addressOfOwn(r, request), 1);
    if (result < 0) throw systemError(result, 'io_uring_register');
    return request[1];
  }

  /** Takes back what the kernel has not taken. No op that may take it must be in flight. */
  rewind(head: number): void {
    this.#tail = head;
  }

  /** Whether an op that selects from here is in flight. */
  get inUse(): boolean {
    return this.#users.some(inFlight);
  }

  /** Notes that the op in `slot` selects from here. To be called by the op's `place`. */
  usedBy(slot: number): void {
    if (this.#users.length >= this.#pruneAt) {
      this.#users = this.#users.filter(inFlight);
      this.#pruneAt = Math.max(16, this.#users.length * 2);
    }
    this.#users.push({ slot, generation: reactor().slots.generations[slot] });
  }

  /**
   * Takes the ring away from the kernel: ops that select from it find no buffer from here on. `memory`, the ring's own
   * and its id are used again only when none of those ops is in flight any more.
   */
  close(memory: readonly ArrayBuffer[]): void {
    if (this.#closed) return;
    this.#closed = true;
    const r = reactor();
    const request = new Uint32Array(REQUEST_BYTES / 4);
    request[3] = this.#id;
    r.addon.register(IORING_UNREGISTER_PBUF_RING, addressOfOwn(r, request), 1);
    retired.push({ id: this.#id, users: this.#users, memory: [this.#memory, ...memory] });
    this.#users = [];
  }
}

/** An op that selects from a group. */
interface User {
  readonly slot: number;
  readonly generation: number;
}

function inFlight({ slot, generation }: User): boolean {
  const { slots } = reactor();
  return slots.completions[slot] !== null && slots.generations[slot] === generation;
}

const freeGroups: number[] = [];
let nextGroup = 1;

/** Registers a ring under an id that is free, and returns that, or an errno. */
function register(address: number, entries: number, flags: number): number {
  const r = reactor();
  // struct io_uring_buf_reg: ring_addr, ring_entries, bgid, flags, reserved
  const request = new Uint32Array(REQUEST_BYTES / 4);
  request[0] = address;
  request[1] = address / TWO_32;
  request[2] = entries;
  for (;;) {
    const group = freeGroups.pop() ?? (nextGroup <= MOST_GROUP ? nextGroup++ : -1);
    if (group < 0) return ENOMEM;
    request[3] = group | (flags << 16);
    const result = r.addon.register(IORING_REGISTER_PBUF_RING, addressOfOwn(r, request), 1);
    if (result >= 0) return group;
    // Another copy of this package in the same thread has that one.
    if (result === EEXIST) continue;
    freeGroups.push(group);
    return result;
  }
}

/** The address of an argument that nobody else sees. */
function addressOfOwn(r: Reactor, words: Uint32Array): number {
  return r.addon.addressOf(new Uint8Array(words.buffer));
}

function refused(errno: number, entries: number): Error {
  const error = systemError(errno, 'io_uring_register');
  if (errno === ENOMEM) {
    const needed = Math.ceil((entries * ENTRY_BYTES) / 4096) * 4;
    error.message += `: a ring of ${entries} provided buffers needs ${needed} KiB of locked memory, ${lockLimit()} (ulimit -l)`;
  }
  return error;
}

function lockLimit(): string {
  try {
    const [, soft = ''] = /^Max locked memory\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return `and the limit is ${soft === '' || soft === 'unlimited' ? soft : `${Number(soft) / 1024} KiB`}`;
  } catch {
    return 'which is limited';
  }
}

/** Id and memory of a group that has been closed, with the ops that may still use them. */
interface Retired {
  readonly id: number;
  readonly users: readonly User[];
  readonly memory: readonly ArrayBuffer[];
}

let retired: Retired[] = [];
const spare: ArrayBuffer[] = [];
/** Memory that fits, and is not much more than is needed. */
const MOST_WASTE = 2;

/**
 * Memory that stays where it is as long as the thread lives: what somebody has given back, or new.
 * @throws `ENOMEM` with `syscall: 'mmap'`
 */
export function borrow(bytes: number): ArrayBuffer {
  retired = retired.filter(({ id, users, memory }) => {
    if (users.some(inFlight)) return true;
    // (An op that looks for its buffers again, when data arrives, would find those of another ring.)
    freeGroups.push(id);
    spare.push(...memory);
    return false;
  });
  const size = Math.ceil(bytes / 4096) * 4096;
  const found = spare.findIndex(({ byteLength }) => byteLength >= size && byteLength <= size * MOST_WASTE);
  if (found >= 0) return spare.splice(found, 1)[0];
  const region = reactor().addon.allocate(size);
  if (typeof region === 'number') throw systemError(region, 'mmap');
  return region;
}

/** Gives memory back that no op uses. */
export function giveBack(memory: ArrayBuffer): void {
  spare.push(memory);
}
