/**
 * The kernel's file ops, one SQE each, for `submit`, `chain` and `batch` of `@ouro/runtime`. Programs that only want files
 * use `@ouro/fs`.
 */

export {
  AT_FDCWD,
  AT_NO_AUTOMOUNT,
  AT_REMOVEDIR,
  AT_STATX_DONT_SYNC,
  AT_STATX_FORCE_SYNC,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
  FALLOC_FL_COLLAPSE_RANGE,
  FALLOC_FL_INSERT_RANGE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_UNSHARE_RANGE,
  FALLOC_FL_ZERO_RANGE,
  IOSQE_ASYNC,
  O_TMPFILE,
  POSIX_FADV_DONTNEED,
  POSIX_FADV_NOREUSE,
  POSIX_FADV_NORMAL,
  POSIX_FADV_RANDOM,
  POSIX_FADV_SEQUENTIAL,
  POSIX_FADV_WILLNEED,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  RESOLVE_BENEATH,
  RESOLVE_CACHED,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  RWF_APPEND,
  RWF_ATOMIC,
  RWF_DONTCACHE,
  RWF_DSYNC,
  RWF_HIPRI,
  RWF_NOAPPEND,
  RWF_NOWAIT,
  RWF_SYNC,
  SPLICE_F_MORE,
  SPLICE_F_MOVE,
  SPLICE_F_NONBLOCK,
  STATX_ATIME,
  STATX_BASIC_STATS,
  STATX_BLOCKS,
  STATX_BTIME,
  STATX_CTIME,
  STATX_GID,
  STATX_INO,
  STATX_MODE,
  STATX_MTIME,
  STATX_NLINK,
  STATX_SIZE,
  STATX_TYPE,
  STATX_UID,
  SYNC_FILE_RANGE_WAIT_AFTER,
  SYNC_FILE_RANGE_WAIT_BEFORE,
  SYNC_FILE_RANGE_WRITE,
  XATTR_CREATE,
  XATTR_REPLACE,
} from '@ouro/native/abi';
export {
  linkat,
  mkdirat,
  renameat,
  symlinkat,
  type TwoAtOptions,
  type UnlinkAtOptions,
  unlinkat,
} from './op/names.ts';
export { type OpenAtOptions, type OpenHow, openat, openat2 } from './op/open.ts';
export type { AtOptions } from './op/path-op.ts';
export { type Ends, type PipeOptions, pipe } from './op/pipe.ts';
export { type MoveOptions, read, write } from './op/read-write.ts';
export { fadvise, fallocate } from './op/space.ts';
export { splice, tee } from './op/splice.ts';
export { type StatxOptions, statx } from './op/statx.ts';
export { fdatasync, fsync, syncFileRange } from './op/sync.ts';
export { ftruncate } from './op/truncate.ts';
export { readv, writev } from './op/vectored.ts';
export { fgetxattr, fsetxattr, getxattr, setxattr } from './op/xattr.ts';
export type { PathLike } from './path.ts';
export type { Position } from './position.ts';
