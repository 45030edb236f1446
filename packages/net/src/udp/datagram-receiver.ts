import {
  ECANCELED,
  ENOBUFS,
  IORING_CQE_F_MORE,
  IORING_OP_RECVMSG,
  IORING_RECV_MULTISHOT,
  IOSQE_BUFFER_SELECT,
  MSG_TRUNC,
} from '@ouro/native/abi';
import {
  awaitFast,
  type BatchEnd,
  BufferRing,
  Deferred,
  type Descriptor,
  type Future,
  reactor,
  rejected,
  resolved,
  scratchOffset,
} from '@ouro/runtime/driver';
import { givenUp, transferredError } from '../errors.ts';
import { placeToReceive, readReceived, segmentSizeOf } from '../op/datagram-header.ts';
import { type Peer, receiveError } from '../op/recvfrom.ts';
import { MessageHead, placeRooms } from '../op/recvmsg-out.ts';
import { peerAt } from '../peers.ts';
import { allocateChunk, copy } from '../socket/chunk.ts';
import { ReceiveInFlight } from '../socket/receive-in-flight.ts';
import { type Lender, Packet } from './datagram.ts';
import { datagramRing, MOST_DATAGRAM, ROOMS, sharedBuffers } from './datagram-buffers.ts';
import { DatagramQueue } from './datagram-queue.ts';
import type { Take } from './takes.ts';

const HEAD = IORING_OP_RECVMSG | (IOSQE_BUFFER_SELECT << 8) | (IORING_RECV_MULTISHOT << 16);

/** Bytes that wait for a slow reader before we leave the rest to the kernel, and when we take more again. */
const HIGH_WATER = 262_144;
const LOW_WATER = 65_536;

/** How a socket receives. */
export interface Receiving {
  readonly descriptor: Descriptor;
  /** Bytes of the longest datagram that is not cut. */
  readonly maxSize: number;
  /** Buffers of the socket's own; 0 for those of the thread. */
  readonly buffers: number;
  /** Whom the socket is connected to. */
  peer(): Peer | undefined;
}

/** Buffers of a socket's own if it lends and nobody has said how many. */
const LENT_BUFFERS = 64;

const NOTHING = Buffer.alloc(0);

/** Somebody who waits for datagrams. */
class Waiter<T> extends Deferred<T> {
  readonly #receiver: DatagramReceiver;
  /** Makes what is waited for out of the head of the queue; null means the end. */
  readonly take: Take<T>;
  readonly ofLoop: boolean;

  constructor(receiver: DatagramReceiver, take: Take<T>, ofLoop: boolean) {
    super();
    this.#receiver = receiver;
    this.take = take;
    this.ofLoop = ofLoop;
  }

  override cancel(reason?: unknown): void {
    if (this.#receiver.forget(this)) this.reject(givenUp(reason, 'recvmsg'));
  }
}
awaitFast(Waiter);

/**
 * What arrives on one socket: a multishot receive of messages (6.0) into provided buffers, copied out when the batch is
 * over so that the buffers can go back, or lent; where the kernel gives no such buffers, receives one after the other. Armed
 * when somebody waits; given up while too much lies unread: then datagrams wait in the kernel, which drops what does not fit there.
 */
export class DatagramReceiver extends ReceiveInFlight implements BatchEnd, Lender {
  readonly name = 'recvmsg';
  override refed: boolean;
  readonly #receiving: Receiving;
  /** Buffers that the receive in flight takes from; null for memory of our own. */
  #ring: BufferRing | null = null;
  #head: MessageHead | null = null;
  #bytes: Buffer = NOTHING;
  /** A ring that is not shared, if there is one. */
  #ownRing: BufferRing | null = null;
  #lends = false;
  /** Whether the next receive is to choose its ring anew. */
  #choose = true;
  #lent = 0;
  /** Where bytes arrive if there are no provided buffers: memory that no script sees. */
  #memory: Buffer | null = null;
  /** What the batch in hand has brought: where its buffer begins, its length, the buffer; three numbers each. */
  #pieces: number[] = [];
  #gathering = false;
  readonly #queue: DatagramQueue = new DatagramQueue();
  readonly #waiters: Waiter<unknown>[] = [];
  #closed = false;
  readonly #resume = (): void => {
    if (this.#waiters.length > 0) this.#insist();
  };

  constructor(receiving: Receiving) {
    super();
    this.#receiving = receiving;
    this.refed = receiving.descriptor.refed;
  }

  /** Whether receiving must go through here: something lies here, or is on its way here. */
  get active(): boolean {
    return this.slot >= 0 || this.waiting > 0;
  }

