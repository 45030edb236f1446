import { ftruncate } from 'node:fs';
import { IORING_OP_FTRUNCATE } from '@ouro/native/abi';
import { type InFlight, Operation, type OpKind, reactor, submit } from '@ouro/runtime/driver';

const FTRUNCATE: OpKind<void> = {
  syscall: 'ftruncate',
  resultIsFd: false,
  decode: () => undefined,
  error: null,
  endsWithHandle: false,
};

/** `ftruncate(2)` through the ring (6.9), through Node's thread pool on kernels without the op. */
export function truncate(fd: number, length: number, handle: InFlight | null): Operation<void> {
  const r = reactor();
  if (!r.supports(IORING_OP_FTRUNCATE)) return truncateInPool(fd, length, handle);
  const op = new Operation<void>(FTRUNCATE, null, null);
  submit(op, r.take(op), IORING_OP_FTRUNCATE, fd, length, 0, 0);
  return handle === null ? op : op.in(handle);
}

/** @internal */
export function truncateInPool(fd: number, length: number, handle: InFlight | null): Operation<void> {
  const op = new Operation<void>(FTRUNCATE, null, null);
  // One of the handle's, so that the descriptor is not closed and given out anew before the pool gets to it.
  if (handle !== null) op.in(handle);
  ftruncate(fd, length, (error) => op.complete(error?.errno ?? 0, 0));
  return op;
}
