import { IORING_OP_FADVISE, IORING_OP_FALLOCATE } from '@ouro/native/abi';
import { checkInteger, nothing, Op, opKind, type Target } from '@ouro/runtime/driver';

const FALLOCATE = opKind<void>('fallocate', { decode: nothing });
const FADVISE = opKind<void>('fadvise', { decode: nothing });

/**
 * `fallocate(2)` (5.6): changes the space that a file takes, in a kernel thread.
 *
 * @param mode `FALLOC_FL_*` bits; 0 allocates, and extends the file if the stretch lies beyond its end
 * @param offset byte of the file
 * @param length bytes, more than 0
 * @throws `ENOSPC`, `ENOTSUP` (the file system has no such mode), `EFBIG`, `EBADF` (not open for writing), `EINVAL`
 */
export function fallocate(fd: Target, mode: number, offset: number, length: number): Op<void> {
  checkInteger('mode', mode, 0, 0x7fff_ffff);
  checkInteger('offset', offset, 0, Number.MAX_SAFE_INTEGER);
  checkInteger('length', length, 0, Number.MAX_SAFE_INTEGER);
  // Not as elsewhere: the length is at `addr`, which has 64 bits, and the mode at `len`.
  return new Op(FALLOCATE, IORING_OP_FALLOCATE, offset, length, mode).on(fd);
}

const MOST_ADVISED = 0xffff_ffff;

/**
 * `posix_fadvise(2)` (5.6): says how a stretch of a file will be used.
 *
 * @param length bytes; 0 is to the end of the file. More than 2 ** 32 - 1 fail with `EINVAL` before 6.11.
 * @param advice one of `POSIX_FADV_*`
 * @throws `ESPIPE` for a pipe, `EINVAL`
 */
export function fadvise(fd: Target, offset: number, length: number, advice: number): Op<void> {
  checkInteger('offset', offset, 0, Number.MAX_SAFE_INTEGER);
  checkInteger('length', length, 0, Number.MAX_SAFE_INTEGER);
  checkInteger('advice', advice, 0, 0x7fff_ffff);
  const wide = length > MOST_ADVISED;
  return new Op(FADVISE, IORING_OP_FADVISE, offset, wide ? length : 0, wide ? 0 : length, advice).on(fd);
}
