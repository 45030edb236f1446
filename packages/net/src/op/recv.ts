import { IORING_OP_RECV } from '@ouro/native/abi';
import { addressOf, Bounce, type Bytes, type OpKind, Transfer, UNSTABLE } from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';

const RECV: OpKind<number> = {
  syscall: 'read',
  resultIsFd: false,
  decode: null,
  error: (errno) => socketError(errno, 'read'),
  endsWithHandle: true,
};

const RECV_BOUNCED: OpKind<number> = {
  ...RECV,
  decode: (count, op) => (op.hold as Bounce).copyBack(count),
};

/** `recv(2)` into `view` (5.6): what has arrived, 0 at the end of the stream. */
export function recv(fd: number, view: Bytes): Transfer {
  const address = addressOf(view);
  if (address !== UNSTABLE) {
    return new Transfer(RECV, 'short', view, IORING_OP_RECV, fd, 0, address, view.byteLength).start();
  }
  const bounce = Bounce.toFill(view);
  return new Transfer(RECV_BOUNCED, 'short', bounce, IORING_OP_RECV, fd, 0, bounce.address, view.byteLength).start();
}
