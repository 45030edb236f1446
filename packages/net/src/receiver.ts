import {
  ECANCELED,
  ENOBUFS,
  IORING_CQE_F_MORE,
  IORING_OP_RECV,
  IORING_RECV_MULTISHOT,
  IOSQE_BUFFER_SELECT,
} from '@ouro/native/abi';
import {
  asBytes,
  awaitFast,
  type BatchEnd,
  BufferRing,
  type Bytes,
  type Completion,
  cancellation,
  Deferred,
  type Future,
  reactor,
  receiveBuffers,
  rejected,
  resolved,
} from '@ouro/runtime/driver';
import { allocateChunk, copy, MOST_CHUNK } from './chunk.ts';
import { busyError, socketError } from './errors.ts';

const HEAD = IORING_OP_RECV | (IOSQE_BUFFER_SELECT << 8) | (IORING_RECV_MULTISHOT << 16);

/** Bytes that wait for a slow reader before we stop taking more from the kernel, and when we begin again. */
export const HIGH_WATER = 262_144;
const LOW_WATER = 65_536;

/** Bytes that one receive brings where there are no provided buffers. */
const OWN_BYTES = 16_384;
const NOTHING = new Uint8Array(0);

/** Somebody who waits for a chunk. */
class Waiter<T> extends Deferred<T> {
  readonly #receiver: Receiver;
  /** Makes what the waiter waits for out of the head of the queue; null means the end of the stream. */
  readonly take: (receiver: Receiver, ended: boolean) => T;

  constructor(receiver: Receiver, take: (receiver: Receiver, ended: boolean) => T) {
    super();
    this.#receiver = receiver;
    this.take = take;
  }

  override cancel(reason?: unknown): void {
    if (this.#receiver.forget(this)) this.reject(cancellation(reason));
  }
}
awaitFast(Waiter);

/**
 * What arrives on one socket: a multishot receive (6.0) into the thread's provided buffers, copied out at once so
 * that the buffer can go back; where the kernel gives no such buffers, receives of one's own, one after the other. It is armed when somebody first waits, and given up while too much lies unread, so
 * that TCP's own flow control reaches the peer.
 */
export class Receiver implements Completion, BatchEnd {
  readonly resultIsFd = false;
  refed: boolean;
  readonly #fd: number;
  readonly #buffers: BufferRing | null = receiveBuffers();
  /** Where bytes arrive if there are no provided buffers: memory that no script sees. */
  #own: Buffer | null = null;
  readonly #chunks: Buffer[] = [];
  /** What the batch in hand has brought: where it lies, its length, the buffer that it is in (-1 for memory of our own). */
  #pieceAt = 0;
  #pieceLength = 0;
  #pieceBuffer = -1;
  /** The same of further pieces, three numbers each. */
  #morePieces: number[] | null = null;
  #gathered = 0;
  #first = 0; // index of the first chunk not taken; the array is emptied when it catches up
  #buffered = 0;
  readonly #waiters: Waiter<unknown>[] = [];
  #slot = -1;
  #stopping = false;
  readonly #stopped: (() => void)[] = [];
  #ended = false;
  #error: Error | null = null;
  #closed = false;

  constructor(fd: number, refed: boolean) {
    this.#fd = fd;
    this.refed = refed;
  }

  /** Bytes that have arrived and nobody has taken. */
  get buffered(): number {
    return this.#buffered;
  }

  /** Whether reading must go through here: something lies here, or is on its way here. */
  get active(): boolean {
    return this.#slot >= 0 || this.#buffered > 0 || this.#ended;
  }

  /** Whether the kernel holds nothing of ours. */
  get idle(): boolean {
    return this.#slot < 0;
  }

  next(): Future<IteratorResult<Buffer, undefined>> {
    return this.#wait(nextChunk);
  }

  /** What has arrived, copied into `view` when it is there: memory that is gone by then costs no bytes. */
  read(view: Bytes): Future<number> {
    return this.#wait((receiver, ended) => (ended ? 0 : receiver.#copyInto(asBytes(view))));
  }

