import { constants } from 'node:fs';
import { AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW } from '@ouro/native/abi';
import {
  checkInteger,
  close,
  type Future,
  flow,
  invalidType,
  type OpOptions,
  submit,
} from '@ouro/runtime/driver';
import { linkat, mkdirat, renameat, symlinkat, unlinkat } from './op/names.ts';
import { openFd } from './op/open.ts';
import { statx } from './op/statx.ts';
import { ftruncate } from './op/truncate.ts';
import { keptPath, type PathLike } from './path.ts';
import type { Stats } from './stats.ts';

// What node:fs/promises has for names, one op each. Errors are Node's, with `path` and `dest`.

/** Gives a file or directory another name, replacing a file or an empty directory that has it. */
export function rename(oldPath: PathLike, newPath: PathLike, options?: OpOptions): Future<void> {
  return submit(renameat(oldPath, newPath), options);
}

/** Removes a name of a file, or a symbolic link. */
export function unlink(path: PathLike, options?: OpOptions): Future<void> {
  return submit(unlinkat(path), options);
}

/** Removes an empty directory. */
export function rmdir(path: PathLike, options?: OpOptions): Future<void> {
  return submit(unlinkat(path, { flags: AT_REMOVEDIR }), options);
}

/** How a directory is made. */
export interface MkdirOptions extends OpOptions {
  /** Permission bits, before the umask. @default 0o777 */
  readonly mode?: number | string | undefined;
}

/** Makes a directory, in one that is there. */
export function mkdir(path: PathLike, options?: MkdirOptions | number | string): Future<void> {
  const given: MkdirOptions =
    typeof options === 'number' || typeof options === 'string' ? { mode: options } : (options ?? {});
  if (typeof given !== 'object') throw invalidType('options', 'an instance of Object', options);
  // Node has it; a program that comes from there must not find out by a missing directory.
  if ((given as { recursive?: unknown }).recursive === true) {
    throw Object.assign(new TypeError("The property 'options.recursive' is not supported. Received true"), {
      code: 'ERR_INVALID_ARG_VALUE',
    });
  }
  return submit(mkdirat(path, given.mode ?? 0o777), given);
}

/** Makes a symbolic link at `path` that says `target`. */
export function symlink(target: PathLike, path: PathLike, options?: OpOptions): Future<void> {
  return submit(symlinkat(target, path), options);
}

/** Gives a file a further name. */
export function link(existingPath: PathLike, newPath: PathLike, options?: OpOptions): Future<void> {
  return submit(linkat(existingPath, newPath), options);
}

/** What is known about the file that a path leads to. */
export function stat(path: PathLike, options?: OpOptions): Future<Stats> {
  return submit(statx(keptPath(path)), options);
}

/** What is known about a file, or about a symbolic link itself. */
export function lstat(path: PathLike, options?: OpOptions): Future<Stats> {
  return submit(statx(keptPath(path), { flags: AT_SYMLINK_NOFOLLOW }), options);
}

/** Cuts a file to `length` bytes, or extends it with zeros. */
export function truncate(path: PathLike, length = 0, options?: OpOptions): Future<void> {
  const kept = keptPath(path);
  checkInteger('length', length, 0, Number.MAX_SAFE_INTEGER);
  return flow(async (steps) => {
    const fd = await steps.step(openFd(kept, constants.O_RDWR, 0));
    try {
      await steps.step(submit(ftruncate(fd, length)));
    } finally {
      await close(fd);
    }
  }, options);
}
