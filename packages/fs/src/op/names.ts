import { link, mkdir, rename, rmdir, symlink, unlink } from 'node:fs';
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  IORING_OP_LINKAT,
  IORING_OP_MKDIRAT,
  IORING_OP_RENAMEAT,
  IORING_OP_SYMLINKAT,
  IORING_OP_UNLINKAT,
} from '@ouro/native/abi';
import { checkInteger, nothing, type Op, opKind, type Target } from '@ouro/runtime/driver';
import { fileMode } from '../flags.ts';
import { keptPath, type PathLike } from '../path.ts';
import { inPool } from './elsewhere.ts';
import { type AtOptions, directoryOf, PathOp, TwoPathOp } from './path-op.ts';

// Names in directories. The kernel runs these ops in threads of its own, where what has begun cannot be interrupted. A path
// has at most 4095 bytes, else the op fails with ENAMETOOLONG.

const RENAME = opKind<void>('rename', { decode: nothing });
const UNLINK = opKind<void>('unlink', { decode: nothing });
const RMDIR = opKind<void>('rmdir', { decode: nothing });
const MKDIR = opKind<void>('mkdir', { decode: nothing });
const MKDTEMP = opKind<void>('mkdtemp', { decode: nothing });
const SYMLINK = opKind<void>('symlink', { decode: nothing });
const LINK = opKind<void>('link', { decode: nothing });

/** Directories of an op on two paths. */
export interface TwoAtOptions {
  /** Where a relative old path begins. @default the directory of the process */
  readonly oldDirfd?: Target | undefined;
  /** Where a relative new path begins. @default the directory of the process */
  readonly newDirfd?: Target | undefined;
  /** Bits of the system call. @default 0 */
  readonly flags?: number | undefined;
}

function checkFlags(flags: number): number {
  checkInteger('options.flags', flags, 0, 0x7fff_ffff);
  return flags;
}

/** Directories for both paths: the old one at `fd`, the new one at `len`. */
function inDirectories<O extends TwoPathOp>(op: O, { oldDirfd, newDirfd }: TwoAtOptions): O {
  const old = directoryOf('options.oldDirfd', oldDirfd);
  const made = directoryOf('options.newDirfd', newDirfd);
  op.fd = old.fd;
  op.descriptor = old.descriptor;
  op.len = made.fd;
  // A handle that is both holds the op once.
  op.also = made.descriptor === old.descriptor ? null : made.descriptor;
  return op;
}

class RenameAt extends TwoPathOp {
  override elsewhere(): Promise<number> | null {
    if (this.fd !== AT_FDCWD || this.len !== AT_FDCWD || this.opFlags !== 0) return null;
    return inPool((done) => rename(this.path, this.dest, done));
  }
}

/**
 * `renameat2(2)` (5.11): gives a file or directory another name, replacing what has that name.
 *
 * @param options `flags`: `RENAME_NOREPLACE` (`EEXIST` if the new name is there), `RENAME_EXCHANGE`
 * @throws `ENOENT`, `EXDEV`, `ENOTEMPTY`, `EISDIR`…, with `path` and `dest`
 */
export function renameat(oldPath: PathLike, newPath: PathLike, options: TwoAtOptions = {}): Op<void> {
  const from = keptPath(oldPath, 'oldPath');
  const to = keptPath(newPath, 'newPath');
  const flags = checkFlags(options.flags ?? 0);
  return inDirectories(new RenameAt(RENAME, IORING_OP_RENAMEAT, from, to, flags), options);
}

class UnlinkAt extends PathOp<void> {
  override elsewhere(): Promise<number> | null {
    if (!this.plain) return null;
    return inPool((done) =>
      this.opFlags === AT_REMOVEDIR ? rmdir(this.path, done) : unlink(this.path, done),
    );
  }
}

/** How a name is removed. */
export interface UnlinkAtOptions extends AtOptions {
  /** `AT_REMOVEDIR` for an empty directory. @default 0 */
  readonly flags?: number | undefined;
}

/**
 * `unlinkat(2)` (5.11): removes a name; the file goes with its last one, and when nobody has it open any more.
 *
 * @throws `ENOENT`, `EISDIR`, `ENOTDIR`, `ENOTEMPTY`…
 */
export function unlinkat(path: PathLike, options: UnlinkAtOptions = {}): Op<void> {
  const flags = checkFlags(options.flags ?? 0);
  const kind = (flags & AT_REMOVEDIR) === 0 ? UNLINK : RMDIR;
  return new UnlinkAt(kind, IORING_OP_UNLINKAT, keptPath(path), options.dirfd, 0, flags);
}

class MkdirAt extends PathOp<void> {
  override elsewhere(): Promise<number> | null {
    if (!this.plain) return null;
    return inPool((done) => mkdir(this.path, this.len, done));
  }
}

/** `mkdirat(2)` (5.15), in Node's thread pool on kernels without. `mode` is what the umask leaves of it. */
export function mkdirat(path: PathLike, mode: number | string = 0o777, options: AtOptions = {}): Op<void> {
  return new MkdirAt(MKDIR, IORING_OP_MKDIRAT, keptPath(path), options.dirfd, fileMode(mode), 0);
}

/** `mkdirat` as a step of `mkdtemp(3)`, by whose name its errors go. */
export function mkdtempAt(path: string | Buffer, mode: number): Op<void> {
  return new MkdirAt(MKDTEMP, IORING_OP_MKDIRAT, path, undefined, mode, 0);
}

class SymlinkAt extends TwoPathOp {
  override elsewhere(): Promise<number> | null {
    return this.fd === AT_FDCWD ? inPool((done) => symlink(this.path, this.dest, done)) : null;
  }
}

/**
 * `symlinkat(2)` (5.15), in Node's thread pool on kernels without.
 *
 * @param target what the link says; it need not be there
 * @param options `dirfd` is for `path`
 */
export function symlinkat(target: PathLike, path: PathLike, options: AtOptions = {}): Op<void> {
  const says = keptPath(target, 'target');
  const op = new SymlinkAt(SYMLINK, IORING_OP_SYMLINKAT, says, keptPath(path), 0);
  const { fd, descriptor } = directoryOf('options.dirfd', options.dirfd);
  op.fd = fd;
  op.descriptor = descriptor;
  return op;
}

class LinkAt extends TwoPathOp {
  override elsewhere(): Promise<number> | null {
    if (this.fd !== AT_FDCWD || this.len !== AT_FDCWD || this.opFlags !== 0) return null;
    return inPool((done) => link(this.path, this.dest, done));
  }
}

/**
 * `linkat(2)` (5.15), in Node's thread pool on kernels without: another name for a file.
 *
 * @param options `flags`: `AT_SYMLINK_FOLLOW`; `AT_EMPTY_PATH` with `oldDirfd` and an empty path, for an open file
 * @throws `EEXIST`, `EXDEV`, `EPERM` (a directory)…, with `path` and `dest`
 */
export function linkat(oldPath: PathLike, newPath: PathLike, options: TwoAtOptions = {}): Op<void> {
  const from = keptPath(oldPath, 'oldPath');
  const to = keptPath(newPath, 'newPath');
  const flags = checkFlags(options.flags ?? 0);
  return inDirectories(new LinkAt(LINK, IORING_OP_LINKAT, from, to, flags), options);
}
