import { ftruncate as ftruncateInPool } from 'node:fs';
import { IORING_OP_FTRUNCATE } from '@ouro/native/abi';
import { checkInteger, nothing, Op, opKind, type Target } from '@ouro/runtime/driver';
import { inPoolOn } from './elsewhere.ts';

const FTRUNCATE = opKind<void>('ftruncate', { decode: nothing });

class FTruncate extends Op<void> {
  override elsewhere(): Promise<number> | null {
    return inPoolOn(this, (fd, done) => ftruncateInPool(fd, this.off, done));
  }
}

/** `ftruncate(2)` through the ring (6.9), through Node's thread pool on kernels without the op. */
export function ftruncate(fd: Target, length: number): Op<void> {
  checkInteger('length', length, 0, Number.MAX_SAFE_INTEGER);
  return new FTruncate(FTRUNCATE, IORING_OP_FTRUNCATE, length).on(fd);
}
