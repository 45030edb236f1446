import {
  ECANCELED,
  ENOBUFS,
  IORING_CQE_F_MORE,
  IORING_OP_RECVMSG,
  IORING_RECV_MULTISHOT,
  IOSQE_BUFFER_SELECT,
} from '@ouro/native/abi';
import {
  MessageHead,
  MOST_DATAGRAM,
  peerAt,
  placeRooms,
  placeToReceive,
  ReceiveInFlight,
  ROOMS,
  readReceived,
  type SocketAddress,
  sharedBuffers,
} from '@ouro/net/driver';
import { type BatchEnd, BufferRing, reactor, scratchOffset } from '@ouro/runtime/driver';
import { callBack, rethrow } from '../net/ticks.ts';

const HEAD = IORING_OP_RECVMSG | (IOSQE_BUFFER_SELECT << 8) | (IORING_RECV_MULTISHOT << 16);

/** Who gets what arrives. May throw what the program throws. */
export interface DatagramListener {
  /** @param data memory of its own, which is the listener's from here on */
  datagram(data: Buffer, from: SocketAddress): void;
  /** @param errno below zero */
  receiveFailed(errno: number): void;
}

/** What has arrived: a datagram, or an errno. */
type Arrival = { readonly data: Buffer; readonly from: SocketAddress } | number;

/** The buffers of the thread, as they are looked at. */
interface Buffers {
  readonly ring: BufferRing;
  readonly bytes: Buffer;
  readonly head: MessageHead;
}

let buffers: Buffers | null | undefined;

function buffersOfThread(): Buffers | null {
  if (buffers !== undefined) return buffers;
  const ring = sharedBuffers();
  buffers = null;
  if (ring !== null) {
    const { buffer, byteOffset, byteLength } = ring.bytes;
    buffers = {
      ring,
      bytes: Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength),
      head: new MessageHead(ring.bytes, ROOMS),
    };
  }
  return buffers;
}

/** Bytes in memory of their own, and all of it, as Node's are. */
function owned(source: Buffer, at: number, length: number): Buffer {
  const data = Buffer.allocUnsafeSlow(length);
  source.copy(data, 0, at, at + length);
  return data;
}

/**
 * What arrives on one socket: a multishot receive of messages into the buffers that all sockets of the thread share, told of
 * once for each turn; one receive after the other where the kernel gives no such buffers.
 */
export class Receiver extends ReceiveInFlight implements BatchEnd {
  readonly name = 'recvmsg';
  override refed: boolean;
  readonly #fd: number;
  readonly #listener: DatagramListener;
  readonly #buffers: Buffers | null = buffersOfThread();
  /** Where one arrives if there are no provided buffers: memory that no script sees. */
  #memory: Buffer | null = null;
  /** What the batch in hand has brought: where its buffer begins, its length, the buffer. An errno has no buffer. */
  #pieces: number[] = [];
  /** What has arrived while nobody wanted it, and where there are no provided buffers what the batch in hand has brought. */
  #arrived: Arrival[] = [];
  #gathering = false;
  #wanted = false;
  #closed = false;
  readonly #resume = (): void => this.#arm();

  constructor(fd: number, refed: boolean, listener: DatagramListener) {
    super();
    this.#fd = fd;
    this.refed = refed;
    this.#listener = listener;
  }

  start(): void {
    this.#wanted = true;
    if (this.#arrived.length > 0) callBack(() => this.#deliverAll());
    this.#arm();
  }

  /** Takes no more for now. What has arrived by then is told of when it is wanted again. */
  pause(): void {
    this.#wanted = false;
    this.giveUp();
  }

  override setRef(refed: boolean): void {
    this.refed = refed;
    super.setRef(refed);
  }

  #arm(): void {
    if (this.slot >= 0 || !this.#wanted || this.#closed) return;
    const from = this.#buffers;
    if (from !== null && !from.ring.ready(this.#resume)) return;
    const r = reactor();
    const slot = r.take(this);
    if (from !== null) {
      placeRooms(r.scratch(slot).bytes, scratchOffset(slot), ROOMS);
      from.ring.usedBy(slot);
      r.push(slot, HEAD, this.#fd, 0, r.scratchAddress(slot), 1, 0, from.ring.group, 0);
    } else {
      this.#memory ??= Buffer.allocUnsafeSlow(MOST_DATAGRAM);
      const address = placeToReceive(slot, r.addon.addressOf(this.#memory), MOST_DATAGRAM, false);
      r.push(slot, IORING_OP_RECVMSG, this.#fd, 0, address, 1, 0, 0, 0);
    }
    this.begun(slot);
  }

  override complete(result: number, flags: number): void {
    const { slot } = this;
    const more = (flags & IORING_CQE_F_MORE) !== 0;
    if (!more) this.slot = -1;
    const from = this.#buffers;
    if (result >= 0) {
      if (from === null) this.#arrivedInMemory(result, slot);
      else this.#pieces.push(from.ring.take(flags, result), result, BufferRing.bufferOf(flags));
    } else if (result === ENOBUFS && from !== null) from.ring.starve();
    else if (!(result === ECANCELED && this.stopping)) this.#pieces.push(result, 0, -1);
    if (!this.#gathering) {
      this.#gathering = true;
      reactor().afterBatch(this);
    }
    if (!more) this.tellStopped();
  }

  #arrivedInMemory(length: number, slot: number): void {
    if (this.#memory === null || this.#closed) return;
    const { memory, nameAt, nameLength } = readReceived(slot);
    const data = owned(this.#memory, 0, length);
    this.#arrived.push({ data, from: peerAt(memory, nameAt, nameLength) });
  }

  batchEnded(): void {
    this.#gathering = false;
    const waiting = this.#arrived.length > 0;
    const pieces = this.#pieces;
    if (pieces.length > 0) this.#pieces = [];
    for (let i = 0; i < pieces.length; i += 3) {
      const arrival = this.#arrival(pieces[i], pieces[i + 1], pieces[i + 2]);
      if (this.#closed) continue;
      if (waiting || !this.#wanted) this.#arrived.push(arrival);
      else this.#deliver(arrival);
    }
    if (waiting) this.#deliverAll();
    this.#arm();
  }

  /** Gives the buffer back as well. */
  #arrival(at: number, length: number, buffer: number): Arrival {
    const from = this.#buffers;
    if (from === null || buffer < 0) return at;
    const { bytes, head, ring } = from;
    head.at = at;
    const { dataAt, nameAt, nameLength } = head;
    const data = owned(bytes, dataAt, at + length - dataAt);
    const peer = peerAt(bytes, nameAt, nameLength);
    ring.release(buffer);
    return { data, from: peer };
  }

  #deliverAll(): void {
    while (this.#wanted && !this.#closed) {
      const arrival = this.#arrived.shift();
      if (arrival === undefined) return;
      this.#deliver(arrival);
    }
  }

  #deliver(arrival: Arrival): void {
    try {
      if (typeof arrival === 'number') this.#listener.receiveFailed(arrival);
      else this.#listener.datagram(arrival.data, arrival.from);
    } catch (error) {
      rethrow(error);
    }
  }

  /** Takes no more, and drops what has not been told of. `then` is called when the kernel has let go. */
  close(then: () => void): void {
    this.#closed = true;
    this.#wanted = false;
    this.#arrived = [];
    if (this.slot >= 0) super.setRef(true);
    this.stop(then);
  }
}
