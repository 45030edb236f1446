import {
  IORING_CQE_F_MORE,
  IORING_FILE_INDEX_ALLOC,
  IORING_MSG_DATA,
  IORING_MSG_RING_CQE_SKIP,
  IORING_MSG_RING_FLAGS_PASS,
  IORING_MSG_SEND_FD,
  IORING_OP_MSG_RING,
} from '@ouro/native/abi';
import { checkInteger, invalidType } from '../base/errors.ts';
import type { DirectDescriptor } from '../descriptors/direct.ts';
import { WIDE_OPERANDS } from '../engine/slots.ts';
import { descriptorOf, nothing, Op, opKind } from '../operation/op.ts';
import type { InboxAddress } from '../tasks/inbox.ts';
import { placeOperands } from './in-flight.ts';

const MSG_RING = opKind<void>('msg_ring', { decode: nothing });
const MSG_RING_FD = opKind<number>('msg_ring');

/** A message to another ring. */
export interface RingMessage {
  /** The other ring's descriptor. */
  readonly ringFd: number;
  /** `user_data` of the completion that it becomes there. */
  readonly data: bigint;
  /** `res` of that completion. */
  readonly result: number;
  /** `flags` of that completion (6.3); undefined for none. */
  readonly flags?: number | undefined;
}

class Message extends Op<void> {
  readonly #low: number;
  readonly #high: number;

  constructor(ring: number, low: number, high: number, result: number, opFlags: number) {
    super(MSG_RING, IORING_OP_MSG_RING, 0, 0, result, opFlags);
    this.fd = ring;
    this.flags |= WIDE_OPERANDS;
    this.#low = low;
    this.#high = high;
  }

  override place(slot: number): void {
    placeOperands(slot, this.#low, this.#high, IORING_MSG_DATA, 0);
  }
}

/**
 * Posts a completion to another ring of the process (5.18): the kernel's op as it is, for rings that others have made. A ring
 * of ouro takes every completion for that of an op of its own: send messages there with `post`.
 *
 * Fails with EBADF, EBADFD (that is no ring), EOVERFLOW.
 * @throws TypeError, RangeError for bad arguments
 * @see io_uring_prep_msg_ring(3)
 */
export function msgRing({ ringFd, data, result, flags }: RingMessage): Op<void> {
  checkInteger('ringFd', ringFd, 0, 0x7fff_ffff);
  if (typeof data !== 'bigint') throw invalidType('data', 'of type bigint', data);
  checkInteger('result', result, -0x8000_0000, 0x7fff_ffff);
  const words = BigInt.asUintN(64, data);
  const op = new Message(
    ringFd,
    Number(words & 0xffff_ffffn),
    Number(words >> 32n),
    result,
    flags === undefined ? 0 : IORING_MSG_RING_FLAGS_PASS,
  );
  if (flags !== undefined) {
    checkInteger('flags', flags, 0, 0xffff_ffff);
    op.file = flags;
  }
  return op;
}

/** Checks an address that may have come from another thread, and copies it: getters may say something else each time. */
function checkAddress(address: InboxAddress): InboxAddress {
  if (typeof address !== 'object' || address === null)
    throw invalidType('address', 'the address of an Inbox', address);
  const { ring, slot, generation } = address;
  checkInteger('address.ring', ring, 0, 0x7fff_ffff);
  checkInteger('address.slot', slot, 0, 0x7fff_ffff);
  checkInteger('address.generation', generation, 0, 0x1fff_ffff);
  return { ring, slot, generation };
}

/**
 * Sends a number to an `Inbox` of any thread of the process (6.3). Resolves when the kernel has put it into that thread's
 * completion queue; numbers of one sender arrive in the order in which they were sent. A message to an inbox that is closed
 * already, in a thread that goes on, is dropped there.
 *
 * Fails with EBADF or EBADFD if the thread has ended, EOVERFLOW if its queue takes no more.
 *
 * @param value an integer from 0 to 2147483647
 * @throws TypeError, RangeError for bad arguments
 */
export function post(address: InboxAddress, value: number): Op<void> {
  const { ring, slot, generation } = checkAddress(address);
  checkInteger('value', value, 0, 0x7fff_ffff);
  const op = new Message(ring, slot, generation, value, IORING_MSG_RING_FLAGS_PASS);
  // More is to come: what tells it from the completion that ends the inbox's own op.
  op.file = IORING_CQE_F_MORE;
  return op;
}

/**
 * Hands a direct descriptor on to the ring of another thread (6.0), and resolves to its place there: tell the other thread
 * (with `post`, say), which takes it over as `files().adopt(place)`. Ours stays open. The other thread must have its table:
 * by having called `files()`.
 *
 * Fails with EINVAL if the address is one of this thread, EBADF if nothing is open here, ENFILE if the other thread's
 * table is full or not there (ENXIO if a place was asked for), EBADF or EBADFD if that thread has ended.
 *
 * @param address of any inbox of that thread
 * @param place where in its table; the kernel finds one if it is left out
 * @throws TypeError, RangeError for bad arguments
 * @see io_uring_prep_msg_ring_fd(3)
 */
export function msgRingFd(address: InboxAddress, direct: DirectDescriptor, place?: number): Op<number> {
  const { ring } = checkAddress(address);
  const descriptor = descriptorOf(direct);
  if (!descriptor.direct) throw invalidType('direct', 'a direct descriptor', direct);
  if (place !== undefined) checkInteger('place', place, 0, 0x7fff_fffe);
  // The completion that this could post there would be one that ends an op: so none.
  const op = new Op(MSG_RING_FD, IORING_OP_MSG_RING, 0, IORING_MSG_SEND_FD, 0, IORING_MSG_RING_CQE_SKIP);
  op.descriptor = descriptor;
  op.fd = ring;
  op.addr3 = descriptor.fd >>> 0;
  op.file = place === undefined ? IORING_FILE_INDEX_ALLOC : place + 1;
  return op;
}