  #wait<T>(take: (receiver: Receiver, ended: boolean) => T): Future<T> {
    if (this.#buffered > 0) {
      const value = take(this, false);
      if (this.#buffered <= LOW_WATER) this.#arm();
      return resolved(value);
    }
    if (this.#error !== null) {
      const error = this.#error;
      this.#error = null;
      return rejected(error);
    }
    if (this.#ended || this.#closed) return resolved(take(this, true));
    // Several may wait for a chunk, each gets the next one; but a read waits alone.
    const [first] = this.#waiters;
    if (first !== undefined && (first.take !== nextChunk || take !== nextChunk)) return rejected(busyError());
    const waiter = new Waiter(this, take);
    this.#waiters.push(waiter);
    this.#arm();
    return waiter;
  }

  /** @internal */
  shift(): Buffer {
    const chunk = this.#chunks[this.#first++];
    this.#buffered -= chunk.length;
    if (this.#first === this.#chunks.length) {
      this.#chunks.length = 0;
      this.#first = 0;
    }
    return chunk;
  }

  #copyInto(target: Uint8Array): number {
    if (target.length === 0)
      throw new TypeError('The buffer has shrunk to nothing while the read was waiting');
    let filled = 0;
    while (filled < target.length && this.#buffered > 0) {
      const chunk = this.shift();
      const part = chunk.subarray(0, target.length - filled);
      target.set(part, filled);
      filled += part.length;
      if (part.length < chunk.length) this.#unshift(chunk.subarray(part.length));
    }
    return filled;
  }

  #unshift(rest: Buffer): void {
    this.#buffered += rest.length;
    if (this.#first > 0) this.#chunks[--this.#first] = rest;
    else this.#chunks.unshift(rest);
  }

  /** @internal */
  forget(waiter: Waiter<unknown>): boolean {
    const at = this.#waiters.indexOf(waiter);
    if (at >= 0) this.#waiters.splice(at, 1);
    return at >= 0;
  }

