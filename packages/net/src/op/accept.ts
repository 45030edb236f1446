import { IORING_ACCEPT_MULTISHOT, IORING_OP_ACCEPT, SOCK_CLOEXEC } from '@ouro/native/abi';
import { checkInteger, Op, opKind, type Target } from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';

const ACCEPT = opKind<number>('accept', {
  resultIsFd: true,
  error: (errno) => socketError(errno, 'accept'),
  endsWithHandle: true,
});

/** How connections are accepted. */
export interface AcceptOptions {
  /** `SOCK_NONBLOCK`, if at all; `SOCK_CLOEXEC` is added. @default 0 */
  readonly flags?: number;
}

/**
 * `accept4(2)` of one connection (5.5). Resolves to its descriptor, which is the caller's to close. Cancelling an accept
 * that has succeeded closes it.
 */
export function accept(fd: Target, options: AcceptOptions = {}): Op<number> {
  return accepting(fd, options);
}

/**
 * One accept for all connections to come (5.19), for `stream`: each completion is the descriptor of one, which is the
 * caller's to close.
 */
export function acceptMultishot(fd: Target, options: AcceptOptions = {}): Op<number> {
  const op = accepting(fd, options);
  op.ioprio = IORING_ACCEPT_MULTISHOT;
  return op;
}

function accepting(fd: Target, { flags = 0 }: AcceptOptions): Op<number> {
  checkInteger('options.flags', flags, 0, 0x7fff_ffff);
  return new Op(ACCEPT, IORING_OP_ACCEPT, 0, 0, 0, flags | SOCK_CLOEXEC).on(fd);
}
