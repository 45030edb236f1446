import { IORING_OP_SEND, MSG_NOSIGNAL } from '@ouro/native/abi';
import { type Bytes, checkBytes, Op, type OpKind, opKind, pinned, type Target } from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import { asked, checkFlags, ioprioOf, type TransferOptions } from './recv.ts';

const WRITE = opKind<number>('write', {
  error: (errno) => socketError(errno, 'write'),
  endsWithHandle: true,
});

const SEND = opKind<number>('send', { error: (errno) => socketError(errno, 'send'), endsWithHandle: true });

function sending(kind: OpKind<number>, fd: Target, view: Bytes, flags: number): Op<number> {
  const { address, length, hold } = pinned(view);
  const op = new Op(kind, IORING_OP_SEND, 0, address, length, flags | MSG_NOSIGNAL).on(fd);
  op.hold = hold;
  return op;
}

/** The send of a stream's `write`. */
export function writing(fd: Target, view: Bytes, flags: number): Op<number> {
  return sending(WRITE, fd, view, flags);
}

/**
 * `send(2)` without SIGPIPE (5.6). Resolves to the bytes that the socket took, which may be fewer than there are. The
 * buffer's memory is the op's until then; resizable memory is copied.
 *
 * @param flags `MSG_WAITALL` lets the kernel itself finish short sends (5.19)
 */
export function send(fd: Target, buffer: Bytes, flags = 0, options: TransferOptions = {}): Op<number> {
  checkBytes('buffer', buffer);
  checkFlags(flags);
  const op = sending(SEND, fd, buffer, flags);
  op.len = asked(op.len);
  op.ioprio = ioprioOf(options);
  return op;
}
