import { ftruncate as ftruncateInPool } from 'node:fs';
import { IORING_OP_FTRUNCATE } from '@ouro/native/abi';
import {
  begin,
  nothing,
  Op,
  Operation,
  type OpOptions,
  opKind,
  reactor,
  type Target,
} from '@ouro/runtime/driver';

const FTRUNCATE = opKind<void>('ftruncate', { decode: nothing });

/** `ftruncate(2)` through the ring (6.9). */
export function ftruncate(fd: Target, length: number): Op<void> {
  return new Op(FTRUNCATE, IORING_OP_FTRUNCATE, length).on(fd);
}

/** The same as a future, through Node's thread pool on kernels without the op. */
export function truncate(fd: Target, length: number, options?: OpOptions): Operation<void> {
  const op = ftruncate(fd, length);
  if (reactor().supports(IORING_OP_FTRUNCATE)) return begin(new Operation(op), options);
  return begin(new TruncateInPool(op), options);
}

/** @internal */
export class TruncateInPool extends Operation<void> {
  // One of the handle's like any other, so that the descriptor is not closed and given out anew before the pool gets to
  // it. A thread of the pool cannot be called back: timeouts and cancelling have no effect.
  override start(): this {
    const { fd, off } = this.op;
    ftruncateInPool(fd, off, (error) => this.finish(error?.errno ?? 0, 0));
    return this;
  }
}
