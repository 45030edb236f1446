import {
  IORING_NOTIF_USAGE_ZC_COPIED,
  IORING_OP_SEND_ZC,
  IORING_OP_SENDMSG_ZC,
  IORING_RECVSEND_FIXED_BUF,
  IORING_SEND_ZC_REPORT_USAGE,
  MSG_NOSIGNAL,
} from '@ouro/native/abi';
import {
  type Bytes,
  checkBytes,
  NO_OPTIONS,
  NOT_FIXED,
  Op,
  opKind,
  pinned,
  reactor,
  type Target,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import { checkBuffers, partsToSend } from './msghdr.ts';
import { asked, checkFlags, ioprioOf, type TransferOptions } from './recv.ts';
import { Sendmsg, type SendmsgOptions, sendmsgError } from './sendmsg.ts';

/** What became of a zero-copy send. */
export interface ZeroCopied {
  /** Bytes sent. */
  readonly bytes: number;
  /** The kernel copied all the same: on loopback, over TLS, where the network card cannot gather. */
  readonly copied: boolean;
}

/** Asks for a report. */
export interface Reporting {
  /** Say whether the kernel copied (6.2). @default false */
  readonly report?: boolean;
}

const SEND_ZC = opKind<number>('send', {
  error: (errno) => socketError(errno, 'send'),
  endsWithHandle: true,
});
const SEND_ZC_REPORT = opKind<ZeroCopied>('send', {
  error: (errno) => socketError(errno, 'send'),
  endsWithHandle: true,
  decode: reported,
});
const SENDMSG_ZC = opKind<number>('sendmsg', { error: sendmsgError, endsWithHandle: true });
const SENDMSG_ZC_REPORT = opKind<ZeroCopied>('sendmsg', {
  error: sendmsgError,
  endsWithHandle: true,
  decode: reported,
});

function reported(bytes: number, _op: Op<unknown>, _slot: number, cqeFlags: number): ZeroCopied {
  return { bytes, copied: (cqeFlags & IORING_NOTIF_USAGE_ZC_COPIED) !== 0 };
}

class SendZc<T> extends Op<T> {
  override place(slot: number): void {
    reactor().lends(slot);
  }
}

class SendmsgZc<T> extends Sendmsg<T> {
  override place(slot: number): void {
    super.place(slot);
    reactor().lends(slot);
  }
}

/**
 * `send(2)` that lends the network the buffer's own pages instead of copying them (6.0, `IORING_OP_SEND_ZC`): worth it from
 * some 10 KiB on. It settles when the kernel has let go of the buffer, which over TCP means that the peer has it all; so
 * do not wait for one before the next. That holds for a send that is cancelled or times out as well: what lies in the
 * socket's queue is lent until it is sent or the connection is gone. A registered buffer is used without its pages being looked up.
 *
 * @param flags `MSG_WAITALL` lets the kernel itself finish short sends
 */
export function sendZc(
  fd: Target,
  buffer: Bytes,
  flags?: number,
  options?: TransferOptions & { readonly report?: false },
): Op<number>;
export function sendZc(
  fd: Target,
  buffer: Bytes,
  flags: number | undefined,
  options: TransferOptions & { readonly report: true },
): Op<ZeroCopied>;
export function sendZc(
  fd: Target,
  buffer: Bytes,
  flags = 0,
  options: TransferOptions & Reporting = NO_OPTIONS,
): Op<number> | Op<ZeroCopied> {
  checkBytes('buffer', buffer);
  checkFlags(flags);
  const { address, length, hold, fixed } = pinned(buffer);
  const most = asked(length);
  const all = flags | MSG_NOSIGNAL;
  const op = options.report
    ? new SendZc(SEND_ZC_REPORT, IORING_OP_SEND_ZC, 0, address, most, all)
    : new SendZc(SEND_ZC, IORING_OP_SEND_ZC, 0, address, most, all);
  op.ioprio = reporting(options);
  if (fixed !== NOT_FIXED) {
    op.ioprio |= IORING_RECVSEND_FIXED_BUF;
    op.buf = fixed;
  }
  op.hold = hold;
  return op.on(fd);
}

/** `sendmsg(2)` without copying (6.1, `IORING_OP_SENDMSG_ZC`): see `sendZc` and `sendmsg`. */
export function sendmsgZc(
  fd: Target,
  buffers: readonly Bytes[],
  options?: SendmsgOptions & { readonly report?: false },
): Op<number>;
export function sendmsgZc(
  fd: Target,
  buffers: readonly Bytes[],
  options: SendmsgOptions & { readonly report: true },
): Op<ZeroCopied>;
export function sendmsgZc(
  fd: Target,
  buffers: readonly Bytes[],
  options: SendmsgOptions & Reporting = NO_OPTIONS,
): Op<number> | Op<ZeroCopied> {
  const parts = partsToSend(checkBuffers(buffers));
  const op = options.report
    ? new SendmsgZc(SENDMSG_ZC_REPORT, IORING_OP_SENDMSG_ZC, parts, options)
    : new SendmsgZc(SENDMSG_ZC, IORING_OP_SENDMSG_ZC, parts, options);
  op.ioprio = reporting(options);
  return op.on(fd);
}

function reporting(options: TransferOptions & Reporting): number {
  return ioprioOf(options) | (options.report === true ? IORING_SEND_ZC_REPORT_USAGE : 0);
}
