import { ftruncate as ftruncateInPool } from 'node:fs';
import { IORING_OP_FTRUNCATE } from '@ouro/native/abi';
import { nothing, Op, opKind, type Target } from '@ouro/runtime/driver';

const FTRUNCATE = opKind<void>('ftruncate', { decode: nothing });

class FTruncate extends Op<void> {
  override elsewhere(): Promise<number> {
    return new Promise((done) => ftruncateInPool(this.fd, this.off, (error) => done(error?.errno ?? 0)));
  }
}

/** `ftruncate(2)` through the ring (6.9), through Node's thread pool on kernels without the op. */
export function ftruncate(fd: Target, length: number): Op<void> {
  return new FTruncate(FTRUNCATE, IORING_OP_FTRUNCATE, length).on(fd);
}
