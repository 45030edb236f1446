import { constants } from 'node:fs';
import { inspect } from 'node:util';
import {
  AT_SYMLINK_NOFOLLOW,
  COPY_FILE_EXCL,
  COPY_FILE_MODE,
  COPY_FILE_NO_IDS,
  COPY_FILE_NOFOLLOW,
  COPY_FILE_TIMES,
  EISDIR,
} from '@ouro/native/abi';
import {
  AbortError,
  checkInteger,
  close,
  type Future,
  flow,
  invalidType,
  type OpOptions,
  reactor,
  type Steps,
  submit,
  systemError,
} from '@ouro/runtime/driver';
import { POLLIN, pollAdd } from '@ouro/runtime/ops';
import { copySmall, NOT_SMALL } from '../op/copy-file.ts';
import { fchmod } from '../op/mode.ts';
import { unlinkat } from '../op/names.ts';
import { openFd } from '../op/open.ts';
import { statOf } from '../op/statx.ts';
import { futimens } from '../op/times.ts';
import { ftruncate } from '../op/truncate.ts';
import { keptPath, type PathLike } from '../path.ts';
import type { BigIntStats } from '../stats.ts';
import { type Clone, DataCopy, type DataOptions, type End, type Sparse } from './copy-data.ts';
import { firstOf, timeoutOf } from './copy-errors.ts';

export type { Clone, Sparse } from './copy-data.ts';

/** How `copyFile` copies. */
export interface CopyFileOptions extends OpOptions {
  /**
   * `COPYFILE_*` bits of `fs.constants`: `COPYFILE_EXCL` fails if the target is there; `COPYFILE_FICLONE` has the data shared if
   * the file system can, which is tried anyway; `COPYFILE_FICLONE_FORCE` fails if it cannot. @default 0
   */
  readonly mode?: number | undefined;
  /**
   * Whether data may be shared with the source, where the file system can: tried, insisted on, or copied in any case.
   * @default 'try', 'always' with `COPYFILE_FICLONE_FORCE`
   */
  readonly clone?: Clone | undefined;
  /** What becomes of holes. @default 'auto' */
  readonly sparse?: Sparse | undefined;
  /**
   * Called after each step (8 MiB at most, or a few pieces of 256 KiB) with the bytes that are done, holes included, and how many there are: null if
   * nobody knows, as of a pipe. What it throws ends the copying.
   */
  readonly progress?: ((copied: number, total: number | null) => void) | undefined;
}

/** @internal How one file is copied. */
export interface FileCopy {
  readonly exclusive: boolean;
  readonly clone: Clone;
  readonly sparse: Sparse;
  readonly progress: ((copied: number, total: number | null) => void) | null;
  /** Fail with `ELOOP` if the source is a symbolic link. */
  readonly noFollow: boolean;
  /** Give the copy the times of the source. */
  readonly times: boolean;
  /**
   * Set-id bits: as in Node, whose copy loses them if it is not root's; kept, by setting them once more when all is written; or left out, since the file
   * will be another's, who must not have one of ours with such bits and contents of his meanwhile.
   */
  readonly setIds: 'usual' | 'keep' | 'drop';
}

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
const { COPYFILE_EXCL, COPYFILE_FICLONE_FORCE } = constants;
const MOST_MODE = 7;
const PERMISSIONS = 0o7777;
const SET_IDS = 0o6000;
const SET_IDS_FLAGS = { usual: 0, keep: COPY_FILE_MODE, drop: COPY_FILE_NO_IDS } as const;

/**
 * Copies a file, with its permissions. What is there is overwritten, and copying a file onto itself, whatever names it goes by, does
 * nothing. By the fastest way that the kernel has for these two: the data shared (`FICLONE`), copied by the kernel (`copy_file_range`), spliced
 * (pipes), or read and written. A file of up to 128 KiB is copied by one thread in one go.
 *
 * After a failure or a cancellation half a copy is removed, if it is a regular file and `dest` no link to it; a target that was
 * not touched stays as it was.
 *
 * @param options or just `mode`, as in Node
 * @throws what Node throws: `ENOENT`, `EEXIST`, `EISDIR`, `ENOSPC`…, with `syscall: 'copyfile'`, `path` and `dest`; an `AbortError` says in
 *   `bytesTransferred` how far it was
 */
