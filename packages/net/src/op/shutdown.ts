import { IORING_OP_SHUTDOWN } from '@ouro/native/abi';
import { Operation, type OpKind, reactor, submit } from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';

const SHUTDOWN: OpKind<void> = {
  syscall: 'shutdown',
  resultIsFd: false,
  decode: () => undefined,
  error: (errno) => socketError(errno, 'shutdown'),
  endsWithHandle: true,
};

/** `shutdown(2)` (5.11). */
export function shutdown(fd: number, how: number): Operation<void> {
  const r = reactor();
  const op = new Operation<void>(SHUTDOWN, null, null);
  return submit(op, r.take(op), IORING_OP_SHUTDOWN, fd, 0, 0, how);
}
