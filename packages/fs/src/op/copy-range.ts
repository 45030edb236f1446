import { OURO_OP_COPY_FILE_RANGE, OURO_OP_FICLONE } from '@ouro/native/abi';
import { checkInteger, nothing, Op, opKind, type Target, takingFrom } from '@ouro/runtime/driver';
import { checkPosition, type Position } from '../position.ts';
import { onFile, ordinary } from './own.ts';

const COPY_FILE_RANGE = opKind<number>('copy_file_range');
const FICLONE = opKind<void>('ficlone', { decode: nothing });

/** Sets what the op takes from. */
function from<T>(op: Op<T>, source: Target): Op<T> {
  return takingFrom(op, ordinary('from', source));
}

/**
 * `copy_file_range(2)`: copies up to `length` bytes from one file to another inside the kernel, where the file systems can by
 * sharing them. 0 at the end of the file; fewer than `length` may be copied at any time. What a thread has begun cannot be
 * interrupted: several short ones can be cancelled in between.
 *
 * @param offIn byte of `from` to begin at; null for its current position
 * @param offOut byte of `to` to begin at; null for its current position
 * @throws `EXDEV` (the file systems differ, before 5.19 and where they cannot), `EINVAL` (no regular files, or stretches of one file
 *   that overlap), `EBADF` (not open so, or `to` is open for appending), `ENOTSUP`, `ENOSPC`, `ETXTBSY`
 */
export function copyFileRange(
  source: Target,
  offIn: Position,
  to: Target,
  offOut: Position,
  length: number,
): Op<number> {
  checkInteger('length', length, 0, 0xffff_ffff);
  const begin = checkPosition(offIn, 'offIn');
  const at = checkPosition(offOut, 'offOut');
  return from(onFile(new Op(COPY_FILE_RANGE, OURO_OP_COPY_FILE_RANGE, at, begin, length), to), source);
}

/**
 * `ioctl(FICLONE)`: makes `to` share all data of `source`, without copying any.
 *
 * @throws `ENOTSUP`, `EINVAL`, `EXDEV`, where the file system cannot (btrfs, XFS and few others can)
 */
export function ficlone(source: Target, to: Target): Op<void> {
  return from(onFile(new Op(FICLONE, OURO_OP_FICLONE), to), source);
}
