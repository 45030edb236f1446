import { IORING_FSYNC_DATASYNC, IORING_OP_FSYNC } from '@ouro/native/abi';
import { nothing, Op, opKind, type Target } from '@ouro/runtime/driver';

const FSYNC = opKind<void>('fsync', { decode: nothing });
const FDATASYNC = opKind<void>('fdatasync', { decode: nothing });

/** `fsync(2)` (5.1). Not ordered with other ops in flight: link it behind the writes, or await them first. */
export function fsync(fd: Target): Op<void> {
  return new Op(FSYNC, IORING_OP_FSYNC).on(fd);
}

/** `fdatasync(2)` (5.1). Not ordered with other ops in flight. */
export function fdatasync(fd: Target): Op<void> {
  return new Op(FDATASYNC, IORING_OP_FSYNC, 0, 0, 0, IORING_FSYNC_DATASYNC).on(fd);
}
