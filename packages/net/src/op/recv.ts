import { IORING_OP_RECV } from '@ouro/native/abi';
import { type Bytes, lengthOf, Op, opKind, type Target } from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';

const RECV = opKind<number>('read', { error: (errno) => socketError(errno, 'read'), endsWithHandle: true });

/** `recv(2)` into `view`, which lies at `address` (5.6): what has arrived, 0 at the end of the stream. */
export function recv(fd: Target, view: Bytes, address: number): Op<number> {
  const op = new Op(RECV, IORING_OP_RECV, 0, address, lengthOf(view)).on(fd);
  op.hold = view;
  return op;
}
