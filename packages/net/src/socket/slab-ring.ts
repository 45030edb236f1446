import { IORING_CQE_BUFFER_SHIFT, IORING_CQE_F_BUF_MORE } from '@ouro/native/abi';
import {
  addressOf,
  allocateRecycled,
  BufferGroup,
  reactor,
  supportsIncremental,
  UNSTABLE,
} from '@ouro/runtime/driver';
import { transferredError } from '../errors.ts';

/** How many slabs, and of what size. */
interface SlabRingOptions {
  /** The most slabs that there may be: a power of two. */
  readonly entries: number;
  /** Slabs to begin with; when they run out there are twice as many. */
  readonly initial: number;
  /** Bytes of each. */
  readonly size: number;
  /** Let small receives share a slab (6.12): not for slabs that are given away. */
  readonly shared: boolean;
}

/**
 * A ring of provided buffers (5.19) each of which is an ArrayBuffer of its own, so that what the kernel has filled can be handed
 * out in place: lent until it is released, or given away for good with a new slab in its place. (`BufferRing` is one stretch of
 * memory that no script may see, because the kernel goes on writing to it.)
 */
export class SlabRing {
  readonly #size: number;
  readonly #entries: number;
  /** Whether its slabs are lent, not given away. */
  readonly lends: boolean;
  readonly #group: BufferGroup;
  readonly #slabs: Buffer[] = [];
  readonly #addresses: number[] = [];
  /** How far each slab is filled. */
  readonly #filled: Uint32Array;
  /** Stretches of each slab that are still in use. */
  readonly #uses: Uint32Array;
  /** 1 where the kernel has done with a slab that is still in use. */
  readonly #spent: Uint8Array;
  /** Slabs of which something is in use. */
  #held = 0;

  /** @throws `ENOMEM` and the like where the kernel gives no ring */
  private constructor({ entries, initial, size, shared }: SlabRingOptions, lends: boolean) {
    this.#size = size;
    this.#entries = entries;
    this.lends = lends;
    this.#filled = new Uint32Array(entries);
    this.#uses = new Uint32Array(entries);
    this.#spent = new Uint8Array(entries);
    this.#group = new BufferGroup(entries, shared);
    this.#provide(initial);
  }

  /** Slabs that are given away: no script sees one before, so that nothing can take it from under the kernel. */
  static toGive(options: SlabRingOptions): SlabRing {
    return new SlabRing({ ...options, shared: false }, false);
  }

  /** Slabs that are lent, and filled again afterwards. */
  static toLend(options: SlabRingOptions): SlabRing {
    return new SlabRing(options, true);
  }

  /** `buf_group` of the receives that select from here. */
  get group(): number {
    return this.#group.id;
  }

  /** Whether one slab may serve several receives, one after the other. */
  get shared(): boolean {
    return this.#group.incremental;
  }

  /**
   * Whether so many slabs are lent that nothing of another one may be: what has just been taken is to be copied. So the kernel
   * always has a quarter of them, however long leases are held.
   */
  isScarce(slab: number): boolean {
    return this.#uses[slab] === 1 && this.#held * 4 > this.#entries * 3;
  }

  /**
   * The bytes that a completion with these flags brought, in place: a view that must not outlive `release`, unless the slab is given
   * away. Ask once for each completion.
   *
   * @throws Error with `code: 'ERR_INVALID_STATE'` if somebody has taken the slab's memory away. The kernel gets no more out of this ring
   *   then: what it goes on to put into that slab would be lost to other connections, one after the other
   */
  take(flags: number, length: number): Buffer {
    const slab = flags >>> IORING_CQE_BUFFER_SHIFT;
    const from = this.#filled[slab];
    this.#filled[slab] = from + length;
    this.#use(slab);
    if ((flags & IORING_CQE_F_BUF_MORE) === 0) this.#spent[slab] = 1;
    const bytes = this.#slabs[slab];
    if (bytes.length > 0)
      return from === 0 && length === bytes.length ? bytes : bytes.subarray(from, from + length);
    this.release(slab);
    this.#group.close([]);
    throw transferredError();
  }

  /** Whether it is in nobody's use any more but those who have something of it. */
  get closed(): boolean {
    return this.#group.closed;
  }

  /** Notes that the op in `slot` selects from here. */
  usedBy(slot: number): void {
    this.#group.usedBy(slot);
  }

  #use(slab: number): void {
    this.#uses[slab]++;
    if (this.#uses[slab] === 1) this.#held++;
  }

  /** Notes that what one completion brought is not used any more. */
  release(slab: number): void {
    this.#uses[slab]--;
    if (this.#uses[slab] > 0) return;
    this.#held--;
    if (this.#spent[slab] === 1) this.#give(slab);
  }

  /** Notes that what a completion brought belongs to somebody else from here on: the kernel gets another slab. */
  replace(slab: number): void {
    this.#allocate(slab);
    this.release(slab);
  }

  #give(slab: number): void {
    if (this.closed) return;
    // Whoever has detached a lent slab has it for good. (Its memory is held, so that the kernel could have written to it.)
    if (this.#slabs[slab].length === 0) this.#allocate(slab);
    this.#filled[slab] = 0;
    this.#spent[slab] = 0;
    this.#group.add(this.#addresses[slab], this.#size, slab);
  }

  #allocate(slab: number): void {
    const bytes = this.lends ? Buffer.allocUnsafeSlow(this.#size) : allocateRecycled(this.#size);
    this.#slabs[slab] = bytes;
    this.#addresses[slab] = this.lends ? addressOf(bytes) : reactor().addon.addressOf(bytes);
  }

  /** Notes that the kernel found no slab, and gives it more if there may be more. */
  starve(): void {
    if (this.closed) return;
    this.#provide(Math.min(this.#slabs.length, this.#entries - this.#slabs.length));
  }

  #provide(count: number): void {
    for (let i = 0; i < count; i++) {
      const slab = this.#slabs.length;
      this.#allocate(slab);
      this.#give(slab);
    }
  }
}

/** What large messages are received into: up to 4 MiB, which is what one turn can bring, replaced as they are given away. */
const LARGE: SlabRingOptions = { entries: 64, initial: 16, size: 65_536, shared: false };
/** What is lent: up to 32 MiB. Less makes receives begin anew, which costs more than the cache that it spares. */
const LENT: SlabRingOptions = { entries: 128, initial: 8, size: 262_144, shared: true };
/** The same where each receive takes a whole slab. */
const LENT_WHOLE: SlabRingOptions = { entries: 1024, initial: 128, size: 16_384, shared: false };

let large: SlabRing | null | undefined;
let lent: SlabRing | null | undefined;

/** Made once for each thread: what keeps the kernel from it does not go away. */
function made(make: () => SlabRing): SlabRing | null {
  try {
    return make();
  } catch {
    return null;
  }
}

/** The slabs that large messages come in; null where the kernel gives no ring for them. */
export function largeSlabs(): SlabRing | null {
  if (large === undefined) large = made(() => SlabRing.toGive(LARGE));
  return large;
}

/**
 * The slabs that all loops with leases share. Null where the kernel gives no ring for them, or where this version of Node cannot hold
 * on to memory that a script may detach: leases are of copies then.
 */
export function lentSlabs(): SlabRing | null {
  if (lent === undefined || lent?.closed) {
    lent =
      addressOf(new Uint8Array(8)) === UNSTABLE
        ? null
        : made(() => SlabRing.toLend(supportsIncremental(reactor()) ? LENT : LENT_WHOLE));
  }
  return lent;
}
