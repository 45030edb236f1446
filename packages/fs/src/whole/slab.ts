import { addressOf, UNSTABLE } from '@ouro/runtime/driver';

/** Bytes of a slab. */
export const SLAB_BYTES = 524_288;

/** Slabs that are kept for the next files: what has been touched once costs no page fault again. */
const MOST_KEPT = 64;

const kept: Slab[] = [];

/**
 * A stretch of memory that files are read into, one behind the other, and used again when nobody has any of them any more.
 * One op fills it at a time.
 */
export class Slab {
  readonly bytes: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES);
  readonly address: number;
  /** Where the next file begins. */
  at = 0;
  #lent = 0;
  #filling = true;

  private constructor() {
    this.address = addressOf(this.bytes);
  }

  /** One that was used before, or a new one. Null where memory cannot be relied on to stay. */
  static take(): Slab | null {
    for (let slab = kept.pop(); slab !== undefined; slab = kept.pop()) {
      if (!slab.intact) continue;
      slab.#filling = true;
      slab.at = 0;
      return slab;
    }
    const slab = new Slab();
    return slab.address === UNSTABLE ? null : slab;
  }

  /** Whether a script has taken the memory away. (It stays where it is until nobody knows of the slab.) */
  get intact(): boolean {
    return this.bytes.length === SLAB_BYTES;
  }

  get room(): number {
    return SLAB_BYTES - this.at;
  }

  /** Begins anew if nobody has any of it. */
  rewind(): void {
    if (this.#lent === 0) this.at = 0;
  }

  /** The file of `length` bytes that was read to where it stands. To be given back. */
  lend(length: number): Buffer {
    const { at } = this;
    this.#lent++;
    this.at = Math.min(SLAB_BYTES, at + ((length + 63) & ~63));
    return this.bytes.subarray(at, at + length);
  }

  giveBack(): void {
    this.#lent--;
    this.#keep();
  }

  /** Nobody reads into it any more. */
  leave(): void {
    this.#filling = false;
    this.#keep();
  }

  #keep(): void {
    if (!this.#filling && this.#lent === 0 && kept.length < MOST_KEPT && this.intact) kept.push(this);
  }
}
