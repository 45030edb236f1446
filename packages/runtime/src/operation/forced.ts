import {
  IORING_OP_FADVISE,
  IORING_OP_FALLOCATE,
  IORING_OP_FGETXATTR,
  IORING_OP_FSETXATTR,
  IORING_OP_FSYNC,
  IORING_OP_FTRUNCATE,
  IORING_OP_GETXATTR,
  IORING_OP_LINKAT,
  IORING_OP_MADVISE,
  IORING_OP_MKDIRAT,
  IORING_OP_OPENAT,
  IORING_OP_OPENAT2,
  IORING_OP_RENAMEAT,
  IORING_OP_SETXATTR,
  IORING_OP_SHUTDOWN,
  IORING_OP_SPLICE,
  IORING_OP_STATX,
  IORING_OP_SYMLINKAT,
  IORING_OP_SYNC_FILE_RANGE,
  IORING_OP_TEE,
  IORING_OP_UNLINKAT,
  IOSQE_ASYNC,
  OURO_OP_FIRST,
} from '@ouro/native/abi';
import type { Op } from './op.ts';

const FORCED: ReadonlySet<number> = new Set([
  IORING_OP_FSYNC,
  IORING_OP_SYNC_FILE_RANGE,
  IORING_OP_FALLOCATE,
  IORING_OP_OPENAT,
  IORING_OP_OPENAT2,
  IORING_OP_STATX,
  IORING_OP_FADVISE,
  IORING_OP_MADVISE,
  IORING_OP_SPLICE,
  IORING_OP_TEE,
  IORING_OP_SHUTDOWN,
  IORING_OP_RENAMEAT,
  IORING_OP_UNLINKAT,
  IORING_OP_MKDIRAT,
  IORING_OP_SYMLINKAT,
  IORING_OP_LINKAT,
  IORING_OP_FSETXATTR,
  IORING_OP_SETXATTR,
  IORING_OP_FGETXATTR,
  IORING_OP_GETXATTR,
  IORING_OP_FTRUNCATE,
]);

/**
 * Whether the kernel gives the op to a thread of its own without trying it first: because it is asked to, or because it
 * always does so (an open only with `O_CREAT` or `O_TRUNC`). A linked timeout of such an op would run only from when that thread
 * begins, and all of them may be busy for ever (opening pipes that nobody else opens, say); on 6.18 it does not even then.
 * So a timeout op beside it has to do. Of our own ops, which the kernel's ring does not get, as well.
 */
export function isForced(op: Op<unknown>): boolean {
  return (op.flags & IOSQE_ASYNC) !== 0 || op.opcode >= OURO_OP_FIRST || FORCED.has(op.opcode);
}
