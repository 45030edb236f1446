import { type Reactor, reactor } from '@ouro/runtime/driver';

/** Bytes that a pipe is to hold: on loopback 256 KiB at a time cost as little CPU as 1 MiB, and bind less memory. */
const CAPACITY = 262_144;
/** Pipes that are kept for the next transfer, and how many there may be at a time; whoever gets none moves bytes in memory. */
const MOST_IDLE = 8;
const MOST = 256;

/** A pipe that bytes go through on their way past JavaScript. Neither of its ends waits. */
export class Pipe {
  readonly readEnd: number;
  readonly writeEnd: number;
  /** Bytes that it has room for, at least if they begin on a page. */
  readonly capacity: number;
  /** Whether it holds nothing, for sure: one that may hold bytes is nobody else's any more. */
  clean = true;
  readonly #pool: PipePool;

  /** @internal Use `takePipe`. */
  constructor(pool: PipePool, readEnd: number, writeEnd: number, capacity: number) {
    this.#pool = pool;
    this.readEnd = readEnd;
    this.writeEnd = writeEnd;
    this.capacity = capacity;
  }

  /** Gives it back when nothing in the kernel uses it any more; what it holds is lost. */
  release(): void {
    this.#pool.release(this);
  }
}

/** The pipes of one thread. */
class PipePool {
  readonly #idle: Pipe[] = [];
  #count = 0;

  take(): Pipe | null {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    if (this.#count >= MOST) return null;
    const made = reactor().addon.pipe(CAPACITY);
    if (typeof made === 'number') return null;
    this.#count++;
    return new Pipe(this, ...made);
  }

  release(pipe: Pipe): void {
    if (pipe.clean && this.#idle.length < MOST_IDLE) this.#idle.push(pipe);
    else {
      this.#count--;
      for (const end of [pipe.readEnd, pipe.writeEnd]) reactor().discard(end);
    }
  }
}

const pools = new WeakMap<Reactor, PipePool>();

/** A pipe, empty; null if there is none to be had: too many are in use, or the system has no such pipes. */
export function takePipe(): Pipe | null {
  const r = reactor();
  let pool = pools.get(r);
  if (pool === undefined) {
    pool = new PipePool();
    pools.set(r, pool);
  }
  return pool.take();
}
