import { IORING_OP_RECV } from '@ouro/native/abi';
import { type Bytes, lengthOf, type OpKind, SOCKET, Transfer } from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';

const RECV: OpKind<number> = {
  syscall: 'read',
  resultIsFd: false,
  decode: null,
  error: (errno) => socketError(errno, 'read'),
  endsWithHandle: true,
};

/** `recv(2)` into `view`, which lies at `address` (5.6): what has arrived, 0 at the end of the stream. */
export function recv(fd: number, view: Bytes, address: number): Transfer {
  return new Transfer(RECV, 'short', view, IORING_OP_RECV, fd, SOCKET, address, lengthOf(view)).start();
}
