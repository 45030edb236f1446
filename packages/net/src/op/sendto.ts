import { IORING_OP_SEND, IORING_OP_SENDMSG, MSG_NOSIGNAL } from '@ouro/native/abi';
import { type Descriptor, Op, opKind, type SystemError } from '@ouro/runtime/driver';
import { addressError, socketError } from '../errors.ts';
import { placeToSend } from './datagram-header.ts';
import type { Parts } from './msghdr.ts';
import { asked } from './recv.ts';
import type { Peer } from './recvfrom.ts';

/** A failed send, as `node:dgram` words it: `send EMSGSIZE 127.0.0.1:9`. */
export function sendError(errno: number, to: Peer | undefined): SystemError {
  return to === undefined ? socketError(errno, 'send') : addressError(errno, 'send', to.address, to.port);
}

const SEND = opKind<number>('send', {
  error: (errno, op) =>
    sendError(errno, op instanceof SendToPeer || op instanceof Sendto ? op.to : undefined),
  endsWithHandle: true,
});

/** On a connected socket, of one stretch of memory: the short way. */
class SendToPeer extends Op<number> {
  readonly to: Peer | undefined;

  constructor({ iovecs, hold }: Parts, to: Peer | undefined) {
    super(SEND, IORING_OP_SEND, 0, iovecs[0], asked(iovecs[1]), MSG_NOSIGNAL);
    this.to = to;
    this.hold = hold;
  }
}

class Sendto extends Op<number> {
  readonly to: Peer | undefined;
  readonly #sockaddr: Uint8Array | null;
  readonly #iovecs: readonly number[];
  readonly #segmentSize: number;

  constructor(parts: Parts, to: Peer | undefined, sockaddr: Uint8Array | null, segmentSize: number) {
    super(SEND, IORING_OP_SENDMSG, 0, 0, 1, MSG_NOSIGNAL);
    this.to = to;
    this.#sockaddr = sockaddr;
    this.#iovecs = parts.iovecs;
    this.#segmentSize = segmentSize;
    this.hold = parts.hold;
  }

  override place(slot: number): void {
    this.addr = placeToSend(slot, this.#sockaddr, this.#iovecs, this.#segmentSize);
  }
}

/**
 * The send of a datagram, or with `segmentSize` of several.
 *
 * @param parts up to `MOST_PARTS` stretches of memory
 * @param to for errors
 * @param sockaddr null on a connected socket
 */
export function sendto(
  fd: Descriptor,
  parts: Parts,
  to: Peer | undefined,
  sockaddr: Uint8Array | null,
  segmentSize: number,
): Op<number> {
  const simple = sockaddr === null && segmentSize === 0 && parts.iovecs.length === 2;
  return (simple ? new SendToPeer(parts, to) : new Sendto(parts, to, sockaddr, segmentSize)).on(fd);
}
