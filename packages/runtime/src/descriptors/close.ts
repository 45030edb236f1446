import { IORING_OP_CLOSE } from '@ouro/native/abi';
import { awaitFast, type Future } from '../future/future.ts';
import { nothing, Op, type OpKind, opKind } from '../operation/op.ts';
import { begin, Operation } from '../operation/operation.ts';

const CLOSE = opKind<void>('close', { decode: nothing });

/** Cannot be cancelled: the descriptor is nobody's any more. */
class Close extends Operation<void> {
  override cancel(): void {}
}
awaitFast(Close);

/**
 * Closes a descriptor after every SQE that is already queued: none of them can hit a number given out anew.
 *
 * @remarks `close(2)`; the descriptor is gone even where this fails (EIO, EINTR), so it must not be tried again.
 */
export function close(fd: number): Future<void> {
  const op = new Op(CLOSE, IORING_OP_CLOSE);
  op.fd = fd;
  return begin(new Close(op));
}

/** Empties a place in the table of direct descriptors (5.15), after every SQE that is already queued. */
export function closeDirect(index: number): Future<void> {
  return begin(new Close(closeOp(CLOSE, index + 1)));
}

/** An op that closes: with `file` one more than the index of a direct descriptor, or 0. */
export function closeOp(kind: OpKind<void>, file: number): Op<void> {
  const op = new Op(kind, IORING_OP_CLOSE);
  op.fd = 0;
  op.file = file;
  return op;
}
