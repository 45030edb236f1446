/**
 * The kernel's file ops, one SQE each, for `submit`, `chain` and `batch` of `@ouro/runtime`. Programs that only want files
 * use `@ouro/fs`.
 */

export {
  AT_EACCESS,
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
  IN_ACCESS,
  IN_ATTRIB,
  IN_CLOSE_NOWRITE,
  IN_CLOSE_WRITE,
  IN_CREATE,
  IN_DELETE,
  IN_DELETE_SELF,
  IN_DONT_FOLLOW,
  IN_EXCL_UNLINK,
  IN_IGNORED,
  IN_ISDIR,
  IN_MASK_ADD,
  IN_MASK_CREATE,
  IN_MODIFY,
  IN_MOVE_SELF,
  IN_MOVED_FROM,
  IN_MOVED_TO,
  IN_ONESHOT,
  IN_ONLYDIR,
  IN_OPEN,
  IN_Q_OVERFLOW,
  IN_UNMOUNT,
  IOSQE_ASYNC,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  LOCK_UN,
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
  SEEK_CUR,
  SEEK_DATA,
  SEEK_END,
  SEEK_HOLE,
  SEEK_SET,
  SPLICE_F_MORE,
  SPLICE_F_MOVE,
  SPLICE_F_NONBLOCK,
  STATX_ATIME,
  STATX_BASIC_STATS,
  STATX_BLOCKS,
  STATX_BTIME,
  STATX_CTIME,
  STATX_DIO_READ_ALIGN,
  STATX_DIOALIGN,
  STATX_GID,
  STATX_INO,
  STATX_MNT_ID,
  STATX_MNT_ID_UNIQUE,
  STATX_MODE,
  STATX_MTIME,
  STATX_NLINK,
  STATX_SIZE,
  STATX_SUBVOL,
  STATX_TYPE,
  STATX_UID,
  SYNC_FILE_RANGE_WAIT_AFTER,
  SYNC_FILE_RANGE_WAIT_BEFORE,
  SYNC_FILE_RANGE_WRITE,
  XATTR_CREATE,
  XATTR_REPLACE,
} from '@ouro/native/abi';
export { type Ends, type PipeOptions, pipe, splice, tee } from '@ouro/runtime/ops';
export { copyFileRange, ficlone } from './op/copy-range.ts';
export { flock } from './op/flock.ts';
export { getdents } from './op/getdents.ts';
export { inotifyAddWatch, inotifyInit, inotifyRmWatch } from './op/inotify.ts';
export { lseek } from './op/lseek.ts';
export { mkfifoat, mknodat } from './op/mknod.ts';
export { type AtFlags, faccessat, fchmod, fchmodat, fchown, fchownat } from './op/mode.ts';
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
export { type MoveOptions, read, write } from './op/read-write.ts';
export { type NameAtOptions, readlinkat, realpathat } from './op/readlink.ts';
export { fadvise, fallocate } from './op/space.ts';
export { type StatFs, type StatFsOptions, statfs } from './op/statfs.ts';
export {
  type StatKinds,
  type StatShape,
  type StatxOptions,
  statAs,
  statKinds,
  statx,
  statxAll,
} from './op/statx.ts';
export { fdatasync, fsync, syncFileRange } from './op/sync.ts';
export { type FileTime, futimens, utimensat } from './op/times.ts';
export { ftruncate } from './op/truncate.ts';
export { readv, writev } from './op/vectored.ts';
export {
  fgetxattr,
  flistxattr,
  fremovexattr,
  fsetxattr,
  getxattr,
  lgetxattr,
  listxattr,
  llistxattr,
  lremovexattr,
  lsetxattr,
  removexattr,
  setxattr,
} from './op/xattr.ts';
export type { PathLike } from './path.ts';
export type { Position } from './position.ts';