  /** Datagrams and failures that nobody has taken. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** From here on datagrams are lent. Those that come before that has got through are copies, and may be lent as well. */
  lend(): void {
    if (this.#lends) return;
    this.#lends = true;
    this.#choose = true;
    this.giveUp();
  }

  /**
   * Waits until there is something to `take`.
   *
   * @param goesOn whether more will be wanted: then the kernel need not be asked anew each time
   */
  wait<T>(take: Take<T>, goesOn: boolean): Future<T> {
    if (this.waiting > 0) {
      const future = settled(take, this.#queue);
      if (goesOn && this.#queue.bytes <= LOW_WATER) this.#rearm();
      return future;
    }
    if (this.#closed) return settled(take, null);
    const waiter = new Waiter(this, take, goesOn);
    this.#waiters.push(waiter);
    try {
      this.#arm();
    } catch (error) {
      this.forget(waiter); // the kernel takes no more ops, or there is no memory
      waiter.reject(error);
    }
    return waiter;
  }

  /** Goes on receiving for whoever comes next, who will see why not if that fails. */
  #rearm(): void {
    try {
      this.#arm();
    } catch {
      // The next one to wait arms anew.
    }
  }

  /** @internal */
  forget(waiter: Waiter<unknown>): boolean {
    const at = this.#waiters.indexOf(waiter);
    if (at >= 0) this.#waiters.splice(at, 1);
    return at >= 0;
  }

  /** Cancels those who wait for one datagram; loops go on. */
  cancel(reason: unknown): void {
    for (const each of [...this.#waiters]) if (!each.ofLoop) each.cancel(reason);
  }

  #chooseRing(): void {
    this.#choose = false;
    const { maxSize, buffers } = this.#receiving;
    if (this.#ownRing === null && (this.#lends || buffers > 0))
      this.#ownRing = datagramRing(maxSize, buffers > 0 ? buffers : LENT_BUFFERS);
    this.#ring = this.#lends || buffers > 0 ? this.#ownRing : sharedBuffers();
    const bytes = this.#ring?.bytes ?? NOTHING;
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#head = this.#ring === null ? null : new MessageHead(bytes, ROOMS);
  }

  #arm(): void {
    if (this.slot >= 0 || this.#closed || this.#pieces.length > 0) return;
    if (this.#choose) this.#chooseRing();
    const ring = this.#ring;
    if (ring !== null && !ring.ready(this.#resume)) return;
    const r = reactor();
    const { fd } = this.#receiving.descriptor;
    const slot = r.take(this);
    if (ring !== null) {
      placeRooms(r.scratch(slot).bytes, scratchOffset(slot), ROOMS);
      ring.usedBy(slot);
      r.push(slot, HEAD, fd, 0, r.scratchAddress(slot), 1, MSG_TRUNC, ring.group, 0);
    } else {
      this.#memory ??= Buffer.allocUnsafeSlow(Math.min(this.#receiving.maxSize, MOST_DATAGRAM));
      const to = r.addon.addressOf(this.#memory);
      const address = placeToReceive(slot, to, this.#memory.length, true);
      r.push(slot, IORING_OP_RECVMSG, fd, 0, address, 1, MSG_TRUNC, 0, 0);
    }
    this.begun(slot);
  }

  override complete(result: number, flags: number): void {
    const slot = this.slot;
    const more = (flags & IORING_CQE_F_MORE) !== 0;
    if (!more) this.slot = -1;
    const ring = this.#ring;
    if (result >= 0) {
      if (ring === null) this.#arrivedInMemory(result, slot);
      else this.#pieces.push(ring.take(flags, result), result, BufferRing.bufferOf(flags));
    } else if (result === ENOBUFS && ring !== null) ring.starve();
    else if (!(result === ECANCELED && (this.stopping || this.#closed))) {
      this.#gather();
      if (!this.#closed) this.#queue.fail(receiveError(result, this.#receiving.peer()));
    }
    if (!this.#gathering) {
      this.#gathering = true;
      reactor().afterBatch(this);
    }
    if (!more) this.tellStopped();
  }

  batchEnded(): void {
    this.#gathering = false;
    this.#gather();
    this.#deliver();
    if (this.#queue.bytes >= HIGH_WATER) this.giveUp();
    // Only now it is known who still waits, and that buffers are back.
    if (this.#waiters.length > 0) this.#insist();
  }

  /** Arms; whoever waits gets to know if that fails. */
  #insist(): void {
    try {
      this.#arm();
    } catch (error) {
      this.#waiters.shift()?.reject(error);
    }
  }

  #gather(): void {
    const pieces = this.#pieces;
    const ring = this.#ring;
    const head = this.#head;
    if (pieces.length === 0 || ring === null || head === null) return;
    this.#pieces = [];
    const bytes = this.#bytes;
    if (bytes.length === 0 && !this.#closed) {
      this.#lose(ring, pieces);
      return;
    }
    for (let i = 0; i < pieces.length; i += 3) {
      const buffer = pieces[i + 2];
      if (this.#closed) {
        ring.release(buffer);
        continue;
      }
      head.at = pieces[i];
      const { dataAt, size } = head;
      const length = pieces[i] + pieces[i + 1] - dataAt;
      const segmentSize = segmentSizeOf(bytes, head.controlAt, head.controlLength);
      const address = peerAt(bytes, head.nameAt, head.nameLength);
      const cut = size > length;
      if (this.#lends && ring === this.#ownRing) {
        const data = bytes.subarray(dataAt, dataAt + length);
        const several = segmentSize > 0 && segmentSize < length ? segmentSize : 0;
        this.#lent++;
        const packet = new Packet(data, address, cut, size, several).lentBy(this, ring, buffer);
        this.#queue.push(this.#isScarce(ring) ? packet.owned() : packet);
        continue;
      }
      const data = allocateChunk(length);
      copy(bytes, dataAt, data, 0, length);
      ring.release(buffer);
      this.#split(data, address, size, segmentSize);
    }
  }

  /** Whether so many buffers are lent that the last one is not to be: the kernel always has a quarter of them, whatever is held. */
  #isScarce({ entries }: BufferRing): boolean {
    return this.#lent * 4 > entries * 3;
  }

  /** Whoever was lent a datagram has taken the ring's memory away, and the kernel goes on with another one. */
  #lose(ring: BufferRing, pieces: readonly number[]): void {
    for (let i = 0; i < pieces.length; i += 3) ring.release(pieces[i + 2]);
    if (ring !== this.#ownRing) return; // that has been told
    ring.close();
    this.#ownRing = null;
    this.#choose = true;
    this.giveUp();
    this.#queue.fail(transferredError());
  }

  #arrivedInMemory(size: number, slot: number): void {
    const memory = this.#memory;
    if (memory === null || this.#closed) return;
    const length = Math.min(size, memory.length);
    const { memory: told, nameAt, nameLength, segmentSize } = readReceived(slot);
    const data = allocateChunk(length);
    copy(memory, 0, data, 0, length);
    this.#split(data, peerAt(told, nameAt, nameLength), size, segmentSize);
  }

  /** Queues what the kernel has put together as the datagrams that it was. */
  #split(data: Buffer, address: Packet['address'], size: number, segmentSize: number): void {
    const { length } = data;
    if (segmentSize <= 0 || segmentSize >= length) {
      this.#queue.push(new Packet(data, address, size > length, size, 0));
      return;
    }
    for (let at = 0; at < length; at += segmentSize) {
      const end = Math.min(at + segmentSize, length);
      const whole = end === length ? Math.min(size - at, segmentSize) : segmentSize;
      this.#queue.push(new Packet(data.subarray(at, end), address, whole > end - at, whole, 0));
    }
  }

  #deliver(): void {
    while (this.waiting > 0) {
      const waiter = this.#waiters.shift();
      if (waiter === undefined) break;
      try {
        waiter.resolve(waiter.take(this.#queue));
      } catch (error) {
        waiter.reject(error); // it failed, or the reader's memory has gone meanwhile
      }
    }
  }

  /** Ends everything. Leases that are out stay valid until they are given back. */
  close(then: () => void): void {
    this.#closed = true;
    this.#gather();
    for (const waiter of this.#waiters.splice(0)) {
      try {
        waiter.resolve(waiter.take(null));
      } catch (error) {
        waiter.reject(error);
      }
    }
    this.#queue.clear();
    this.stop(() => {
      this.#closeRing();
      then();
    });
  }

  /** The memory of a ring is used for others once it is closed: not as long as somebody reads it. */
  #closeRing(): void {
    if (!this.#closed || this.slot >= 0) return;
    if (this.#lent > 0) this.#ownRing?.retire();
    else this.#ownRing?.close();
  }

  givenBack(ring: BufferRing, buffer: number): void {
    this.#lent--;
    ring.release(buffer);
    this.#closeRing();
  }

  override setRef(refed: boolean): void {
    this.refed = refed;
    super.setRef(refed);
  }
}

/** What is taken at once. */
function settled<T>(take: Take<T>, queue: DatagramQueue | null): Future<T> {
  try {
    return resolved(take(queue));
  } catch (error) {
    return rejected(error);
  }
}
