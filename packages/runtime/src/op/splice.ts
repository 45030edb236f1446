import { IORING_OP_SPLICE, IORING_OP_TEE, SPLICE_F_FD_IN_FIXED } from '@ouro/native/abi';
import { checkInteger } from '../base/errors.ts';
import { checkPosition, type Position } from '../base/position.ts';
import { descriptorOf, Op, opKind, type Target } from '../operation/op.ts';
import { takingFrom } from './two-files.ts';

// Bytes that move between a pipe and something else without coming to the program. The kernel runs these ops in threads of
// its own, where they wait: cancelling interrupts them. Both handles must stay open until then, which they do by themselves.
// On kernels without (before 5.7) they are refused.

const SPLICE = opKind<number>('splice', { endsWithHandle: true });
const TEE = opKind<number>('tee', { endsWithHandle: true });

/** Sets what the op takes from, which may be a direct descriptor. */
function from(op: Op<number>, source: Target): Op<number> {
  if (typeof source !== 'number' && descriptorOf(source).direct) op.opFlags += SPLICE_F_FD_IN_FIXED;
  return takingFrom(op, source);
}

function checkLength(length: number, flags: number): void {
  checkInteger('length', length, 0, 0xffff_ffff);
  checkInteger('flags', flags, 0, 0x7fff_ffff);
}

/**
 * `splice(2)` (5.7): moves up to `length` bytes, from a pipe or to one. 0 is the end of the file, or a pipe without
 * writers; fewer than `length` may move at any time.
 *
 * @param offIn byte of `from` to begin at; null for its current position, and for a pipe
 * @param offOut byte of `to` to begin at; null for its current position, and for a pipe
 * @param flags `SPLICE_F_*` bits
 * @throws `EINVAL` (neither is a pipe, or `to` is open for appending), `ESPIPE` (a position of a pipe), `EPIPE`, `EAGAIN`
 */
export function splice(
  source: Target,
  offIn: Position,
  to: Target,
  offOut: Position,
  length: number,
  flags = 0,
): Op<number> {
  checkLength(length, flags);
  const begin = checkPosition(offIn, 'offIn');
  const op = new Op(SPLICE, IORING_OP_SPLICE, checkPosition(offOut, 'offOut'), begin, length, flags);
  return from(op.on(to), source);
}

/**
 * `tee(2)` (5.8): copies up to `length` bytes from one pipe to another and leaves them in the first. 0 if that has no
 * writers.
 *
 * @param flags `SPLICE_F_NONBLOCK`
 * @throws `EINVAL` (not two pipes), `EAGAIN`
 */
export function tee(source: Target, to: Target, length: number, flags = 0): Op<number> {
  checkLength(length, flags);
  return from(new Op(TEE, IORING_OP_TEE, 0, 0, length, flags).on(to), source);
}
