import { IORING_OP_RECV, IORING_RECVSEND_POLL_FIRST, MAX_RW_COUNT } from '@ouro/native/abi';
import {
  addressOf,
  Bounce,
  type Bytes,
  checkBytes,
  checkInteger,
  lengthOf,
  NO_OPTIONS,
  Op,
  opKind,
  type Target,
  UNSTABLE,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';

const READ = opKind<number>('read', { error: (errno) => socketError(errno, 'read'), endsWithHandle: true });

/** The receive of a stream's `read`, into a view that lies at `address`. */
export function recvAt(fd: Target, view: Bytes, address: number): Op<number> {
  const op = new Op(READ, IORING_OP_RECV, 0, address, lengthOf(view)).on(fd);
  op.hold = view;
  return op;
}

const RECV = opKind<number>('recv', { error: (errno) => socketError(errno, 'recv'), endsWithHandle: true });

/** Into memory that scripts can take away; what does not fit any more (`MSG_TRUNC` counts it too) is only counted. */
const RECV_BOUNCED = opKind<number>('recv', {
  error: (errno) => socketError(errno, 'recv'),
  endsWithHandle: true,
  decode: (count, op) => {
    (op.hold as Bounce).copyBack(Math.min(count, op.len));
    return count;
  },
});

/** How sends and receives go about it. */
export interface TransferOptions {
  /** Do not try at once but wait for the socket to be ready first: for what is known to have to wait (5.19). @default false */
  readonly pollFirst?: boolean | undefined;
}

/** `IORING_RECVSEND_*` bits of `options`. */
export function ioprioOf({ pollFirst = false }: TransferOptions): number {
  return pollFirst ? IORING_RECVSEND_POLL_FIRST : 0;
}

/** What is asked of the kernel for `length` bytes: it moves no more at once, and the queue has 32 bits for it. */
export function asked(length: number): number {
  return Math.min(length, MAX_RW_COUNT);
}

/** Checks `MSG_*` bits. */
export function checkFlags(flags: unknown): asserts flags is number {
  checkInteger('flags', flags, 0, 0x7fff_ffff);
}

/**
 * `recv(2)` into `buffer` (5.6). Resolves to the bytes that have arrived, 0 at the end of a stream. The buffer's memory
 * is the op's until then.
 *
 * @param flags `MSG_PEEK`, `MSG_WAITALL` (wait until the buffer is full), `MSG_TRUNC` (the length of a datagram even if it
 *   is longer than the buffer)…
 */
export function recv(
  fd: Target,
  buffer: Bytes,
  flags = 0,
  options: TransferOptions = NO_OPTIONS,
): Op<number> {
  checkBytes('buffer', buffer);
  checkFlags(flags);
  const address = addressOf(buffer);
  const bounce = address === UNSTABLE ? Bounce.toFill(buffer) : null;
  const op = new Op(
    bounce === null ? RECV : RECV_BOUNCED,
    IORING_OP_RECV,
    0,
    bounce?.address ?? address,
    asked(lengthOf(buffer)),
    flags,
  ).on(fd);
  op.ioprio = ioprioOf(options);
  op.hold = bounce ?? buffer;
  return op;
}
