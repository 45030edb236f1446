import { IORING_OP_SENDMSG, MSG_NOSIGNAL } from '@ouro/native/abi';
import { type Bytes, NO_OPTIONS, type Op, type OpKind, opKind, type Target } from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import { type Address, failedAt, sockaddr } from '../sockaddr.ts';
import { checkBuffers, controlToSend, Message, type Parts, partsToSend } from './msghdr.ts';
import { checkFlags, ioprioOf, type TransferOptions } from './recv.ts';

/** Where to, and what goes with the bytes. */
export interface SendmsgOptions extends TransferOptions {
  /** The receiver, for datagram sockets that are not connected. */
  readonly to?: Address | undefined;
  /** `MSG_*` bits; `MSG_NOSIGNAL` is added. @default 0 */
  readonly flags?: number | undefined;
  /** Control messages as the kernel lays them out (`cmsg(3)`). Copied. */
  readonly control?: Bytes | undefined;
}

const NO_NAME = 0;

/** A message to be sent. */
export class Sendmsg<T> extends Message<T> {
  readonly to: Address | undefined;

  constructor(kind: OpKind<T>, opcode: number, parts: Parts, options: SendmsgOptions) {
    const { to, flags = 0, control } = options;
    checkFlags(flags);
    const name = to === undefined ? NO_NAME : sockaddr('options.to', to).bytes;
    super(kind, opcode, parts, name, controlToSend(control), flags | MSG_NOSIGNAL);
    this.to = to;
    this.ioprio = ioprioOf(options);
  }
}

/** The error of a message, which says where it was to go. */
export function sendmsgError(errno: number, op: Op<unknown>): Error {
  const to = op instanceof Sendmsg ? op.to : undefined;
  return to === undefined ? socketError(errno, 'sendmsg') : failedAt(errno, 'sendmsg', to);
}

const SENDMSG = opKind<number>('sendmsg', { error: sendmsgError, endsWithHandle: true });

/**
 * `sendmsg(2)` of several buffers in one piece, without SIGPIPE (5.3): a datagram, or the next bytes of a stream.
 * Resolves to the bytes sent; a stream may take fewer than there are unless `flags` have `MSG_WAITALL` (6.0). The buffers'
 * memory is the op's until then.
 *
 * @throws TypeError, RangeError for bad arguments; more than 1024 buffers are too many
 */
export function sendmsg(
  fd: Target,
  buffers: readonly Bytes[],
  options: SendmsgOptions = NO_OPTIONS,
): Op<number> {
  const parts = partsToSend(checkBuffers(buffers));
  return new Sendmsg(SENDMSG, IORING_OP_SENDMSG, parts, options).on(fd);
}
