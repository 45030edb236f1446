import { AT_SYMLINK_NOFOLLOW } from '@ouro/native/abi';
import { type Future, flow, type OpOptions, submit } from '@ouro/runtime/driver';
import { faccessat, fchmodat, fchownat } from '../op/mode.ts';
import { type StatFs, statfs as statfsOp } from '../op/statfs.ts';
import { type StatxOptions as StatxAtOptions, statOf, statxAll } from '../op/statx.ts';
import { type FileTime, utimensat } from '../op/times.ts';
import { keptPath, type PathLike } from '../path.ts';
import type { BigIntStats, Stats, Statx } from '../stats.ts';

// What is known about files, and who may do what with them. Errors are Node's.

/** How `stat` and its siblings give numbers. */
export interface StatOptions extends OpOptions {
  /** Bigints, and times in nanoseconds, as in Node. @default false */
  readonly bigint?: boolean | undefined;
}

type Big = StatOptions & { readonly bigint: true };
type Small = StatOptions & { readonly bigint?: false | undefined };

/** What is known about the file that a path leads to. */
export function stat(path: PathLike, options: Big): Future<BigIntStats>;
export function stat(path: PathLike, options?: Small): Future<Stats>;
export function stat(path: PathLike, options?: StatOptions): Future<Stats | BigIntStats>;
export function stat(path: PathLike, options?: StatOptions): Future<Stats | BigIntStats> {
  return submit(statOf(keptPath(path), { bigint: options?.bigint === true }), options);
}

/** What is known about a file, or about a symbolic link itself. */
export function lstat(path: PathLike, options: Big): Future<BigIntStats>;
export function lstat(path: PathLike, options?: Small): Future<Stats>;
export function lstat(path: PathLike, options?: StatOptions): Future<Stats | BigIntStats>;
export function lstat(path: PathLike, options?: StatOptions): Future<Stats | BigIntStats> {
  const bigint = options?.bigint === true;
  return submit(statOf(keptPath(path), { bigint, flags: AT_SYMLINK_NOFOLLOW }), options);
}

/** What `statx` asks for, and how. */
export interface StatxOptions extends OpOptions, Pick<StatxAtOptions, 'mask' | 'flags'> {}

/**
 * All that the kernel tells of a file (`statx(2)`): beside what `stat` does, when it was made, attributes, the mount that it lies in,
 * what direct I/O has to be aligned to.
 *
 * @param options `mask`: `STATX_*` bits of `@ouro/fs/ops`, everything unless given; `flags`: `AT_SYMLINK_NOFOLLOW`, …
 */
export function statx(path: PathLike, options?: StatxOptions): Future<Statx> {
  const { mask, flags } = options ?? {};
  return submit(statxAll(keptPath(path), { mask, flags }), options);
}

/** What is known about the file system that a path lies in. */
export function statfs(path: PathLike, options: Big): Future<StatFs<bigint>>;
export function statfs(path: PathLike, options?: Small): Future<StatFs>;
export function statfs(path: PathLike, options?: StatOptions): Future<StatFs> | Future<StatFs<bigint>> {
  const kept = keptPath(path);
  return options?.bigint === true
    ? submit(statfsOp(kept, { bigint: true }), options)
    : submit(statfsOp(kept), options);
}

/**
 * Succeeds if the process may do with a file what `mode` says, by its real user and group.
 *
 * @param mode `R_OK`, `W_OK`, `X_OK` of `fs.constants` together; `F_OK`: whether it is there @default F_OK
 * @throws `EACCES`, `ENOENT`, `EROFS`…
 */
export function access(path: PathLike, mode?: number | null, options?: OpOptions): Future<void> {
  return submit(faccessat(path, mode ?? 0), options);
}

/** Errors that say that there is nothing, and can be nothing, under a path. */
const NOTHING_THERE: ReadonlySet<unknown> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG']);

/**
 * Whether a path leads to something. A link that leads nowhere does not.
 *
 * @throws `EACCES`, `EIO`…, where that cannot be found out
 */
export function exists(path: PathLike, options?: OpOptions): Future<boolean> {
  const kept = keptPath(path);
  return flow(async (steps) => {
    try {
      await steps.step(submit(faccessat(kept)));
      return true;
    } catch (error) {
      if (NOTHING_THERE.has((error as { code?: unknown }).code)) return false;
      throw error;
    }
  }, options);
}

/** Sets permissions. @param mode as a number, or an octal string */
export function chmod(path: PathLike, mode: number | string, options?: OpOptions): Future<void> {
  return submit(fchmodat(path, mode), options);
}

/** Sets owner and group; -1 leaves one as it is. */
export function chown(path: PathLike, uid: number, gid: number, options?: OpOptions): Future<void> {
  return submit(fchownat(path, uid, gid), options);
}

/** Sets owner and group of a symbolic link itself, or of a file. */
export function lchown(path: PathLike, uid: number, gid: number, options?: OpOptions): Future<void> {
  return submit(fchownat(path, uid, gid, { flags: AT_SYMLINK_NOFOLLOW }), options);
}

/**
 * Sets the times of the last access and the last change: dates, seconds since 1970, nanoseconds since 1970 as bigints, `'now'`, or null
 * to leave one as it is.
 */
export function utimes(path: PathLike, atime: FileTime, mtime: FileTime, options?: OpOptions): Future<void> {
  return submit(utimensat(path, atime, mtime), options);
}

/** Sets the times of a symbolic link itself, or of a file. */
export function lutimes(path: PathLike, atime: FileTime, mtime: FileTime, options?: OpOptions): Future<void> {
  return submit(utimensat(path, atime, mtime, { flags: AT_SYMLINK_NOFOLLOW }), options);
}
