import {
  ECANCELED,
  ENOBUFS,
  IORING_CQE_F_MORE,
  IORING_OP_RECV,
  IORING_RECV_MULTISHOT,
  IOSQE_BUFFER_SELECT,
  IOSQE_FIXED_FILE,
} from '@ouro/native/abi';
import {
  type BatchEnd,
  BufferRing,
  type Descriptor,
  type Future,
  reactor,
  receiveBuffers,
  rejected,
  resolved,
} from '@ouro/runtime/driver';
import { busyError, socketError } from '../errors.ts';
import { Arrivals, type Chunk } from './arrivals.ts';
import { allocateChunk, allocateInner, allocateWaiting, copy, MOST_CHUNK, MOST_IN_SLAB } from './chunk.ts';
import { ChunkLease } from './chunk-lease.ts';
import { ReceiveInFlight } from './receive-in-flight.ts';
import { largeSlabs, lentSlabs, type SlabRing } from './slab-ring.ts';
import { Waiter } from './waiter.ts';
import { nextChunk, type Want } from './want.ts';

const HEAD = IORING_OP_RECV | (IOSQE_BUFFER_SELECT << 8) | (IORING_RECV_MULTISHOT << 16);

/** Bytes that wait for a slow reader before we stop taking more from the kernel; at a quarter of it we begin again. */
export const HIGH_WATER = 262_144;

/** Bytes that one receive brings where there are no provided buffers. */
const OWN_BYTES = 16_384;
const NOTHING = new Uint8Array(0);
/** What has arrived at all receivers where nothing has had to wait so far. Nothing is ever put there. */
const NONE_ARRIVED: Arrivals = new Arrivals();

/** What one turn brings of a stream that is better received into slabs that are given away than copied. */
const MUCH = 32_768;
/** A chunk shorter than that is copied out of a slab instead, and so many in a row end the slabs. */
const LITTLE = 8192;
const LITTLE_ONES = 32;

/** What has arrived when somebody else goes on receiving. */
export interface Arrived {
  readonly chunks: readonly Buffer[];
  /** The end of the stream has arrived, too. */
  readonly ended: boolean;
  /** What has ended it instead. */
  readonly error: Error | null;
}

/** Whether the memory that a receiver has last allocated is none to be handed out: it is delivered before another one allocates. */
let inner = false;

/**
 * What arrives on one socket: a multishot receive (6.0) into provided buffers; where the kernel gives none, receives
 * of one's own, one after the other. It is armed when somebody first waits, and given up while too much lies unread,
 * so that TCP's own flow control reaches the peer.
 *
 * Into which buffers depends on who waits and on what comes: those that the thread shares, copied out when the batch is over so that they
 * can go back; for large messages slabs that are given away, a new one in the place of each; for loops with leases slabs that
 * are lent.
 */
export class Receiver extends ReceiveInFlight implements BatchEnd {
  /** Bytes that have arrived so far. */
  bytesRead = 0;
  readonly #highWater: number;
  readonly #descriptor: Descriptor;
  readonly #buffers: BufferRing | null = receiveBuffers();
  /** Where bytes arrive if there are no provided buffers: memory that no script sees. */
  #own: Buffer | null = null;
  #arrivals: Arrivals = NONE_ARRIVED;
  /** What the batch in hand has brought: where it lies, its length, the buffer that it is in (-1 for memory of our own). */
  #pieceAt = 0;
  #pieceLength = 0;
  #pieceBuffer = -1;
  /** The same of further pieces, three numbers each. */
  #morePieces: number[] | null = null;
  #gathered = 0;
  /** Whether the end of the batch is awaited. */
  #inBatch = false;
  /** Who waits for what comes next, and who waits behind that one. */
  #waiter: Waiter<unknown> | null = null;
  #others: Waiter<unknown>[] | null = null;
  #ended = false;
  #error: Error | null = null;
  #closed = false;
  /** Whether who waits wants chunks lent. */
  #lending = false;
  /** Whether much comes at a time. */
  #large = false;
  #littleOnes = 0;
  /** What the receive in flight selects from, if that is slabs. */
  #slabs: SlabRing | null = null;

  constructor(descriptor: Descriptor, highWater: number = HIGH_WATER) {
    super();
    this.#highWater = highWater;
    this.#descriptor = descriptor;
  }

