import type { BufferRing } from '@ouro/runtime/driver';
import type { SocketAddress } from '../address.ts';

/** A datagram that has arrived. */
export interface Datagram {
  /** Its bytes; none for an empty one. */
  readonly data: Buffer;
  /** Who sent it. The object may be that of other datagrams of the same sender, and is frozen. */
  readonly address: SocketAddress;
  /** Whether there was not room enough: what did not fit is lost. */
  readonly truncated: boolean;
  /** Bytes that were sent: more than `data` has if it is truncated. */
  readonly size: number;
}

/** A datagram in memory that is lent: dispose of it, and `data` is the kernel's again. */
export interface LeasedDatagram extends Datagram, Disposable {
  /**
   * Where the kernel has put several datagrams of one sender together (`gro`), the bytes of each but the last, which may have
   * fewer; 0 where `data` is one datagram.
   */
  readonly segmentSize: number;
  /** Gives the memory back, as that of a stream's lease. Once is enough; `using` does it too. */
  release(): void;
  /** The bytes in memory of your own. */
  copy(): Buffer;
}

/** Whoever is told when a lease has ended. */
export interface Lender {
  givenBack(ring: BufferRing, buffer: number): void;
}

/** Both kinds. One that lies in memory of its own has nothing to give back. */
export class Packet implements LeasedDatagram {
  readonly data: Buffer;
  readonly address: SocketAddress;
  readonly truncated: boolean;
  readonly size: number;
  readonly segmentSize: number;
  #lender: Lender | null = null;
  #ring: BufferRing | null = null;
  #buffer = -1;
  /** Bytes of `data`: what it has if somebody takes the memory away is none. */
  readonly length: number;

  constructor(data: Buffer, address: SocketAddress, truncated: boolean, size: number, segmentSize: number) {
    this.data = data;
    this.length = data.length;
    this.address = address;
    this.truncated = truncated;
    this.size = size;
    this.segmentSize = segmentSize;
  }

  /** Notes whose memory it is. */
  lentBy(lender: Lender, ring: BufferRing, buffer: number): this {
    this.#lender = lender;
    this.#ring = ring;
    this.#buffer = buffer;
    return this;
  }

  /** Whether somebody has taken the memory away that it lies in. */
  get lost(): boolean {
    return this.data.length !== this.length;
  }

  /** The same in memory of its own; a lease is given back. */
  owned(): Packet {
    if (this.#ring === null) return this;
    const { data, address, truncated, size, segmentSize } = this;
    const copy = new Packet(Buffer.from(data), address, truncated, size, segmentSize);
    this.release();
    return copy;
  }

  copy(): Buffer {
    return Buffer.from(this.data);
  }

  [Symbol.dispose](): void {
    this.release();
  }

  release(): void {
    const ring = this.#ring;
    if (ring === null) return;
    this.#ring = null;
    this.#lender?.givenBack(ring, this.#buffer);
  }
}
