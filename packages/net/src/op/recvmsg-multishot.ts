import {
  ENOBUFS,
  ENOENT,
  IORING_OP_RECVMSG,
  IORING_RECV_MULTISHOT,
  IOSQE_BUFFER_SELECT,
} from '@ouro/native/abi';
import {
  BufferRing,
  checkInteger,
  invalidType,
  NO_OPTIONS,
  NO_RESULT,
  Op,
  type OpKind,
  opKind,
  outOfRange,
  type RingLease,
  reactor,
  scratchOffset,
  type Target,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import { type Address, readSockaddr, SOCKADDR_BYTES } from '../sockaddr.ts';
import { checkFlags, ioprioOf, type TransferOptions } from './recv.ts';
import { headOf, MessageHead, placeRooms, type Rooms } from './recvmsg-out.ts';

/** A message that a multishot receive has brought. */
export interface RingMessage {
  /** Its bytes, in memory of their own. */
  readonly data: Buffer;
  /** How many there were to be had: more than in `data` only with `MSG_TRUNC` among the op's flags, where it was cut. */
  readonly size: number;
  /** `MSG_TRUNC` if the message was longer than the buffer, `MSG_CTRUNC` if the control messages were. */
  readonly flags: number;
  /** Who sent it, if that was asked for and the socket is one that says it. */
  readonly address?: Address;
  /** Control messages as the kernel lays them out, if they were asked for. */
  readonly control?: Buffer;
}

/** The same, its `data` lying in the ring until it is disposed of. */
export interface LeasedRingMessage extends RingMessage, Disposable {}

const COPIED = opKind<RingMessage>('recvmsg', {
  passes: ENOBUFS,
  error: failed,
  endsWithHandle: true,
  decode: (result, op, _slot, cqeFlags) => {
    const lease = leased(result, op, cqeFlags);
    if (lease === null) return NO_RESULT;
    try {
      const message = (op as RecvmsgMultishot<RingMessage>).message(lease);
      return { ...message, data: Buffer.from(message.data) };
    } finally {
      lease[Symbol.dispose]();
    }
  },
  drop: () => {},
});

const LEASED = opKind<LeasedRingMessage>('recvmsg', {
  passes: ENOBUFS,
  error: failed,
  endsWithHandle: true,
  decode: (result, op, _slot, cqeFlags) => {
    const lease = leased(result, op, cqeFlags);
    if (lease === null) return NO_RESULT;
    const message = (op as RecvmsgMultishot<LeasedRingMessage>).message(lease);
    return { ...message, [Symbol.dispose]: () => lease[Symbol.dispose]() };
  },
  drop: (message) => message[Symbol.dispose](),
});

/** A receive that was waiting when its ring was closed says ENOENT, one that is begun afterwards ENOBUFS. */
function failed(errno: number, op: Op<unknown>): Error {
  const lost = errno === ENOENT && (op as RecvmsgMultishot<unknown>).ring.closed;
  return socketError(lost ? ENOBUFS : errno, 'recvmsg');
}

/** What a completion has brought; null for a ring that had no buffer. */
function leased(result: number, op: Op<unknown>, cqeFlags: number): RingLease | null {
  const { ring } = op as RecvmsgMultishot<unknown>;
  if (result > 0) return ring.lease(cqeFlags, result);
  if (ring.closed) throw socketError(ENOBUFS, 'recvmsg');
  ring.starve();
  return null;
}

class RecvmsgMultishot<T> extends Op<T> {
  readonly ring: BufferRing;
  readonly #rooms: Rooms;

  constructor(kind: OpKind<T>, ring: BufferRing, rooms: Rooms, flags: number, ioprio: number) {
    super(kind, IORING_OP_RECVMSG, 0, 0, 1, flags);
    this.ring = ring;
    this.#rooms = rooms;
    this.flags = IOSQE_BUFFER_SELECT;
    this.ioprio = IORING_RECV_MULTISHOT | ioprio;
    this.hold = ring;
  }

  override place(slot: number): void {
    const r = reactor();
    placeRooms(r.scratch(slot).bytes, scratchOffset(slot), this.#rooms);
    this.addr = r.scratchAddress(slot);
    this.buf = this.ring.group;
    this.ring.usedBy(slot);
  }

  override ready(resume: () => void): boolean {
    return this.ring.ready(resume);
  }

  /** What lies in a buffer. Its `data` is the buffer's own memory. */
  message(lease: RingLease): RingMessage {
    const [piece] = lease.pieces;
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    const rooms = this.#rooms;
    const head = new MessageHead(bytes, rooms);
    const { size, flags, nameAt, nameLength, controlAt, controlLength, dataAt } = head;
    const address = readSockaddr(bytes, nameAt, nameLength);
    const control = bytes.subarray(controlAt, controlAt + controlLength);
    return {
      data: bytes.subarray(dataAt),
      size,
      flags,
      ...(address === undefined ? {} : { address }),
      ...(rooms.control === 0 ? {} : { control: Buffer.from(control) }),
    };
  }
}

/** What is wanted beside the bytes, and where they are to be. */
export interface RecvmsgMultishotOptions extends TransferOptions {
  /** `MSG_*` bits, but for `MSG_WAITALL`. With `MSG_TRUNC` the `size` of a message that was cut is what was sent. @default 0 */
  readonly flags?: number;
  /** Say who sent each. @default false */
  readonly address?: boolean;
  /** Bytes that the control messages of each may take: they lie in the buffer too. @default 0 */
  readonly control?: number;
  /**
   * Bring the ring's own memory instead of copies. Each message must be disposed of: when all buffers are lent, receiving waits
   * for one. @default false
   */
  readonly lease?: boolean;
}

/**
 * One `recvmsg(2)` for all messages that arrive on a datagram socket (6.0), each in a buffer of its own that the kernel takes
 * from `ring` when it needs it; for `stream`. A buffer has 16 bytes for a header (`struct io_uring_recvmsg_out`), 112 for
 * the address if that is wanted, `control` bytes, and the message; what does not fit is cut off (`MSG_TRUNC`). When the ring
 * has run dry it goes on as soon as a buffer is given back, or the ring has grown. On a socket whose peer can end the connection
 * the end is an empty message: leave the stream there.
 *
 * @throws TypeError, RangeError for bad arguments; for a ring whose buffers are filled piece by piece (make it with
 *   `incremental: false`), or are too small for what is wanted beside the bytes
 */
export function recvmsgMultishot(
  fd: Target,
  ring: BufferRing,
  options?: RecvmsgMultishotOptions & { readonly lease?: false },
): Op<RingMessage>;
export function recvmsgMultishot(
  fd: Target,
  ring: BufferRing,
  options: RecvmsgMultishotOptions & { readonly lease: true },
): Op<LeasedRingMessage>;
export function recvmsgMultishot(
  fd: Target,
  ring: BufferRing,
  options: RecvmsgMultishotOptions = NO_OPTIONS,
): Op<RingMessage> | Op<LeasedRingMessage> {
  if (!(ring instanceof BufferRing)) throw invalidType('ring', 'an instance of BufferRing', ring);
  const { flags = 0, address = false, control = 0, lease = false } = options;
  checkFlags(flags);
  checkInteger('options.control', control, 0, 0x7fff_ffff);
  if (ring.incremental) {
    const message = `The argument 'ring' must be made with incremental: false: each message has a buffer of its own`;
    throw Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' });
  }
  const rooms: Rooms = { name: address ? SOCKADDR_BYTES : 0, control };
  const head = headOf(rooms);
  if (ring.size < head) throw outOfRange('ring.size', `>= ${head}`, ring.size);
  const ioprio = ioprioOf(options);
  return lease
    ? new RecvmsgMultishot(LEASED, ring, rooms, flags, ioprio).on(fd)
    : new RecvmsgMultishot(COPIED, ring, rooms, flags, ioprio).on(fd);
}
