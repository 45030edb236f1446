import { IORING_OP_NOP } from '@ouro/native/abi';
import type { Future } from './future.ts';
import { Operation, type OpKind, submit } from './operation.ts';
import { reactor } from './reactor.ts';

const NOP: OpKind<number> = {
  syscall: 'nop',
  resultIsFd: false,
  decode: null,
  error: null,
  endsWithHandle: false,
};
const IORING_NOP_INJECT_RESULT = 1; // 6.10

/**
 * An op that does nothing: a trip through the ring, for benches and tests.
 *
 * @param result what it ends with, below zero for an error; needs Linux 6.10 (`IORING_NOP_INJECT_RESULT`) if not 0
 */
export function nop(result = 0): Future<number> {
  const r = reactor();
  const op = new Operation<number>(NOP, null, null);
  const flags = result === 0 ? 0 : IORING_NOP_INJECT_RESULT;
  return submit(op, r.take(op), IORING_OP_NOP, -1, 0, 0, result, flags);
}
