export type { WritableChunk } from '@ouro/runtime/driver';
export { CopyError, type CopyProblem } from './copy/copy-errors.ts';
export { type Clone, type CopyFileOptions, copyFile, type Sparse } from './copy/copy-file.ts';
export type { Copied, CopyOptions } from './copy/copy-options.ts';
export { cp } from './copy/copy-tree.ts';
export {
  type AtDirOptions,
  Dir,
  type DirOptions,
  type DirStatOptions,
  opendir,
  type ToOptions,
} from './directory/dir.ts';
export type { Dirent } from './directory/dirent.ts';
export { type GlobOptions, glob } from './directory/glob.ts';
export { type ReaddirOptions, readdir } from './directory/readdir.ts';
export type { Resolve } from './directory/resolve.ts';
export { type RmOptions, rm } from './directory/rm.ts';
export { mkdtemp, TemporaryDirectory } from './directory/temporary-directory.ts';
export { type Walk, type WalkOptions, walk } from './directory/walk.ts';
export type { WalkEntry } from './directory/walk-entry.ts';
export type { NameEncoding, NameOptions } from './encoding.ts';
export {
  ChunkLease,
  type ChunkOptions,
  type LeaseOptions,
  type StretchOptions,
} from './file/chunks.ts';
export { File, type OpenOptions, type VectorOptions, type WriteOptions } from './file/file.ts';
export type { LineOptions } from './file/lines.ts';
export type { LockOptions } from './file/lock.ts';
export type { ChunkLoop } from './file/loop.ts';
export type { ReadRestOptions, WriteFileData } from './file/rest.ts';
export type { ReadableOptions, WritableOptions } from './file/web-streams.ts';
export type { OpenFlags } from './flags.ts';
export type { Alignment } from './op/direct-align.ts';
export type { StatFs } from './op/statfs.ts';
export type { FileTime } from './op/times.ts';
export type { PathLike } from './path.ts';
export {
  type AttributeOptions,
  getxattr,
  listxattr,
  removexattr,
  type SetAttributeOptions,
  setxattr,
} from './paths/attributes.ts';
export { type MkdirOptions, mkdir } from './paths/make-directory.ts';
export {
  access,
  chmod,
  chown,
  exists,
  lchown,
  lstat,
  lutimes,
  type StatOptions,
  type StatxOptions,
  stat,
  statfs,
  statx,
  utimes,
} from './paths/metadata.ts';
export {
  link,
  type MkfifoOptions,
  mkfifo,
  readlink,
  realpath,
  rename,
  rmdir,
  symlink,
  truncate,
  unlink,
} from './paths/paths.ts';
export type { Position } from './position.ts';
export type { BigIntStats, Stats, Statx } from './stats.ts';
export { type WatchEvent, type Watcher, type WatchKind, type WatchOptions, watch } from './watch/watch.ts';
export type { FileResult, LentFile } from './whole/file-result.ts';
export type { FileStream } from './whole/file-stream.ts';
export { type ReadFiles, type ReadFilesOptions, readFiles } from './whole/read-files.ts';
export {
  appendFile,
  type ReadFileOptions,
  readFile,
  type WriteFileOptions,
  writeFile,
} from './whole/whole.ts';
export {
  type FileEntry,
  type WriteFilesOptions,
  type WriteResult,
  writeFiles,
} from './whole/write-files.ts';
