import { IORING_NOP_INJECT_RESULT, IORING_OP_NOP } from '@ouro/native/abi';
import { checkInteger } from '../base/errors.ts';
import type { Future } from '../future/future.ts';
import { Op, opKind } from './op.ts';
import { begin, Operation } from './operation.ts';

const NOP = opKind<number>('nop');

/**
 * An op that does nothing: a trip through the ring, for benches, tests and chains.
 *
 * @param result what it ends with, below zero for an error; needs Linux 6.10 (`IORING_NOP_INJECT_RESULT`) if not 0
 */
export function nopOp(result = 0): Op<number> {
  checkInteger('result', result, -4095, 0x7fff_ffff);
  return new Op(NOP, IORING_OP_NOP, 0, 0, result, result === 0 ? 0 : IORING_NOP_INJECT_RESULT);
}

/** Submits a nop. */
export function nop(result = 0): Future<number> {
  return begin(new Operation(nopOp(result)));
}