export function copyFile(src: PathLike, dest: PathLike, options?: CopyFileOptions | number): Future<void> {
  const from = keptPath(src, 'src');
  const to = keptPath(dest, 'dest');
  const given: CopyFileOptions = typeof options === 'number' ? { mode: options } : (options ?? {});
  if (typeof given !== 'object')
    throw invalidType('options', 'of type number or an instance of Object', options);
  const mode = checkCopyMode(given.mode, 'mode');
  const how: FileCopy = {
    ...modeOf(mode, given.clone),
    sparse: checkSparse(given.sparse),
    progress: checkCallback('options.progress', given.progress),
    noFollow: false,
    times: false,
    setIds: 'usual',
  };
  return flow(async (steps) => {
    await copyOne(steps, from, to, how);
  }, given);
}

/** `COPYFILE_*` bits, checked. */
export function checkCopyMode(mode: unknown, name: string): number {
  if (mode === undefined || mode === null) return 0;
  checkInteger(name, mode, 0, MOST_MODE);
  return mode;
}

/** What `COPYFILE_*` bits and `options.clone` ask for. */
export function modeOf(mode: number, clone: unknown): { readonly exclusive: boolean; readonly clone: Clone } {
  const usual = (mode & COPYFILE_FICLONE_FORCE) === 0 ? 'try' : 'always';
  return {
    exclusive: (mode & COPYFILE_EXCL) !== 0,
    clone: oneOf<Clone>('clone', clone ?? usual, ['try', 'always', 'never']),
  };
}

export function checkSparse(sparse: unknown): Sparse {
  return oneOf<Sparse>('sparse', sparse ?? 'auto', ['auto', 'always', 'never']);
}

function oneOf<T extends string>(name: string, value: unknown, values: readonly T[]): T {
  const found = values.find((each) => each === value);
  if (found !== undefined) return found;
  const expected = values.map((each) => `'${each}'`).join(', ');
  throw Object.assign(
    new TypeError(`The property 'options.${name}' must be one of: ${expected}. Received ${inspect(value)}`),
    { code: 'ERR_INVALID_ARG_VALUE' },
  );
}

export function checkCallback<F>(name: string, callback: F | undefined): F | null {
  if (callback === undefined) return null;
  if (typeof callback !== 'function') throw invalidType(name, 'of type function', callback);
  return callback;
}

/** @internal `copyFile` as steps of something longer. Returns how many bytes it was. */
export async function copyOne(
  steps: Steps,
  path: string | Buffer,
  dest: string | Buffer,
  how: FileCopy,
): Promise<number> {
  const copy = new OneCopy(steps, path, dest, how);
  try {
    return (await copy.inOneGo()) ?? (await copy.inSteps());
  } catch (error) {
    throw copy.failure(error);
  }
}

class OneCopy {
  readonly #steps: Steps;
  readonly #path: string | Buffer;
  readonly #dest: string | Buffer;
  readonly #how: FileCopy;
  #data: DataCopy | null = null;
  /** Whether anything has been done to the target that is there. */
  #touched = false;

  constructor(steps: Steps, path: string | Buffer, dest: string | Buffer, how: FileCopy) {
    this.#steps = steps;
    this.#path = path;
    this.#dest = dest;
    this.#how = how;
  }

