import { IORING_FEAT_RECVSEND_BUNDLE } from '@ouro/native/abi';
import {
  BufferGroup,
  type Bytes,
  checkBytes,
  checkInteger,
  outOfRange,
  type Pinned,
  pinned,
  reactor,
} from '@ouro/runtime/driver';

/** The kernel sends at most so many buffers in one go (`PEEK_MAX_IMPORT`): one send of a bundle has one completion then. */
const MOST_ENTRIES = 256;
/** Where the first buffer of a bundle is longer than this, the kernel takes fewer of them. */
const MOST_BYTES = 1 << 23;

/**
 * Bytes that wait to be sent, in order, in a ring of provided buffers: `sendBundle` sends them all with one op, and what
 * is appended meanwhile goes with the next. The buffers are not copied: their memory is the ring's until they are sent.
 *
 * On kernels that cannot send from such a ring (before 6.10), or that refuse one, the same is done with a `sendmsg` of all
 * that waits.
 */
export class SendRing implements Disposable {
  /** The most buffers that can wait. */
  readonly entries: number;
  readonly #group: BufferGroup | null;
  /** What waits, the first one as far as it has not been sent. */
  readonly #waiting: Pinned[] = [];
  #sent = 0; // of the first
  #length = 0;
  /** Buffers that have been sent, modulo 65536: as many as the kernel should have taken. */
  #taken = 0;
  /** Whether a send may have taken more than it has sent. */
  #doubtful = false;
  #closed = false;

  /**
   * @param entries the most buffers that can wait: a power of two up to 256
   * @throws RangeError for anything else
   */
  constructor(entries: number) {
    checkInteger('entries', entries, 1, MOST_ENTRIES);
    if ((entries & (entries - 1)) !== 0) throw outOfRange('entries', 'a power of two', entries);
    this.entries = entries;
    this.#group = groupOf(entries);
  }

  /** Whether the kernel takes the buffers from the ring; otherwise `sendBundle` is a `sendmsg`. */
  get bundles(): boolean {
    return this.#group !== null;
  }

  /** @internal */
  get group(): BufferGroup | null {
    return this.#group;
  }

  /** Buffers that wait. */
  get waiting(): number {
    return this.#closed ? 0 : this.#waiting.length;
  }

  /** Bytes that wait. */
  get length(): number {
    return this.#length;
  }

  /** Whether nothing more can be appended before something has been sent. */
  get full(): boolean {
    return this.#waiting.length === this.entries;
  }

  /**
   * Puts `buffer` behind what waits. Its memory is the ring's until it is sent; resizable memory is copied. An empty
   * buffer is nothing.
   *
   * @returns false if the ring is full, and nothing was done
   * @throws TypeError, RangeError if it is no buffer, or one of more than 8 MiB
   */
  append(buffer: Bytes): boolean {
    checkBytes('buffer', buffer);
    const bytes = pinned(buffer);
    if (bytes.length > MOST_BYTES) throw outOfRange('buffer.byteLength', `<= ${MOST_BYTES}`, bytes.length);
    if (bytes.length === 0) return true;
    if (this.full || this.#closed) return false;
    this.#waiting.push(bytes);
    this.#length += bytes.length;
    this.#group?.add(bytes.address, bytes.length, 0);
    return true;
  }

  /**
   * @internal A send is about to be queued in `slot`. The kernel takes buffers for good when it begins to send: what an
   * earlier send has taken and not sent, because it failed or was given up, is put into the ring again.
   */
  prepare(group: BufferGroup, slot: number): void {
    if (this.#doubtful && !group.inUse) {
      const { head } = group;
      if (head !== this.#taken || this.#sent > 0) {
        group.rewind(head);
        this.#taken = head;
        const iovecs = this.iovecs();
        for (let i = 0; i < iovecs.length; i += 2) group.add(iovecs[i], iovecs[i + 1], 0);
      }
    }
    this.#doubtful = true;
    group.usedBy(slot);
  }

  /** @internal What waits, as address and length of each stretch, one after the other. */
  iovecs(): number[] {
    if (this.#closed) return [];
    return this.#waiting.flatMap(({ address, length }, i) =>
      i === 0 ? [address + this.#sent, length - this.#sent] : [address, length],
    );
  }

  /** @internal Notes that the first `count` bytes have been sent. */
  sent(count: number): void {
    if (this.#closed) return;
    this.#length -= count;
    let left = count + this.#sent;
    while (this.#waiting.length > 0 && left >= this.#waiting[0].length) {
      left -= this.#waiting[0].length;
      this.#waiting.shift();
      this.#taken = (this.#taken + 1) & 0xffff;
    }
    this.#sent = left;
    if (this.#waiting.length === 0) this.#doubtful = false;
  }

  /** Drops what waits and gives the ring back. Ends no op that is sending. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#group?.close([]);
    this.#length = 0; // the buffers themselves stay: an op that is sending them keeps this ring alive
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function groupOf(entries: number): BufferGroup | null {
  if ((reactor().ring.features & IORING_FEAT_RECVSEND_BUNDLE) === 0) return null;
  try {
    return new BufferGroup(entries, false);
  } catch {
    return null; // the limit of locked memory
  }
}
