import { addon } from '@ouro/native';

const SLAB = 65_536;

/**
 * Memory that no script ever sees, so that nothing takes it away from under the kernel: short stretches for copies, cut from slabs. Who
 * hands the address of one to the kernel keeps `slab` alive as long.
 */
export class OwnMemory {
  /** Where the last stretch lies. */
  slab: Buffer = Buffer.alloc(0);
  /** Where it begins there. */
  at = 0;
  #address = 0;
  #used = 0;

  /** The address of `length` more bytes, at most 64 KiB, not cleared. */
  cut(length: number): number {
    if (this.#used + length > this.slab.length) {
      this.slab = Buffer.allocUnsafeSlow(SLAB);
      this.#address = addon().addressOf(this.slab);
      this.#used = 0;
    }
    this.at = this.#used;
    this.#used += length;
    return this.#address + this.at;
  }
}
