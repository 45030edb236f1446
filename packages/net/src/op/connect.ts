import { IORING_OP_CONNECT } from '@ouro/native/abi';
import { nothing, Op, opKind, reactor, scratchOffset, type Target } from '@ouro/runtime/driver';
import type { Endpoint } from '../address.ts';
import { connectError } from '../errors.ts';
import { type Address, failedAt, sockaddr } from '../sockaddr.ts';

const CONNECT_ENDPOINT = opKind<void>('connect', {
  decode: nothing,
  error: (errno, op) => {
    const { address, port } = op.hold as Endpoint;
    return connectError(errno, address, port);
  },
  endsWithHandle: true,
});

const CONNECT = opKind<void>('connect', {
  decode: nothing,
  error: (errno, op) => failedAt(errno, 'connect', op.hold as Address),
  endsWithHandle: true,
});

/** The address lies in the slot's scratch. */
class Connect extends Op<void> {
  readonly #sockaddr: Uint8Array;

  constructor(kind: typeof CONNECT, to: Address | Endpoint, bytes: Uint8Array) {
    super(kind, IORING_OP_CONNECT, bytes.length);
    this.#sockaddr = bytes;
    this.hold = to;
  }

  override place(slot: number): void {
    const r = reactor();
    r.scratch(slot).bytes.set(this.#sockaddr, scratchOffset(slot));
    this.addr = r.scratchAddress(slot);
  }
}

/** `connect` to what has been resolved already. */
export function connectEndpoint(fd: Target, to: Endpoint): Op<void> {
  return new Connect(CONNECT_ENDPOINT, to, to.sockaddr).on(fd);
}

/**
 * `connect(2)` (5.5): to a numeric IP address and port, or to the path of a Unix socket. On a datagram socket it only
 * notes where to send to.
 *
 * @throws TypeError, RangeError for what is no address. `ECONNREFUSED`, `ENOENT`… carry `address` and `port`, worded as by
 *   `node:net`
 */
export function connect(fd: Target, to: Address): Op<void> {
  return new Connect(CONNECT, to, sockaddr('to', to).bytes).on(fd);
}
