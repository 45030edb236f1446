import {
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  IORING_OP_EPOLL_CTL,
  IORING_OP_EPOLL_WAIT,
} from '@ouro/native/abi';
import { checkInteger, invalidType, outOfRange } from '../base/errors.ts';
import { scratchOffset } from '../engine/slots.ts';
import { reactor } from '../engine/thread.ts';
import { descriptorOf, nothing, Op, opKind, type Target } from '../operation/op.ts';

const TWO_32 = 4_294_967_296;
/** `struct epoll_event`: events, data. On x86-64 nothing is between the two. */
const DATA_AT = process.arch === 'x64' ? 4 : 8;
const EVENT_BYTES = DATA_AT + 8;
const MOST_EVENTS = 0x1_0000;

/** What `epollWait` tells of one descriptor. */
export interface EpollEvent {
  /** `POLL*` bits. */
  readonly events: number;
  /** What it was added with. */
  readonly data: number;
}

const EPOLL_CTL = opKind<void>('epoll_ctl', { decode: nothing });
const EPOLL_WAIT = opKind<EpollEvent[]>('epoll_wait', {
  endsWithHandle: true,
  decode: (count, op) =>
    Array.from({ length: count }, (_, at) => eventAt(op.hold as Buffer, at * EVENT_BYTES)),
});

function eventAt(memory: Buffer, at: number): EpollEvent {
  const low = memory.readUInt32LE(at + DATA_AT);
  return { events: memory.readUInt32LE(at), data: low + memory.readUInt32LE(at + DATA_AT + 4) * TWO_32 };
}

class EpollCtl extends Op<void> {
  readonly #events: number;
  readonly #data: number;

  constructor(operation: number, fd: number, events: number, data: number) {
    super(EPOLL_CTL, IORING_OP_EPOLL_CTL, fd, 0, operation);
    this.#events = events;
    this.#data = data;
  }

  override place(slot: number): void {
    const { bytes } = reactor().scratch(slot);
    const at = scratchOffset(slot);
    bytes.writeUInt32LE(this.#events, at);
    bytes.writeUInt32LE(this.#data % TWO_32, at + DATA_AT);
    bytes.writeUInt32LE(Math.floor(this.#data / TWO_32), at + DATA_AT + 4);
    this.addr = reactor().scratchAddress(slot);
  }
}

/**
 * `epoll_ctl(2)` (5.6): adds, changes or takes out what an epoll descriptor watches.
 *
 * Fails with EEXIST, ENOENT, EPERM (a file that cannot be polled), EBADF, as the system call.
 *
 * @param operation `EPOLL_CTL_*`
 * @param fd what is watched: no direct descriptor
 * @param events `POLL*` and `EPOLL*` bits
 * @param data comes back with each event: an integer of at most 53 bits
 * @throws TypeError, RangeError for bad arguments
 */
export function epollCtl(
  epfd: Target,
  operation: number,
  fd: Target,
  events: number,
  data: number,
): Op<void> {
  if (operation !== EPOLL_CTL_ADD && operation !== EPOLL_CTL_DEL && operation !== EPOLL_CTL_MOD) {
    throw outOfRange('operation', 'EPOLL_CTL_ADD, EPOLL_CTL_DEL or EPOLL_CTL_MOD', operation);
  }
  checkInteger('events', events, 0, 0xffff_ffff);
  checkInteger('data', data, 0, Number.MAX_SAFE_INTEGER);
  const watched = typeof fd === 'number' ? fd : descriptorOf(fd);
  if (typeof watched === 'number') {
    checkInteger('fd', watched, 0, 0x7fff_ffff);
    return new EpollCtl(operation, watched, events, data).on(epfd);
  }
  if (watched.direct) throw invalidType('fd', 'a descriptor of the process', fd);
  return new EpollCtl(operation, watched.fd >>> 0, events, data).on(epfd);
}

/**
 * `epoll_wait(2)` (6.15): waits until something that an epoll descriptor watches is ready, for programs that bring a loop
 * of their own. Level-triggered watches come again with the next wait.
 *
 * Fails with EBADF, EINVAL (no epoll descriptor).
 *
 * @param maxEvents the most to be told at once, up to 65536
 * @throws TypeError, RangeError for bad arguments
 */
export function epollWait(epfd: Target, maxEvents = 16): Op<EpollEvent[]> {
  checkInteger('maxEvents', maxEvents, 1, MOST_EVENTS);
  const memory = Buffer.allocUnsafeSlow(maxEvents * EVENT_BYTES);
  const op = new Op(EPOLL_WAIT, IORING_OP_EPOLL_WAIT, 0, reactor().addon.addressOf(memory), maxEvents);
  op.hold = memory;
  return op.on(epfd);
}
