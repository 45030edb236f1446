import type { Future } from '../future/future.ts';
import { checkOnce } from './multishot.ts';
import type { Op } from './op.ts';
import type { OpOptions } from './op-options.ts';
import { begin, Operation } from './operation.ts';

/**
 * Queues one op. The kernel gets it, with everything else that this turn of the loop queues, in one system call.
 *
 * This is the door for ops that ouro does not have: make a kind with `opKind`, an `Op` of it, and submit that.
 *
 * @returns a future of what the op's kind makes of the result; it settles at the last CQE
 * @throws TypeError, RangeError for bad arguments, a multishot op among them, which is for `stream`
 */
export function submit<T>(op: Op<T>, options?: OpOptions): Future<T> {
  checkOnce('op', op);
  return begin(new Operation(op), options);
}
