import { IORING_OP_RECVMSG, MSG_CMSG_CLOEXEC, MSG_CTRUNC } from '@ouro/native/abi';
import { Bounce, type Bytes, type Op, type OpKind, opKind, reactor, type Target } from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import { type Address, readSockaddr, SOCKADDR_BYTES } from '../sockaddr.ts';
import { type Brought, ControlRoom, type Wanted } from './control.ts';
import { Message, type Parts, partsToFill } from './msghdr.ts';

/** A message as it has arrived. */
export interface Arrived extends Brought {
  /** Its bytes; with `MSG_TRUNC` those as well that had no room. */
  readonly length: number;
  readonly address: Address | undefined;
  /** There were control messages (descriptors, mostly) that had no room. */
  readonly cut: boolean;
}

function kind<T>(syscall: string): OpKind<T> {
  return opKind<T>(syscall, {
    error: (errno) => socketError(errno, syscall),
    endsWithHandle: true,
    decode: (count, op, slot) => (op as ReceiveMessage<T>).arrived(count, slot),
  });
}

const READ = kind<unknown>('read');
const RECVMSG = kind<unknown>('recvmsg');

/** For one flight only: the room is given on when the message has been taken out. */
class ReceiveMessage<T> extends Message<T> {
  readonly #held: unknown;
  readonly #total: number;
  readonly #room: ControlRoom;
  readonly #make: (arrived: Arrived) => T;

  constructor(
    opKind: OpKind<T>,
    parts: Parts,
    nameLength: number,
    room: ControlRoom,
    flags: number,
    make: (arrived: Arrived) => T,
  ) {
    super(opKind, IORING_OP_RECVMSG, parts, nameLength, room.bytes, flags | MSG_CMSG_CLOEXEC);
    [this.#held] = parts.hold;
    this.#total = parts.total;
    this.#room = room;
    this.#make = make;
  }

  arrived(length: number, slot: number): T {
    const { memory, nameAt, nameLength, controlLength, flags } = this.answer(slot);
    // First: whatever fails below, the descriptors are somebody's.
    const brought = this.#room.take(this.control === null ? 0 : controlLength);
    try {
      if (this.#held instanceof Bounce) this.#held.copyBack(Math.min(length, this.#total));
      const address = readSockaddr(memory, nameAt, nameLength);
      return this.#make({ ...brought, length, address, cut: (flags & MSG_CTRUNC) !== 0 });
    } catch (error) {
      for (const fd of brought.fds) reactor().discard(fd);
      throw error;
    }
  }
}

/** What of a message is wanted, and how errors name the call. */
export interface MessageWanted extends Wanted {
  readonly syscall: 'read' | 'recvmsg';
  /** `MSG_*` bits; `MSG_CMSG_CLOEXEC` is added. */
  readonly flags: number;
  /** Whether to say who sent it. */
  readonly address: boolean;
}

/**
 * `recvmsg(2)` with the control messages understood: `make` makes of what has arrived what the op resolves to. It must see to
 * it that the descriptors find an owner. An op that is cancelled and was quicker resolves; no bytes are lost.
 */
export function receiveMessage<T>(
  fd: Target,
  buffer: Bytes,
  wanted: MessageWanted,
  make: (arrived: Arrived) => T,
): Op<T> {
  const parts = partsToFill([buffer]);
  const opKind = (wanted.syscall === 'read' ? READ : RECVMSG) as OpKind<T>;
  const name = wanted.address ? SOCKADDR_BYTES : 0;
  return new ReceiveMessage(opKind, parts, name, new ControlRoom(wanted), wanted.flags, make).on(fd);
}
