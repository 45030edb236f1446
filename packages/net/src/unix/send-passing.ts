import { MSG_DONTWAIT } from '@ouro/native/abi';
import { type Bytes, lengthOf, type Target } from '@ouro/runtime/driver';
import { passing } from '../op/control.ts';
import { sendmsg } from '../op/sendmsg.ts';
import type { UnixAddress } from '../sockaddr.ts';
import { MessageSend } from '../socket/message-send.ts';
import type { SendQueue } from '../socket/send-queue.ts';
import { duplicates, giveUp } from './passable.ts';

/** Where a message goes, and what with it. */
export interface Outgoing {
  readonly to: UnixAddress | undefined;
  /** Whether the socket is one for datagrams. */
  readonly datagram: boolean;
  /** Descriptors to pass: duplicates of them are. */
  readonly fds: readonly number[];
}

/**
 * The send of one message.
 *
 * Datagrams are sent without waiting in the kernel. A ring that has to wait tries again with what the first try has left of the
 * buffers, which is nothing: the message arrives empty (Linux 6.18).
 *
 * @throws `EBADF`, `EMFILE` with `syscall: 'sendmsg'`, if a descriptor cannot be duplicated
 */
export function messageSend(
  queue: SendQueue,
  fd: Target,
  bytes: Bytes,
  { to, datagram, fds }: Outgoing,
): MessageSend {
  const options = { flags: datagram ? MSG_DONTWAIT : 0, to, control: undefined, pollFirst: undefined };
  const told = to === undefined;
  if (fds.length === 0) return new MessageSend(queue, sendmsg(fd, [bytes], options), lengthOf(bytes), told);
  const passed = duplicates(fds);
  try {
    const op = sendmsg(fd, [bytes], { ...options, control: passing(passed) });
    return new MessageSend(queue, op, lengthOf(bytes), told, () => giveUp(passed));
  } catch (error) {
    giveUp(passed);
    throw error;
  }
}
