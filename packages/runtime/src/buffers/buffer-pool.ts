import {
  ENOBUFS,
  IORING_REGISTER_BUFFERS_UPDATE,
  IORING_REGISTER_BUFFERS2,
  IORING_RSRC_REGISTER_SPARSE,
} from '@ouro/native/abi';
import {
  cancellation,
  checkInteger,
  closedError,
  invalidType,
  outOfRange,
  systemError,
} from '../base/errors.ts';
import type { Reactor } from '../engine/reactor.ts';
import { reactor } from '../engine/thread.ts';
import { awaitFast, Deferred, type Future, rejected, resolved } from '../future/future.ts';
import { addressOf, NOT_FIXED, setFixed, UNSTABLE } from '../memory/pin.ts';
import { type OpOptions, refusal } from '../operation/op-options.ts';
import { bound } from '../time/time.ts';

/** How a pool is made. */
export interface BufferPoolOptions {
  /** How many buffers. */
  readonly count: number;
  /** Bytes of each. Each begins on a page (4096 bytes), as O_DIRECT wants it. */
  readonly size: number;
  /**
   * Register the memory with the ring, so that the kernel need not look its pages up for each op. It is locked in memory
   * then and counts against the memlock limit (`ulimit -l`). `'try'` goes on without where that is refused, see
   * `BufferPool.refusal`; `true` throws. @default 'try'
   */
  readonly register?: boolean | 'try' | undefined;
}

const PAGE = 4096;
/** What the kernel takes as one registered buffer. */
const MOST_BYTES = 2 ** 30;
/** Pools that can be registered at a time. */
const TABLE_ENTRIES = 256;

const TWO_32 = 4_294_967_296;

/** The table of registered buffers of a ring: registered empty when first used (`IORING_REGISTER_BUFFERS2`, 5.19). */
class BufferTable {
  readonly #r: Reactor;
  readonly #iovec: Uint32Array = new Uint32Array(4);
  readonly #free: number[] = Array.from({ length: TABLE_ENTRIES }, (_, i) => TABLE_ENTRIES - 1 - i);

  constructor(r: Reactor) {
    this.#r = r;
    // struct io_uring_rsrc_register: nr, flags, resv2, data, tags
    const request = new Uint32Array(8);
    request[0] = TABLE_ENTRIES;
    request[1] = IORING_RSRC_REGISTER_SPARSE;
    const result = this.#register(IORING_REGISTER_BUFFERS2, request);
    if (result < 0) throw systemError(result, 'io_uring_register');
  }

  #register(opcode: number, request: Uint32Array): number {
    const { addon } = this.#r;
    return addon.register(opcode, addon.addressOf(new Uint8Array(request.buffer)), request.byteLength);
  }

  /** Entries in use. */
  get used(): number {
    return TABLE_ENTRIES - this.#free.length;
  }

  /** An index for the memory, or -errno. */
  add(address: number, length: number): number {
    const index = this.#free.pop();
    if (index === undefined) return ENOBUFS;
    const result = this.#set(index, address, length);
    if (result >= 0) return index;
    this.#free.push(index);
    return result;
  }

  remove(index: number): void {
    // What is queued may refer to the entry.
    this.#r.flush();
    this.#set(index, 0, 0);
    this.#free.push(index);
  }

  #set(index: number, address: number, length: number): number {
    const { addon } = this.#r;
    // struct iovec: base, length. A field, so that it is still there when the kernel reads it.
    const iovec = this.#iovec;
    iovec[0] = address;
    iovec[1] = address / TWO_32;
    iovec[2] = length;
    const at = addon.addressOf(new Uint8Array(iovec.buffer));
    // struct io_uring_rsrc_update2: offset, resv, data, tags, nr, resv2
    return this.#register(
      IORING_REGISTER_BUFFERS_UPDATE,
      new Uint32Array([index, 0, at, at / TWO_32, 0, 0, 1, 0]),
    );
  }
}

const tables = new WeakMap<Reactor, BufferTable>();

function tableOf(r: Reactor): BufferTable {
  let table = tables.get(r);
  if (table === undefined) {
    table = new BufferTable(r);
    tables.set(r, table);
  }
  return table;
}

/** How many stretches of memory are registered with the ring of a reactor. */
export function registeredBuffers(r: Reactor): number {
  return tables.get(r)?.used ?? 0;
}

/**
 * Memory of a pool that nobody has any more gives its entry back. Not before: ops that wait for their turn in a chain, or
 * that have been made and not queued, look for it there.
 */
const forgotten = new FinalizationRegistry<{ readonly table: BufferTable; readonly index: number }>(
  ({ table, index }) => table.remove(index),
);

/** Somebody who waits for a buffer. */
class Waiter extends Deferred<Lease> {
  readonly #pool: BufferPool;

  constructor(pool: BufferPool) {
    super();
    this.#pool = pool;
  }

  override cancel(reason?: unknown): void {
    if (this.#pool.forget(this)) this.reject(cancellation(reason));
  }
}
awaitFast(Waiter);

/**
 * One buffer of a pool, lent. Release it when every op that was given it has settled: then it is somebody else's.
 * `using lease = pool.lease()` does so at the end of the block.
 */
export class Lease implements Disposable {
  readonly #pool: BufferPool;
  readonly #index: number;
  #buffer: Buffer | null;

  /** @internal */
  constructor(pool: BufferPool, index: number, buffer: Buffer) {
    this.#pool = pool;
    this.#index = index;
    this.#buffer = buffer;
  }

  /** The memory; parts of it (`subarray`) serve as well. @throws Error with `code: 'ERR_INVALID_STATE'` once released */
  get buffer(): Buffer {
    if (this.#buffer === null) {
      throw Object.assign(new Error('The buffer has been released'), { code: 'ERR_INVALID_STATE' });
    }
    return this.#buffer;
  }

