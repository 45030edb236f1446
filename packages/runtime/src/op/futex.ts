import { types } from 'node:util';
import {
  FUTEX_WAITV_MAX,
  FUTEX2_SIZE_U32,
  IORING_OP_FUTEX_WAIT,
  IORING_OP_FUTEX_WAITV,
  IORING_OP_FUTEX_WAKE,
} from '@ouro/native/abi';
import { checkInteger, invalidType, outOfRange } from '../base/errors.ts';
import { bufferOf, lengthOf } from '../base/view.ts';
import { reactor } from '../engine/thread.ts';
import { addressOf } from '../memory/pin.ts';
import { nothing, Op, opKind } from '../operation/op.ts';

/** A word that threads share. */
export type FutexView = Int32Array | Uint32Array;

/** One of the futexes that `futexWaitv` waits for. */
export interface FutexWaiter {
  readonly view: FutexView;
  /** Which word of the view. */
  readonly index: number;
  /** Waits only if that is what the word holds. */
  readonly value: number;
}

const WORD_BYTES = 4;
const ALL_BITS = 0xffff_ffff;
/** `struct futex_waitv`: val, uaddr, flags, reserved. */
const WAITER_BYTES = 24;

const FUTEX_WAIT = opKind<void>('futex_wait', { decode: nothing });
const FUTEX_WAKE = opKind<number>('futex_wake');
const FUTEX_WAITV = opKind<number>('futex_waitv');

/** The address of a word of shared memory. */
function futexAt(name: string, view: FutexView, index: number): number {
  if (
    !(types.isInt32Array(view) || types.isUint32Array(view)) ||
    !types.isSharedArrayBuffer(bufferOf(view))
  ) {
    throw invalidType(name, 'an Int32Array or Uint32Array over a SharedArrayBuffer', view);
  }
  checkInteger('index', index, 0, lengthOf(view) / WORD_BYTES - 1);
  return addressOf(view) + index * WORD_BYTES;
}

function checkWord(name: string, value: number): void {
  checkInteger(name, value, -0x8000_0000, 0xffff_ffff);
}

/** FUTEX_WAIT and FUTEX_WAKE have their flags where others have the descriptor. */
function futexOp<T>(op: Op<T>, view: FutexView, mask: number): Op<T> {
  checkInteger('mask', mask, 1, ALL_BITS);
  // Shared, not private: a private wait that was begun before the process had threads can miss its wake (6.17).
  op.fd = FUTEX2_SIZE_U32;
  op.addr3 = mask;
  op.hold = view;
  return op;
}

/**
 * Waits, without a thread that sleeps, until another thread of the process wakes this word with `futexWake` (6.7).
 *
 * Fails with EAGAIN if the word does not hold `value` when the kernel looks: look again, as with `Atomics.wait`.
 * `Atomics.wait` and `Atomics.notify` are no futexes: neither wakes the other.
 *
 * @param value what the word is expected to hold
 * @param mask wakes with a mask that has no bit of this one are not for this wait
 * @throws TypeError, RangeError for bad arguments
 * @see io_uring_prep_futex_wait(3)
 */
export function futexWait(view: FutexView, index: number, value: number, mask: number = ALL_BITS): Op<void> {
  const address = futexAt('view', view, index);
  checkWord('value', value);
  return futexOp(new Op(FUTEX_WAIT, IORING_OP_FUTEX_WAIT, value >>> 0, address), view, mask);
}

/**
 * Wakes up to `count` of those that wait at a word (6.7), in whatever thread, and resolves to how many.
 *
 * @throws TypeError, RangeError for bad arguments
 * @see io_uring_prep_futex_wake(3)
 */
export function futexWake(
  view: FutexView,
  index: number,
  count: number = 0x7fff_ffff,
  mask: number = ALL_BITS,
): Op<number> {
  const address = futexAt('view', view, index);
  checkInteger('count', count, 1, 0x7fff_ffff);
  return futexOp(new Op(FUTEX_WAKE, IORING_OP_FUTEX_WAKE, count, address), view, mask);
}

/**
 * Waits until one of up to 128 words is woken (6.7), and resolves to the place of that in `waiters`.
 *
 * Fails with EAGAIN if one does not hold its value when the kernel looks.
 * @throws TypeError, RangeError for bad arguments
 * @see io_uring_prep_futex_waitv(3)
 */
export function futexWaitv(waiters: readonly FutexWaiter[]): Op<number> {
  if (!Array.isArray(waiters)) throw invalidType('waiters', 'an instance of Array', waiters);
  // Copies: what has been checked is what is held.
  const all = [...waiters].map(({ view, index, value }) => ({ view, index, value }));
  const { length } = all;
  if (length === 0 || length > FUTEX_WAITV_MAX) {
    throw outOfRange('waiters.length', `>= 1 && <= ${FUTEX_WAITV_MAX}`, length);
  }
  const memory = Buffer.allocUnsafeSlow(length * WAITER_BYTES).fill(0);
  all.forEach(({ view, index, value }, at) => {
    const address = futexAt(`waiters[${at}].view`, view, index);
    checkWord(`waiters[${at}].value`, value);
    memory.writeUInt32LE(value >>> 0, at * WAITER_BYTES);
    memory.writeBigUInt64LE(BigInt(address), at * WAITER_BYTES + 8);
    memory.writeUInt32LE(FUTEX2_SIZE_U32, at * WAITER_BYTES + 16);
  });
  const op = new Op(FUTEX_WAITV, IORING_OP_FUTEX_WAITV, 0, reactor().addon.addressOf(memory), length);
  op.fd = 0; // the kernel wants it so
  op.hold = [memory, all.map(({ view }) => view)];
  return op;
}
