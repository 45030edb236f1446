import { IORING_OP_CONNECT } from '@ouro/native/abi';
import { Operation, type OpKind, reactor, scratchOffset, submit } from '@ouro/runtime/driver';
import type { Endpoint } from '../address.ts';
import { connectError } from '../errors.ts';

const CONNECT: OpKind<void> = {
  syscall: 'connect',
  resultIsFd: false,
  decode: () => undefined,
  error: (errno, op) => {
    const { address, port } = op.hold as Endpoint;
    return connectError(errno, address, port);
  },
  endsWithHandle: true,
};

/** `connect(2)` (5.5). The address lies in the slot's scratch. */
export function connect(fd: number, to: Endpoint): Operation<void> {
  const r = reactor();
  const op = new Operation<void>(CONNECT, to, null);
  const slot = r.take(op);
  r.scratch(slot).bytes.set(to.sockaddr, scratchOffset(slot));
  return submit(op, slot, IORING_OP_CONNECT, fd, to.sockaddr.length, r.scratchAddress(slot), 0);
}
