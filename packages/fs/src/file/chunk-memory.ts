import { BufferPool, type Lease } from '@ouro/runtime';
import { addressOf, allocateRecycled, type Future, NOT_FIXED, reactor, UNSTABLE } from '@ouro/runtime/driver';

/** Memory that one read fills. */
export interface Memory {
  readonly bytes: Buffer;
  readonly address: number;
  /** Index in the table of registered buffers, or `NOT_FIXED`. */
  readonly fixed: number;
  /** Where it is lent by a pool. */
  readonly lease: Lease | null;
}

/** Where reads have their memory from. */
export interface MemorySource {
  /** Bytes that one read brings at most. */
  readonly most: number;
  /** At least `length` bytes (up to `most`), or null if there is none before `whenFree` calls back. */
  take(length: number): Memory | null;
  /** Takes memory back that nobody but us has seen. */
  giveBack(memory: Memory): void;
  /** Calls `then` when it is worth asking again, or when asking has become an error. */
  whenFree(then: () => void): void;
  /** Nothing will be taken any more. */
  close(): void;
}

/**
 * New memory for each read, which is the caller's once it has been handed out. Until then no script sees it, so that nothing
 * can detach it; what never is handed out is filled again.
 */
export class OwnMemory implements MemorySource {
  readonly most: number;
  readonly #align: number;
  readonly #spare: Memory[] = [];

  /** @param align what addresses are a multiple of */
  constructor(most: number, align = 1) {
    this.most = most;
    this.#align = align;
  }

  take(length: number): Memory {
    const spare = this.#spare.pop();
    if (spare !== undefined && spare.bytes.length >= length) return spare;
    const align = this.#align;
    const all = align === 1 ? allocateRecycled(length) : Buffer.allocUnsafeSlow(length + align - 1);
    const address = reactor().addon.addressOf(all);
    const before = (align - (address % align)) % align;
    return {
      bytes: align === 1 ? all : all.subarray(before, before + length),
      address: address + before,
      fixed: NOT_FIXED,
      lease: null,
    };
  }

  giveBack(memory: Memory): void {
    this.#spare.push(memory);
  }

  whenFree(): void {
    // There always is memory.
  }

  close(): void {
    this.#spare.length = 0;
  }
}

/** Pools that were used and are whole again, for the next loop with leases: their pages need not be found anew. */
const spares: BufferPool[] = [];
const MOST_SPARES = 4;

function borrow(count: number, size: number): BufferPool {
  const at = spares.findIndex((pool) => pool.count === count && pool.size === size);
  return at >= 0 ? spares.splice(at, 1)[0] : new BufferPool({ count, size });
}

function retire(pool: BufferPool): void {
  if (pool.available === pool.count && spares.length < MOST_SPARES) spares.push(pool);
  else pool.close(); // it is gone once the last lease has been released
}

/** The buffers of a pool. One that is handed out comes back when its lease is released. */
export class PoolMemory implements MemorySource {
  readonly most: number;
  /** How many buffers a pool of our own has; 0 for one of the caller's. */
  readonly #count: number;
  #pool: BufferPool | null;
  /** A lease that has come since it was asked for. */
  #next: Lease | null = null;
  #waiting: Future<Lease> | null = null;
  #error: unknown = null;
  #closed = false;

  private constructor(pool: BufferPool | null, count: number, size: number) {
    this.#pool = pool;
    this.#count = count;
    this.most = size;
  }

  /** The buffers of a caller's pool. */
  static of(pool: BufferPool): PoolMemory {
    return new PoolMemory(pool, 0, pool.size);
  }

  /** `count` buffers of `size` bytes for one loop. */
  static own(count: number, size: number): PoolMemory {
    return new PoolMemory(null, count, size);
  }

  /** @throws `EBADF` if the pool has been closed */
  take(): Memory | null {
    if (this.#error !== null) throw this.#error;
    this.#pool ??= borrow(this.#count, this.most);
    const pool = this.#pool;
    const lease = this.#next ?? (pool.available > 0 || pool.closed ? pool.lease() : null);
    this.#next = null;
    if (lease === null) return null;
    const bytes = lease.buffer;
    const address = addressOf(bytes);
    if (address !== UNSTABLE) return { bytes, address, fixed: pool.index, lease };
    lease.release();
    throw Object.assign(new Error('This version of Node cannot pin memory: read without leases'), {
      code: 'ERR_OURO_UNSUPPORTED',
    });
  }

  giveBack({ lease }: Memory): void {
    lease?.release();
  }

  whenFree(then: () => void): void {
    if (this.#waiting !== null || this.#pool === null) return;
    this.#waiting = this.#pool.acquire();
    this.#waiting
      .then(
        (lease) => {
          if (this.#closed) lease.release();
          else this.#next = lease;
        },
        (error: unknown) => {
          this.#error = error;
        },
      )
      .then(() => {
        this.#waiting = null;
        if (!this.#closed) then();
      });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#waiting?.cancel();
    this.#next?.release();
    this.#next = null;
    if (this.#pool !== null && this.#count > 0) retire(this.#pool);
  }
}
