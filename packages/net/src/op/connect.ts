import { IORING_OP_CONNECT } from '@ouro/native/abi';
import { nothing, Op, opKind, reactor, scratchOffset, type Target } from '@ouro/runtime/driver';
import type { Endpoint } from '../address.ts';
import { connectError } from '../errors.ts';

const CONNECT = opKind<void>('connect', {
  decode: nothing,
  error: (errno, op) => {
    const { address, port } = op.hold as Endpoint;
    return connectError(errno, address, port);
  },
  endsWithHandle: true,
});

class Connect extends Op<void> {
  readonly #sockaddr: Uint8Array;

  constructor(to: Endpoint) {
    super(CONNECT, IORING_OP_CONNECT, to.sockaddr.length);
    this.#sockaddr = to.sockaddr;
    this.hold = to;
  }

  override place(slot: number): void {
    const r = reactor();
    r.scratch(slot).bytes.set(this.#sockaddr, scratchOffset(slot));
    this.addr = r.scratchAddress(slot);
  }
}

/** `connect(2)` (5.5). The address lies in the slot's scratch. */
export function connect(fd: Target, to: Endpoint): Op<void> {
  return new Connect(to).on(fd);
}