  /** The bytes copied; null if it takes more. */
  async inOneGo(): Promise<number | null> {
    const { exclusive, noFollow, times, setIds, clone, sparse, progress } = this.#how;
    if (clone === 'always' || sparse !== 'auto') return null;
    const flags =
      (exclusive ? COPY_FILE_EXCL : 0) |
      (noFollow ? COPY_FILE_NOFOLLOW : 0) |
      (times ? COPY_FILE_TIMES : 0) |
      SET_IDS_FLAGS[setIds];
    const op = copySmall(this.#path, this.#dest, flags);
    if (!reactor().serves(op)) return null;
    const count = await this.#step(submit(op));
    if (count === NOT_SMALL) return null;
    progress?.(count, count);
    return count;
  }

  async inSteps(): Promise<number> {
    this.#steps.check();
    const flags = O_RDONLY | (this.#how.noFollow ? O_NOFOLLOW : 0);
    const fd = await this.#step(openFd(this.#path, flags, 0));
    try {
      const source = await this.#stat(fd);
      if (source.isDirectory()) throw systemError(EISDIR, 'copyfile');
      if (source.isFIFO()) await this.#arrival(fd);
      return await this.#into(fd, source);
    } finally {
      await close(fd);
    }
  }

  /**
   * Waits until something is in a pipe, or all who had it open for writing are gone: the ring opens it without waiting for anybody, and splicing takes
   * a pipe that nobody writes to yet for one that has ended.
   */
  async #arrival(fd: number): Promise<void> {
    this.#steps.check();
    await this.#step(submit(pollAdd(fd, POLLIN)));
  }

  async #into(from: number, source: BigIntStats): Promise<number> {
    const permissions = this.#permissionsOf(source);
    const fd = await this.#open(permissions);
    let target: BigIntStats | null = null;
    try {
      try {
        // No step: what has been made is removed by what is found out here.
        target = await submit(statOf(fd, { bigint: true }));
        if (sameFile(source, target)) return 0;
        return await this.#fill(endOf(from, source), endOf(fd, target), source, target);
      } finally {
        await close(fd); // where a file system may say at last that there was no room
      }
    } catch (error) {
      if (target?.isFile() === true && this.#touched) await this.#remove(target);
      throw error;
    }
  }

  #permissionsOf(source: BigIntStats): number {
    return Number(source.mode) & (this.#how.setIds === 'drop' ? PERMISSIONS & ~SET_IDS : PERMISSIONS);
  }

  /** Opens the target. What is there may have to be waited for; what is made must not be cancelled, or nobody would remove it. */
  async #open(permissions: number): Promise<number> {
    this.#steps.check();
    if (!this.#how.exclusive) {
      try {
        return await this.#step(openFd(this.#dest, O_WRONLY, 0));
      } catch (error) {
        if ((error as { readonly code?: unknown }).code !== 'ENOENT') throw error;
      }
      this.#steps.check();
    }
    const fd = await openFd(this.#dest, O_WRONLY | O_CREAT | (this.#how.exclusive ? O_EXCL : 0), permissions);
    this.#touched = true;
    return fd;
  }

  async #fill(from: End, to: End, source: BigIntStats, target: BigIntStats): Promise<number> {
    const { sparse, clone, progress, times, setIds } = this.#how;
    const total = from.regular && from.size > 0 ? from.size : null;
    const options: DataOptions = {
      sparse,
      clone,
      progress: progress && ((copied) => progress(copied, total)),
    };
    const permissions = this.#permissionsOf(source);
    let empty = to;
    this.#steps.check();
    if (to.regular) {
      const others = (Number(target.mode) & PERMISSIONS) !== permissions;
      // Where who may read it changes, that is to hold neither for the old nor for the new contents. Otherwise it is written over
      // and not emptied first: ext4 writes a file out when it is closed that had been emptied.
      if (to.size > 0 && (others || DataCopy.wantsEmpty(from, options))) {
        this.#touched = true;
        await this.#step(submit(ftruncate(to.fd, 0)));
        empty = { ...to, size: 0 };
      }
      if (others) await this.#step(submit(fchmod(to.fd, permissions)));
      // Where cloning fails that is insisted on, nothing has been done, unless the target was longer and has been cut.
      if (clone !== 'always' || to.size > from.size) this.#touched = true;
    }
    this.#data = new DataCopy(this.#steps, from, empty, options);
    await this.#data.run();
    if (to.regular) {
      this.#touched = true;
      if (setIds === 'keep' && (permissions & SET_IDS) !== 0)
        await this.#step(submit(fchmod(to.fd, permissions)));
      if (times) await this.#step(submit(futimens(to.fd, source.atimeNs, source.mtimeNs)));
    }
    return this.#data.copied;
  }

  #stat(fd: number): Promise<BigIntStats> {
    this.#steps.check();
    return this.#step(submit(statOf(fd, { bigint: true })));
  }

  #step<T>(future: Future<T>): Future<T> {
    return this.#steps.step(future);
  }

  /** Removes half a copy, if its name still is its name. No step: this is what happens after a cancellation. */
  async #remove(target: BigIntStats): Promise<void> {
    try {
      const named = await submit(statOf(this.#dest, { bigint: true, flags: AT_SYMLINK_NOFOLLOW }));
      if (sameFile(named, target)) await submit(unlinkat(this.#dest));
    } catch {
      // The failure that led here is the one to tell of.
    }
  }

  /** The error as Node tells of it: of the copying, not of the step that failed. */
  failure(thrown: unknown): unknown {
    const error = firstOf(thrown);
    const copied = this.#data?.copied ?? 0;
    if (error instanceof AbortError) return new AbortError(error.cause, copied);
    const names = { path: this.#path, dest: this.#dest };
    const timeout = timeoutOf(this.#steps, error, 'copyfile', names);
    if (timeout !== null) return Object.assign(timeout, { bytesTransferred: copied });
    const { errno } = (error ?? {}) as { readonly errno?: unknown };
    return typeof errno === 'number' ? systemError(errno, 'copyfile', names) : error;
  }
}

const sameFile = (a: BigIntStats, b: BigIntStats): boolean => a.ino === b.ino && a.dev === b.dev;

function endOf(fd: number, stats: BigIntStats): End {
  return {
    fd,
    dev: Number(stats.dev),
    size: Number(stats.size),
    allocated: Number(stats.blocks) * 512,
    regular: stats.isFile(),
    pipe: stats.isFIFO(),
  };
}
