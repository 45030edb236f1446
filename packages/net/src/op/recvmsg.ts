import { IORING_OP_RECVMSG, MSG_CMSG_CLOEXEC } from '@ouro/native/abi';
import {
  Bounce,
  type Bytes,
  checkInteger,
  lengthOf,
  NO_OPTIONS,
  type Op,
  opKind,
  type Target,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import { type Address, readSockaddr, SOCKADDR_BYTES } from '../sockaddr.ts';
import { checkBuffers, Message, type Parts, partsToFill } from './msghdr.ts';
import { checkFlags, ioprioOf, type TransferOptions } from './recv.ts';

/** What is wanted beside the bytes. */
export interface RecvmsgOptions extends TransferOptions {
  /** `MSG_*` bits. @default 0 */
  readonly flags?: number;
  /** Say who sent it. @default false */
  readonly address?: boolean;
  /**
   * Bytes that control messages (`cmsg(3)`) may take. Descriptors in them are close-on-exec and yours to close.
   * @default 0
   */
  readonly control?: number;
}

/** A message received. */
export interface Received {
  /** Bytes received, over all buffers. */
  readonly bytes: number;
  /** `MSG_TRUNC` if the datagram was longer than the buffers, `MSG_CTRUNC` if the control messages were. */
  readonly flags: number;
  /** Who sent it, if that was asked for and the socket is one that says it. */
  readonly address?: Address;
  /** Control messages as the kernel lays them out, if they were asked for. */
  readonly control?: Buffer;
}

const RECVMSG = opKind<Received>('recvmsg', {
  error: (errno) => socketError(errno, 'recvmsg'),
  endsWithHandle: true,
  decode: (count, op, slot) => (op as Recvmsg).received(count, slot),
});

class Recvmsg extends Message<Received> {
  readonly #held: readonly unknown[];
  readonly #total: number;

  constructor(parts: Parts, nameLength: number, control: Buffer | null, flags: number) {
    super(RECVMSG, IORING_OP_RECVMSG, parts, nameLength, control, flags);
    this.#held = parts.hold;
    this.#total = parts.total;
  }

  received(count: number, slot: number): Received {
    let left = Math.min(count, this.#total); // with MSG_TRUNC it may be more
    for (const held of this.#held) {
      if (left === 0) break;
      if (held instanceof Bounce) held.copyBack(Math.min(left, held.bytes.length));
      left -= Math.min(left, held instanceof Bounce ? held.bytes.length : lengthOf(held as Bytes));
    }
    const { memory, nameAt, nameLength, controlLength, flags } = this.answer(slot);
    const address = readSockaddr(memory, nameAt, nameLength);
    return {
      bytes: count,
      flags: flags & ~MSG_CMSG_CLOEXEC, // the kernel repeats what it was asked
      ...(address === undefined ? {} : { address }),
      ...(this.control === null ? {} : { control: this.control.subarray(0, controlLength) }),
    };
  }
}

/**
 * `recvmsg(2)` into several buffers, one after the other (5.3): a datagram with its sender, or what has arrived on a
 * stream. The buffers' memory is the op's until it has settled.
 *
 * @throws TypeError, RangeError for bad arguments; more than 1024 buffers are too many
 */
export function recvmsg(
  fd: Target,
  buffers: readonly Bytes[],
  options: RecvmsgOptions = NO_OPTIONS,
): Op<Received> {
  const { flags = 0, address = false, control = 0 } = options;
  const parts = partsToFill(checkBuffers(buffers));
  checkFlags(flags);
  checkInteger('options.control', control, 0, 0x7fff_ffff);
  const room = control === 0 ? null : Buffer.allocUnsafeSlow(control);
  const all = room === null ? flags : flags | MSG_CMSG_CLOEXEC;
  const op = new Recvmsg(parts, address ? SOCKADDR_BYTES : 0, room, all).on(fd);
  op.ioprio = ioprioOf(options);
  return op;
}
