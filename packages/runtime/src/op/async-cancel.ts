import {
  IORING_ASYNC_CANCEL_ALL,
  IORING_ASYNC_CANCEL_ANY,
  IORING_ASYNC_CANCEL_FD,
  IORING_ASYNC_CANCEL_FD_FIXED,
  IORING_ASYNC_CANCEL_OP,
  IORING_OP_ASYNC_CANCEL,
} from '@ouro/native/abi';
import { checkInteger, invalidType } from '../base/errors.ts';
import { descriptorOf, Op, opKind, type Target } from '../operation/op.ts';
import { type InFlight, NamingOp } from './in-flight.ts';

/** What to cancel: one op by its future, all that there is, or what matches a descriptor, an opcode, or both. */
export interface CancelTarget {
  /** What `submit` or `stream` returned, or `'any'` for everything that this thread's ring has. */
  readonly target?: InFlight | 'any' | undefined;
  /** Ops on this file (5.19; direct descriptors 6.0), whatever number or place they named it by. */
  readonly fd?: Target | undefined;
  /** Ops of this opcode (6.6). */
  readonly opcode?: number | undefined;
  /** All that match (5.19), not just one. `'any'` is always all. @default false */
  readonly all?: boolean | undefined;
}

/** Without ALL or ANY the kernel answers 0 for the one that it found. */
const ONE = opKind<number>('async_cancel', { decode: () => 1 });
const ALL = opKind<number>('async_cancel');

/**
 * Asks the kernel to give up ops in flight (5.5), and resolves to how many it found. Each of them rejects with ECANCELED
 * (EINTR if a kernel thread was at it), or succeeds if it was quicker.
 *
 * This is the kernel's own op, which knows nothing of futures: `future.cancel()` also sees to what a cancelled op may
 * still have opened. `'any'`, and `POLL_ADD` as the opcode, find the runtime's own watch on Node's event loop as well: it is
 * counted, and put up again at once. Whatever else ouro has in flight (listeners, sleeps, inboxes) they really end.
 *
 * Ops that the poll engine does beside the ring, as the kernel lacks them, are found as well; not by `fd` alone without `all`,
 * and beside others of the ring they are not counted.
 *
 * Futexes and waits for children that are found together count as one (6.18).
 *
 * Fails with ENOENT if there is nothing to be cancelled, unless all are asked for; with EALREADY if the op is being done
 * and cannot be interrupted.
 *
 * @throws TypeError, RangeError for bad arguments; `ERR_INVALID_STATE` if `target` is not in flight
 * @see io_uring_prep_cancel(3)
 */
export function asyncCancel({ target, fd, opcode, all = false }: CancelTarget): Op<number> {
  const kind = all ? ALL : ONE;
  let flags = all ? IORING_ASYNC_CANCEL_ALL : 0;
  if (target !== undefined) {
    if (fd !== undefined || opcode !== undefined) {
      throw invalidType('target', 'undefined where fd or opcode say what to cancel', target);
    }
    if (target === 'any')
      return new Op(ALL, IORING_OP_ASYNC_CANCEL, 0, 0, 0, flags | IORING_ASYNC_CANCEL_ANY);
    return new NamingOp(kind, IORING_OP_ASYNC_CANCEL, target, 0, flags);
  }
  if (fd === undefined && opcode === undefined) {
    throw invalidType('target', "a future of submit, a Stream or 'any'", target);
  }
  const op = new Op(kind, IORING_OP_ASYNC_CANCEL);
  if (fd !== undefined) {
    flags |= IORING_ASYNC_CANCEL_FD;
    // Not one of the handle's ops: closing that must not cancel what cancels the others.
    if (typeof fd === 'number') {
      checkInteger('fd', fd, 0, 0x7fff_ffff);
      op.fd = fd;
    } else {
      const descriptor = descriptorOf(fd);
      op.fd = descriptor.fd;
      if (descriptor.direct) flags |= IORING_ASYNC_CANCEL_FD_FIXED;
    }
  }
  if (opcode !== undefined) {
    checkInteger('opcode', opcode, 0, 255);
    flags |= IORING_ASYNC_CANCEL_OP;
    op.len = opcode;
  }
  op.opFlags = flags;
  return op;
}