  #arm(): void {
    if (this.#slot >= 0 || this.#ended || this.#closed) return;
    const r = reactor();
    const slot = r.take(this);
    const buffers = this.#buffers;
    if (buffers !== null) r.push(slot, HEAD, this.#fd, 0, 0, 0, 0, buffers.group, 0);
    else {
      this.#own ??= Buffer.allocUnsafeSlow(OWN_BYTES);
      r.push(slot, IORING_OP_RECV, this.#fd, 0, r.addon.addressOf(this.#own), OWN_BYTES, 0, 0, 0);
    }
    this.#slot = slot;
    this.#stopping = false;
  }

  complete(result: number, flags: number): void {
    const slot = this.#slot;
    const more = (flags & IORING_CQE_F_MORE) !== 0;
    if (!more) this.#slot = -1;
    const buffers = this.#buffers;
    if (result > 0) {
      if (buffers === null) this.#arrived(0, result, -1);
      else this.#arrived(buffers.take(flags, result), result, BufferRing.bufferOf(flags));
    } else {
      // The ring was empty: every buffer that was out has been copied and given back by the end of this batch, so
      // arming again is all it takes. Being stopped is our own doing.
      if (result === 0) this.#end(null);
      else if (result === ENOBUFS && buffers !== null) buffers.starve();
      else if (!(result === ECANCELED && this.#stopping)) this.#end(socketError(result, 'read'));
    }
    if (more) {
      if (this.#buffered + this.#gathered >= HIGH_WATER) this.#cancel(slot);
      return;
    }
    if (this.#stopped.length > 0) for (const then of this.#stopped.splice(0)) then();
    if (this.#gathered === 0 && this.#waiters.length > 0) this.#arm();
  }

  /** Notes where bytes lie; what one batch brings is copied out together, when it is over. */
  #arrived(at: number, length: number, buffer: number): void {
    if (this.#closed) {
      if (buffer >= 0) this.#buffers?.release(buffer);
      return;
    }
    if (this.#gathered === 0) {
      reactor().afterBatch(this);
      this.#pieceAt = at;
      this.#pieceLength = length;
      this.#pieceBuffer = buffer;
    } else {
      this.#morePieces ??= [];
      this.#morePieces.push(at, length, buffer);
    }
    this.#gathered += length;
  }

  batchEnded(): void {
    this.#gather();
    // Only now it is known who still waits: whoever got bytes of this batch must not ask for another 4 MiB.
    if (this.#waiters.length > 0) this.#arm();
  }

  #gather(): void {
    if (this.#gathered === 0) return;
    let chunk = this.#allocate();
    if (this.#morePieces === null && this.#gathered <= MOST_CHUNK) {
      copy(this.#source, this.#pieceAt, chunk, 0, this.#pieceLength);
      if (this.#pieceBuffer >= 0) this.#buffers?.release(this.#pieceBuffer);
    } else {
      chunk = this.#gatherMany(chunk);
    }
    this.#gathered = 0;
    this.#deliver(chunk);
  }

  /** Where pieces lie. */
  get #source(): Uint8Array {
    return this.#buffers?.bytes ?? this.#own ?? NOTHING;
  }

  /**
   * Memory for what has been gathered. What is handed out at once may share a slab with other chunks; what has to wait
   * gets memory of its own, because whoever puts a chunk into a byte stream takes the whole slab away.
   */
  #allocate(): Buffer {
    const length = Math.min(this.#gathered, MOST_CHUNK);
    const wanted = this.#waiters.length > 0 && this.#buffered === 0;
    return wanted ? allocateChunk(length) : Buffer.allocUnsafeSlow(length);
  }

  /** Fills chunk after chunk and delivers all but the last. */
  #gatherMany(first: Buffer): Buffer {
    const pieces = [this.#pieceAt, this.#pieceLength, this.#pieceBuffer, ...(this.#morePieces ?? [])];
    this.#morePieces = null;
    const source = this.#source;
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
    // The usual case: one loop waits, and nothing lies before this.
    const waiters = this.#waiters;
    if (waiters.length === 1 && this.#buffered === 0 && waiters[0].take === nextChunk) {
      waiters.pop()?.resolve({ done: false, value: chunk });
      return;
    }
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    while (this.#buffered > 0) {
      const waiter = this.#waiters.shift();
      if (waiter === undefined) break;
      try {
        waiter.resolve(waiter.take(this, false));
      } catch (error) {
        // The reader's buffer was detached or shrunk meanwhile. The bytes stay for the next one.
        waiter.reject(error);
      }
    }
  }

  #end(error: Error | null): void {
    this.#gather();
    this.#ended = true;
    // An error is told once: to the first who waits, or else to the first who comes. The others see the end.
    const waiter = error === null ? undefined : this.#waiters.shift();
    if (waiter === undefined) this.#error = error;
    else waiter.reject(error);
    for (const each of this.#waiters.splice(0)) each.resolve(each.take(this, true));
  }

  #cancel(slot: number): void {
    if (this.#stopping) return;
    this.#stopping = true;
    const r = reactor();
    r.cancel(slot, r.slots.generations[slot]);
  }

  /** Takes no more from the kernel; what has arrived stays. `then` is called when the kernel has let go. */
  stop(then: () => void): void {
    if (this.#slot < 0) {
      then();
      return;
    }
    this.#stopped.push(then);
    this.#cancel(this.#slot);
  }

  /** Ends everything: whoever waits sees the end of an iteration, or ECANCELED for a read. */
  close(then: () => void): void {
    this.#closed = true;
    this.#gather();
    for (const waiter of this.#waiters.splice(0)) {
      if (waiter.take === nextChunk) waiter.resolve({ done: true, value: undefined });
      else waiter.reject(socketError(ECANCELED, 'read'));
    }
    this.#chunks.length = 0;
    this.#first = 0;
    this.#buffered = 0;
    this.stop(then);
  }

  setRef(refed: boolean): void {
    this.refed = refed;
    if (this.#slot >= 0) reactor().setRef(this.#slot, refed);
  }
}

const nextChunk = (receiver: Receiver, ended: boolean): IteratorResult<Buffer, undefined> =>
  ended ? { done: true, value: undefined } : { done: false, value: receiver.shift() };
