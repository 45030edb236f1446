import { IORING_OP_RECVMSG, MSG_TRUNC } from '@ouro/native/abi';
import {
  addressOf,
  Bounce,
  type Bytes,
  type Descriptor,
  lengthOf,
  Op,
  opKind,
  type SystemError,
  UNSTABLE,
} from '@ouro/runtime/driver';
import type { SocketAddress } from '../address.ts';
import { socketError } from '../errors.ts';
import { peerAt } from '../peers.ts';
import { placeToReceive, readReceived } from './datagram-header.ts';

/** What a receive into memory of the caller's has brought. */
export interface ReceivedDatagram {
  /** Bytes that lie in the buffer. */
  readonly bytes: number;
  /** Who sent them. */
  readonly address: SocketAddress;
  /** Whether the buffer was too short: what did not fit is lost. */
  readonly truncated: boolean;
  /** Bytes that were sent: more than `bytes` if it is truncated. */
  readonly size: number;
  /**
   * Where the kernel has put several datagrams of one sender together (`gro`), the bytes of each but the last, which may have
   * fewer; otherwise 0.
   */
  readonly segmentSize: number;
}

/** Where a socket is connected to. */
export interface Peer {
  readonly address: string;
  readonly port: number;
}

/** A failed receive, as `node:dgram` words it: `recvmsg ECONNREFUSED`, with the peer's address if there is one. */
export function receiveError(errno: number, peer: Peer | undefined): SystemError {
  const error = socketError(errno, 'recvmsg');
  return peer === undefined ? error : Object.assign(error, { address: peer.address, port: peer.port });
}

const RECVFROM = opKind<ReceivedDatagram>('recvmsg', {
  error: (errno, op) => receiveError(errno, (op as Recvfrom).peer),
  endsWithHandle: true,
  decode: (size, op, slot) => (op as Recvfrom).received(size, slot),
});

class Recvfrom extends Op<ReceivedDatagram> {
  readonly peer: Peer | undefined;
  readonly #address: number;
  readonly #length: number;
  readonly #control: boolean;

  constructor(view: Bytes, control: boolean, peer: Peer | undefined) {
    // With MSG_TRUNC the result is what was sent, whether it fits or not.
    super(RECVFROM, IORING_OP_RECVMSG, 0, 0, 1, MSG_TRUNC);
    const address = addressOf(view);
    const bounce = address === UNSTABLE ? Bounce.toFill(view) : null;
    this.#address = bounce?.address ?? address;
    this.#length = lengthOf(view);
    this.#control = control;
    this.peer = peer;
    this.hold = bounce ?? view;
  }

  override place(slot: number): void {
    this.addr = placeToReceive(slot, this.#address, this.#length, this.#control);
  }

  received(size: number, slot: number): ReceivedDatagram {
    const { hold } = this;
    const here = Math.min(size, this.#length);
    // Of memory that scripts can take away there may be less by now.
    const bytes = hold instanceof Bounce ? hold.copyBack(here) : here;
    const { memory, nameAt, nameLength, segmentSize } = readReceived(slot);
    const address = peerAt(memory, nameAt, nameLength);
    return { bytes, address, truncated: bytes < size, size, segmentSize };
  }
}

/**
 * The receive of a datagram into `view`.
 *
 * @param control whether to ask for the size of datagrams that were put together
 * @throws TypeError if the view is detached
 */
export function recvfrom(fd: Descriptor, view: Bytes, control: boolean, peer?: Peer): Op<ReceivedDatagram> {
  return new Recvfrom(view, control, peer).on(fd);
}