  /** Whether it has been given back. */
  get released(): boolean {
    return this.#buffer === null;
  }

  /** Gives the buffer back. Releasing twice is one release. */
  release(): void {
    if (this.#buffer === null) return;
    this.#buffer = null;
    this.#pool.giveBack(this.#index);
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/**
 * Buffers that are used again and again: in one stretch of page-aligned memory that is registered with the ring
 * (`IORING_REGISTER_BUFFERS`, 5.1). Reads and writes of files into or out of them become `READ_FIXED` and `WRITE_FIXED`,
 * zero-copy sends refer to them by index. No op has to be told: the memory is recognised.
 */
export class BufferPool implements Disposable {
  readonly count: number;
  /** Bytes of one buffer. */
  readonly size: number;
  /** Why the memory is not registered; undefined if it is, or if nobody asked for it. */
  readonly refusal: Error | undefined = undefined;
  readonly #memory: ArrayBuffer;
  readonly #from: number;
  readonly #stride: number;
  readonly #free: number[] = [];
  readonly #waiters: Waiter[] = [];
  #fixed = NOT_FIXED;
  #table: BufferTable | null = null;
  #closed = false;

  /**
   * @throws TypeError, RangeError for bad options; where the memory must be registered and cannot be, `ENOMEM` with
   *   what to do about it
   */
  constructor(options: BufferPoolOptions) {
    if (typeof options !== 'object' || options === null)
      throw invalidType('options', 'of type object', options);
    const { count, size, register = 'try' } = options;
    checkInteger('options.count', count, 1, MOST_BYTES / PAGE);
    checkInteger('options.size', size, 1, MOST_BYTES);
    if (typeof register !== 'boolean' && register !== 'try')
      throw invalidType('options.register', "of type boolean or 'try'", register);
    this.#stride = Math.ceil(size / PAGE) * PAGE;
    const bytes = count * this.#stride;
    if (bytes > MOST_BYTES) throw outOfRange('options.count * options.size', `<= ${MOST_BYTES}`, bytes);
    this.count = count;
    this.size = size;
    this.#memory = new ArrayBuffer(bytes + PAGE);
    const address = addressOf(new Uint8Array(this.#memory));
    // (Where the address cannot be relied on every op goes through memory of its own, and alignment is moot.)
    this.#from = address === UNSTABLE ? 0 : (PAGE - (address % PAGE)) % PAGE;
    for (let index = count - 1; index >= 0; index--) this.#free.push(index);
    if (register !== false) this.refusal = this.#register(address, bytes);
    if (register === true && this.refusal !== undefined) throw this.refusal;
  }

  #register(address: number, bytes: number): Error | undefined {
    if (address === UNSTABLE) return new Error('This version of Node cannot pin memory');
    const r = reactor();
    let table: BufferTable;
    try {
      table = tableOf(r);
    } catch (error) {
      return error as Error; // an old kernel
    }
    const index = table.add(address + this.#from, bytes);
    if (index < 0) {
      const error = systemError(index, 'io_uring_register');
      error.message +=
        index === ENOBUFS
          ? `: no more than ${TABLE_ENTRIES} pools can be registered`
          : `: cannot lock ${bytes} bytes; raise the memlock limit (ulimit -l)`;
      return error;
    }
    this.#fixed = index;
    this.#table = table;
    setFixed(this.#memory, index);
    forgotten.register(this.#memory, { table, index }, this);
    return undefined;
  }

  /** Whether the memory is registered. */
  get registered(): boolean {
    return this.#fixed !== NOT_FIXED;
  }

  /** Index of the memory in the table of registered buffers (`buf_index`), -1 if it is not there. */
  get index(): number {
    return this.#fixed;
  }

  /** Buffers that nobody has. */
  get available(): number {
    return this.#free.length;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * A buffer, at once. Its bytes are what the last user left.
   * @throws `ENOBUFS` if all are lent, `EBADF` if the pool is closed
   */
  lease(): Lease {
    if (this.#closed) throw closedError('lease');
    const index = this.#free.pop();
    if (index === undefined) {
      const error = Object.assign(new Error(`ENOBUFS: all ${this.count} buffers of the pool are lent`), {
        code: 'ENOBUFS',
      });
      throw error;
    }
    return this.#lend(index);
  }

  /** A buffer as soon as there is one: in the order of asking. */
  acquire(options?: OpOptions): Future<Lease> {
    if (this.#closed) return rejected(closedError('lease'));
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    const index = this.#free.pop();
    if (index !== undefined) return resolved(this.#lend(index));
    const waiter = new Waiter(this);
    this.#waiters.push(waiter);
    return bound(waiter, options);
  }

  #lend(index: number): Lease {
    return new Lease(this, index, Buffer.from(this.#memory, this.#from + index * this.#stride, this.size));
  }

  /** @internal */
  giveBack(index: number): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) waiter.resolve(this.#lend(index));
    else this.#free.push(index);
    if (this.#closed) this.#unregister();
  }

  /** @internal */
  forget(waiter: Waiter): boolean {
    const at = this.#waiters.indexOf(waiter);
    if (at >= 0) this.#waiters.splice(at, 1);
    return at >= 0;
  }

  /**
   * Lends no more; whoever waits gets `EBADF`. The memory is given back when the last lease has been released, and freed
   * when nothing refers to it any more.
   */
  close(): void {
    this.#closed = true;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(closedError('lease'));
    this.#unregister();
  }

  #unregister(): void {
    if (this.#fixed === NOT_FIXED || this.#free.length < this.count) return;
    forgotten.unregister(this);
    setFixed(this.#memory, NOT_FIXED);
    this.#table?.remove(this.#fixed);
    this.#fixed = NOT_FIXED;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
