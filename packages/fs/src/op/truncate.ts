import { ftruncate } from 'node:fs';
import { IORING_OP_FTRUNCATE } from '@ouro/native/abi';
import { Deferred, type Future, type InFlight, Operation, type OpKind, reactor, submit } from '@ouro/runtime/driver';

const FTRUNCATE: OpKind<void> = {
  syscall: 'ftruncate',
  resultIsFd: false,
  decode: () => undefined,
  error: null,
  endsWithHandle: false,
};

/** `ftruncate(2)` through the ring (6.9), through Node's thread pool on kernels without the op. */
export function truncate(fd: number, length: number, handle: InFlight | null): Future<void> {
  const r = reactor();
  if (!r.supports(IORING_OP_FTRUNCATE)) return truncateInPool(fd, length);
  const op = new Operation<void>(FTRUNCATE, null, null);
  if (handle !== null) op.in(handle);
  return submit(op, r.take(op), IORING_OP_FTRUNCATE, fd, length, 0, 0);
}

/** @internal */
export function truncateInPool(fd: number, length: number): Future<void> {
  const done = new Deferred<void>();
  ftruncate(fd, length, (error) => {
    if (error === null) done.resolve();
    else done.reject(error);
  });
  return done;
}