  override get refed(): boolean {
    return this.#descriptor.refed;
  }

  /** Bytes that have arrived and nobody has taken. */
  get buffered(): number {
    return this.#arrivals.bytes;
  }

  /** Whether reading must go through here: something lies here, or is on its way here. */
  get active(): boolean {
    return this.slot >= 0 || this.#arrivals.bytes > 0 || this.#ended;
  }

  /** Whether somebody waits. */
  get awaited(): boolean {
    return this.#waiter !== null;
  }

  /** What is wanted, as soon as it has arrived. */
  wait<T>(want: Want<T>): Future<T> {
    const first = this.#waiter;
    if (first === null && this.#arrivals.bytes > 0) {
      try {
        const value = want.take(this.#arrivals);
        if (value !== undefined) {
          if (this.#arrivals.bytes <= this.#highWater >> 2) this.#arm();
          return resolved(value);
        }
      } catch (error) {
        return rejected(error);
      }
    }
    if (this.#error !== null || this.#ended || this.#closed) return this.#over(want);
    // Several may wait for a chunk, each gets the next one; but a read waits alone.
    if (first !== null && !(want.shared && first.want.shared)) return rejected(busyError());
    if (want.lends !== null && want.lends !== this.#lending) {
      this.#lending = want.lends;
      this.giveUp(); // it makes way for one into other buffers
    }
    const waiter = new Waiter(this, want);
    if (first === null) this.#waiter = waiter;
    else {
      this.#others ??= [];
      this.#others.push(waiter);
    }
    this.#arm();
    return waiter;
  }

  #over<T>(want: Want<T>): Future<T> {
    const waiter = new Waiter(this, want);
    const error = this.#error;
    this.#error = null;
    if (error !== null) waiter.failWith(error);
    else waiter.end(this.#arrivals);
    return waiter;
  }

  /** Moves what has arrived already into `target`: nothing while somebody waits, or an error has not been told. */
  moveInto(target: Uint8Array): number {
    return this.#waiter !== null ? 0 : this.#arrivals.moveInto(target);
  }

  /** Takes bytes back, to be the next that are read. */
  putBack(chunk: Chunk): void {
    if (this.#closed) {
      if (chunk instanceof ChunkLease) chunk.release();
      return;
    }
    this.#kept().unshift(chunk);
    this.#serve();
  }

  /** @internal */
  forget(waiter: Waiter<unknown>): boolean {
    if (this.#waiter === waiter) {
      this.#waiter = this.#others?.shift() ?? null;
      return true;
    }
    const at = this.#others?.indexOf(waiter) ?? -1;
    if (at >= 0) this.#others?.splice(at, 1);
    return at >= 0;
  }

  /** All who wait. */
  #waiting(): Waiter<unknown>[] {
    return this.#waiter === null ? [] : [this.#waiter, ...(this.#others ?? [])];
  }

  /** The same; from here on they wait no more. */
  #dismiss(): Waiter<unknown>[] {
    const waiting = this.#waiting();
    this.#waiter = this.#others = null;
    return waiting;
  }

  /** Where to put what has to wait. */
  #kept(): Arrivals {
    if (this.#arrivals === NONE_ARRIVED) this.#arrivals = new Arrivals();
    return this.#arrivals;
  }

  /** Cancels those who wait: reads, and loops if they are to be. */
  cancel(reason: unknown, loops: boolean): void {
    for (const waiter of this.#waiting()) if (loops || !waiter.want.shared) waiter.cancel(reason);
  }

  #arm(): void {
    if (this.slot >= 0 || this.#ended || this.#closed) return;
    const r = reactor();
    const slot = r.take(this);
    const buffers = this.#buffers;
    const { fd, direct } = this.#descriptor;
    const fixed = direct ? IOSQE_FIXED_FILE << 8 : 0;
    if (buffers !== null) {
      const slabs = this.#lending ? lentSlabs() : this.#large ? largeSlabs() : null;
      this.#slabs = slabs;
      const group = slabs === null ? buffers.group : slabs.group;
      if (slabs?.lends) slabs.usedBy(slot);
      r.push(slot, HEAD | fixed, fd, 0, 0, 0, 0, group, 0);
    } else {
      this.#own ??= Buffer.allocUnsafeSlow(OWN_BYTES);
      const address = r.addon.addressOf(this.#own);
      r.push(slot, IORING_OP_RECV | fixed, fd, 0, address, OWN_BYTES, 0, 0, 0);
    }
    this.begun(slot);
  }

  override complete(result: number, flags: number): void {
    const more = (flags & IORING_CQE_F_MORE) !== 0;
    if (!more) this.slot = -1;
    const buffers = this.#buffers;
    if (result > 0) {
      this.bytesRead += result;
      if (this.#slabs !== null) this.#filled(this.#slabs, result, flags);
      else if (buffers === null) this.#arrived(0, result, -1);
      else this.#arrived(buffers.take(flags, result), result, BufferRing.bufferOf(flags));
    } else {
      // The ring was empty: every buffer that was out has been copied and given back by the end of this batch, so
      // arming again is all it takes. Being stopped is our own doing.
      if (result === 0) this.#end(null);
      else if (result === ENOBUFS && buffers !== null) (this.#slabs ?? buffers).starve();
      else if (!(result === ECANCELED && this.stopping)) this.#end(socketError(result, 'read'));
    }
    if (more) {
      if (this.#arrivals.bytes + this.#gathered >= this.#most()) this.giveUp();
      return;
    }
    this.tellStopped();
    if (!this.#inBatch && this.#waiter !== null) this.#arm();
  }

  /** Bytes that may lie here before we stop taking more. (No getter: V8 calls its runtime for private ones.) */
  #most(): number {
    const waiter = this.#waiter;
    return waiter === null ? this.#highWater : Math.max(this.#highWater, waiter.want.most);
  }

  /** Notes where bytes lie; what one batch brings is copied out together, when it is over. */
  #arrived(at: number, length: number, buffer: number): void {
    if (this.#closed) {
      if (buffer >= 0) this.#buffers?.release(buffer);
      return;
    }
    this.#awaitEnd();
    if (this.#gathered === 0) {
      this.#pieceAt = at;
      this.#pieceLength = length;
      this.#pieceBuffer = buffer;
    } else {
      this.#morePieces ??= [];
      this.#morePieces.push(at, length, buffer);
    }
    this.#gathered += length;
  }

  /** Takes what lies in a slab, in place if it is much or is to be lent. */
  #filled(slabs: SlabRing, length: number, flags: number): void {
    this.#awaitEnd();
    const slab = BufferRing.bufferOf(flags);
    let bytes: Buffer;
    try {
      bytes = slabs.take(flags, length);
    } catch (error) {
      // These bytes are gone, so what comes after them is of no use.
      this.#end(error as Error);
      this.giveUp();
      return;
    }
    if (this.#closed || this.#ended) slabs.release(slab);
    else if (slabs.lends && !slabs.isScarce(slab)) this.#kept().push(ChunkLease.of(bytes, slabs, slab));
    else if (!slabs.lends && length >= LITTLE) {
      slabs.replace(slab);
      this.#littleOnes = 0;
      this.#kept().push(bytes);
    } else {
      const chunk = Buffer.allocUnsafeSlow(length);
      copy(bytes, 0, chunk, 0, length);
      slabs.release(slab);
      this.#kept().push(chunk);
      if (!slabs.lends && ++this.#littleOnes === LITTLE_ONES) this.#receiveInto(false);
    }
  }

  /** Says whether much comes at a time. */
  #receiveInto(large: boolean): void {
    if (this.#large === large) return;
    this.#large = large;
    this.#littleOnes = 0;
    if (!this.#lending) this.giveUp();
  }

  #awaitEnd(): void {
    if (this.#inBatch) return;
    this.#inBatch = true;
    reactor().afterBatch(this);
  }

  batchEnded(): void {
    this.#inBatch = false;
    if (this.#gathered > 0) this.#gather();
    else this.#serve();
    // Only now it is known who still waits: whoever got bytes of this batch must not ask for another 4 MiB.
    if (this.#waiter !== null) this.#arm();
  }

  #gather(): void {
    if (this.#gathered === 0) return;
    if (this.#gathered >= MUCH && !this.#lending && this.#buffers !== null) this.#receiveInto(true);
    let chunk = this.#allocate();
    if (this.#morePieces === null && this.#gathered <= MOST_CHUNK) {
      copy(this.#source(), this.#pieceAt, chunk, 0, this.#pieceLength);
      if (this.#pieceBuffer >= 0) this.#buffers?.release(this.#pieceBuffer);
    } else {
      chunk = this.#gatherMany(chunk);
    }
    this.#gathered = 0;
    this.#deliver(chunk);
  }

  /** Where pieces lie. */
  #source(): Uint8Array {
    return this.#buffers?.bytes ?? this.#own ?? NOTHING;
  }

  /**
   * Memory for what has been gathered. What is handed out at once may share a slab with other chunks. What has to wait must not, because
   * whoever puts a chunk into a byte stream takes the whole slab away: it gets memory that nobody sees, from which it is copied
   * when it is taken, or if it is much memory of its own. What is only read from gets memory that nobody sees.
   */
  #allocate(): Buffer {
    const length = Math.min(this.#gathered, MOST_CHUNK);
    inner = false;
    const waiter = this.#waiter;
    if (waiter === null || this.#arrivals.bytes > 0) {
      const chunk = allocateWaiting(length);
      inner = chunk !== null;
      return chunk ?? Buffer.allocUnsafeSlow(length);
    }
    const { pooled, shared } = waiter.want;
    if (pooled) return allocateChunk(length);
    if (shared || length > MOST_IN_SLAB) return Buffer.allocUnsafeSlow(length);
    inner = true;
    return allocateInner(length);
  }

  /** Fills chunk after chunk and delivers all but the last. */
  #gatherMany(first: Buffer): Buffer {
    const pieces = [this.#pieceAt, this.#pieceLength, this.#pieceBuffer, ...(this.#morePieces ?? [])];
    this.#morePieces = null;
    const source = this.#source();
    let chunk = first;
    let filled = 0;
    for (let i = 0; i < pieces.length; i += 3) {
      let at = pieces[i];
      let length = pieces[i + 1];
      while (length > 0) {
        if (filled === chunk.length) {
          this.#gathered -= filled;
          this.#deliver(chunk);
          chunk = this.#allocate();
          filled = 0;
        }
        const part = Math.min(length, chunk.length - filled);
        copy(source, at, chunk, filled, part);
        filled += part;
        at += part;
        length -= part;
      }
      if (pieces[i + 2] >= 0) this.#buffers?.release(pieces[i + 2]);
    }
    return chunk;
  }

  #deliver(chunk: Buffer): void {
    // The usual case: a loop waits, and nothing lies before this.
    const waiter = this.#waiter;
    if (waiter !== null && waiter.want === nextChunk && this.#arrivals.bytes === 0) {
      this.#waiter = this.#others?.shift() ?? null;
      waiter.resolve({ done: false, value: chunk });
      return;
    }
    this.#kept().push(inner ? ChunkLease.inner(chunk) : chunk);
    this.#serve();
  }

  /** Gives those who wait what has arrived. */
  #serve(): void {
    for (let waiter = this.#waiter; waiter !== null && this.#arrivals.bytes > 0; waiter = this.#waiter) {
      if (!waiter.serve(this.#arrivals)) return;
      this.#waiter = this.#others?.shift() ?? null;
    }
  }

  #end(error: Error | null): void {
    this.#gather();
    this.#serve();
    this.#ended = true;
    // An error is told once: to the first who waits, or else to the first who comes. The others see the end.
    const waiting = this.#dismiss();
    const waiter = error === null ? undefined : waiting.shift();
    if (error !== null && waiter !== undefined) waiter.failWith(error);
    else this.#error = error;
    for (const each of waiting) each.end(this.#arrivals);
  }

  override stop(then: () => void): void {
    super.stop(() => {
      this.#arrivals.own();
      then();
    });
  }

  /** Ends everything: whoever waits sees the end of an iteration, or ECANCELED for a read. */
  close(then: () => void): void {
    this.#closed = true;
    this.#gather();
    for (const waiter of this.#dismiss()) waiter.close();
    this.#arrivals.clear();
    this.stop(then);
  }

  /** Hands over what has arrived: to be asked when it has stopped. */
  takeOver(): Arrived {
    const chunks: Buffer[] = [];
    while (this.#arrivals.bytes > 0) chunks.push(this.#arrivals.shift(false));
    const error = this.#error;
    this.#error = null;
    return { chunks, ended: this.#ended, error };
  }
}
