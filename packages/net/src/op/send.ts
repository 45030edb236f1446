import { IORING_OP_SEND, MSG_NOSIGNAL } from '@ouro/native/abi';
import {
  addressOf,
  type Bytes,
  checkBytes,
  copied,
  copySmall,
  isSmall,
  lengthOf,
  NO_OPTIONS,
  Op,
  type OpKind,
  opKind,
  type Pinned,
  pinned,
  type Target,
  UNSTABLE,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import { asked, checkFlags, ioprioOf, type TransferOptions } from './recv.ts';

const WRITE = opKind<number>('write', {
  error: (errno) => socketError(errno, 'write'),
  endsWithHandle: true,
});

const SEND = opKind<number>('send', { error: (errno) => socketError(errno, 'send'), endsWithHandle: true });

function sending(kind: OpKind<number>, fd: Target, view: Bytes, flags: number): Op<number> {
  const address = addressOf(view);
  const op = new Op(kind, IORING_OP_SEND, 0, address, lengthOf(view), flags | MSG_NOSIGNAL).on(fd);
  op.hold = view;
  if (address === UNSTABLE) {
    const copy = pinned(view);
    op.addr = copy.address;
    op.hold = copy.hold;
  }
  return op;
}

/** The send of a stream's `write`: of a copy if it is little, which costs less than having memory stay where it is. */
export function writing(fd: Target, view: Bytes, flags: number): Op<number> {
  const length = lengthOf(view);
  if (!isSmall(view, length)) return sending(WRITE, fd, view, flags);
  const op = new Op(WRITE, IORING_OP_SEND, 0, copySmall(view, length), length, flags | MSG_NOSIGNAL).on(fd);
  op.hold = copied;
  return op;
}

/** The same of all but the first `from` bytes of memory that stays where it is. */
export function writingRest(
  fd: Target,
  { address, length, hold }: Pinned,
  from: number,
  flags: number,
): Op<number> {
  const op = new Op(WRITE, IORING_OP_SEND, 0, address + from, length - from, flags | MSG_NOSIGNAL).on(fd);
  op.hold = hold;
  return op;
}

/**
 * `send(2)` without SIGPIPE (5.6). Resolves to the bytes that the socket took, which may be fewer than there are. The
 * buffer's memory is the op's until then; resizable memory is copied.
 *
 * @param flags `MSG_WAITALL` lets the kernel itself finish short sends (5.19)
 */
export function send(
  fd: Target,
  buffer: Bytes,
  flags = 0,
  options: TransferOptions = NO_OPTIONS,
): Op<number> {
  checkBytes('buffer', buffer);
  checkFlags(flags);
  const op = sending(SEND, fd, buffer, flags);
  op.len = asked(op.len);
  op.ioprio = ioprioOf(options);
  return op;
}
