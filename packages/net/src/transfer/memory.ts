import { BufferPool } from '@ouro/runtime';
import { type Reactor, reactor } from '@ouro/runtime/driver';

/** Bytes that are read and sent at a time. */
const SIZE = 65_536;
/** Buffers of a thread that are used again; who comes beyond that gets one of its own. */
const COUNT = 8;

/** Memory that a transfer copies through. */
export interface Memory {
  readonly bytes: Buffer;
  /** Gives it back; nothing in the kernel may use it any more. */
  release(): void;
}

const pools = new WeakMap<Reactor, BufferPool>();

/** Memory for one transfer, registered with the ring where that goes. */
export function takeMemory(): Memory {
  const r = reactor();
  let pool = pools.get(r);
  if (pool === undefined) {
    pool = new BufferPool({ count: COUNT, size: SIZE });
    pools.set(r, pool);
  }
  if (pool.available === 0) return { bytes: Buffer.allocUnsafeSlow(SIZE), release: () => {} };
  const lease = pool.lease();
  return { bytes: lease.buffer, release: () => lease.release() };
}
