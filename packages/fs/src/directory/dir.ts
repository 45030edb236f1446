import { constants } from 'node:fs';
import { AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW } from '@ouro/native/abi';
import {
  begin,
  type Descriptor,
  type Future,
  flow,
  inspectable,
  invalidType,
  type Op,
  Operation,
  type OpKind,
  type OpOptions,
  opKind,
  placeOfOpening,
  type Steps,
  submit,
  type Target,
} from '@ouro/runtime/driver';
import { type NameEncoding, type NameOptions, nameOptions } from '../encoding.ts';
import { File, type OpenOptions } from '../file/file.ts';
import { openedFile } from '../file/opened.ts';
import type { WriteFileData } from '../file/rest.ts';
import { fileMode, type OpenFlags, openFlags } from '../flags.ts';
import { faccessat, fchmodat, fchownat } from '../op/mode.ts';
import { linkat, mkdirat, renameat, symlinkat, unlinkat } from '../op/names.ts';
import { open } from '../op/open.ts';
import { readlinkat } from '../op/readlink.ts';
import { statOf } from '../op/statx.ts';
import { type FileTime, utimensat } from '../op/times.ts';
import { keptPath, type PathLike } from '../path.ts';
import { type MkdirOptions, makeAll, mkdirOptions } from '../paths/make-directory.ts';
import type { BigIntStats, Stats } from '../stats.ts';
import { encodingOrOptions } from '../text-encoding.ts';
import type { ReadFileOptions, WriteFileOptions } from '../whole/whole.ts';
import { DirReader, direntBatches } from './dir-reader.ts';
import type { Dirent } from './dirent.ts';
import { type ReaddirOptions, readdirAt } from './readdir.ts';
import { ITSELF, insisting, PARENT, type Resolve, referring, resolveBits, split } from './resolve.ts';
import { type RmOptions, rmAt } from './rm.ts';
import { OneByOne, planOf, Walk, type WalkOptions } from './walk.ts';

/** What methods of a `Dir` take. */
export interface AtDirOptions extends OpOptions {
  /** What the path may lead through (`openat2(2)`): for paths from strangers. @default anything */
  readonly resolve?: Resolve | undefined;
}

/** How `Dir.stat` and `lstat` look, and give numbers. */
export interface DirStatOptions extends AtDirOptions {
  /** Bigints, and times in nanoseconds. @default false */
  readonly bigint?: boolean | undefined;
}

/** How a directory is opened. */
export interface DirOptions extends AtDirOptions, NameOptions {}

/** Where a directory is renamed or linked to. */
export interface ToOptions extends AtDirOptions {
  /** The directory that the new name begins at. @default this one */
  readonly to?: Dir<string | Buffer> | undefined;
}

type Text = { readonly encoding?: BufferEncoding | null | undefined };
type Bytes = { readonly encoding: 'buffer' };

const OPEN_FLAGS = constants.O_RDONLY | constants.O_DIRECTORY;

/**
 * An open directory: to list it, and as the place that paths begin at. However it is renamed meanwhile, and whatever is put where it was,
 * its methods mean what is in it.
 *
 * @typeParam P what its names are: bytes with `encoding: 'buffer'`
 */
export class Dir<P extends string | Buffer = string> implements AsyncDisposable, AsyncIterable<Dirent<P>> {
  readonly path: string | Buffer;
  /** @internal */
  readonly descriptor: Descriptor;
  readonly #encoding: NameEncoding;
  readonly #reader: DirReader;

  private constructor(descriptor: Descriptor, path: string | Buffer, encoding: NameEncoding) {
    this.descriptor = descriptor;
    this.path = path;
    this.#encoding = encoding;
    this.#reader = new DirReader(descriptor, path, encoding);
  }

  /**
   * Opens a directory. One that is collected without having been closed is closed and reported, as a `File` is.
   *
   * @param options `encoding`: of the names; `'buffer'` for bytes
   * @throws `ENOENT`, `ENOTDIR`, `EACCES`, `EMFILE`…, with `syscall: 'opendir'` and `path`
   */
  static open(path: PathLike, options: DirOptions & Bytes): Future<Dir<Buffer>>;
  static open(path: PathLike, options?: DirOptions & Text): Future<Dir>;
  static open(path: PathLike, options?: DirOptions): Future<Dir<string | Buffer>>;
  static open(path: PathLike, options?: DirOptions): Future<Dir<string | Buffer>> {
    return Dir.#open(undefined, path, options, Dir.open);
  }

  static #open<P extends string | Buffer>(
    dirfd: Target | undefined,
    path: PathLike,
    options: DirOptions | undefined,
    opener: unknown,
  ): Future<Dir<P>> {
    const kept = keptPath(path);
    const { encoding } = nameOptions(options);
    const resolve = resolveBits(options?.resolve);
    const place = placeOfOpening(opener);
    const kind: OpKind<Dir<P>> = opKind('opendir', {
      resultIsFd: true,
      decode: (fd) => new Dir<P>(openedFile(fd, kept, place), kept, encoding),
    });
    if (resolve === undefined) return open(kind, kept, OPEN_FLAGS, 0, options, { dirfd });
    return flow(
      (steps) => insisting(steps, () => open(kind, kept, OPEN_FLAGS, 0, undefined, { dirfd, resolve })),
      options,
    );
  }

  /** The descriptor; -1 once closed. It stays this directory's: do not close it. */
  get fd(): number {
    return this.descriptor.fd;
  }

  /** The next name, in the order of the file system; null behind the last one. Reads that are begun together take their turns. */
  read(options?: OpOptions): Future<Dirent<P> | null> {
    return this.#reader.read(options) as Future<Dirent<P> | null>;
  }

  /** All that is in it, from the beginning, each time anew. The directory stays open. */
  entries(options?: Pick<OpOptions, 'signal' | 'scope'>): AsyncIterableIterator<Dirent<P>, undefined> {
    return new OneByOne(this.batches(options));
  }

  /** As `entries`, in arrays of about a thousand: what a directory of a million names costs no more memory for. */
  batches(options?: Pick<OpOptions, 'signal' | 'scope'>): AsyncGenerator<Dirent<P>[], undefined, undefined> {
    const batches: unknown = direntBatches(this.descriptor, this.path, this.#encoding, options);
    return batches as AsyncGenerator<Dirent<P>[], undefined, undefined>;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Dirent<P>, undefined> {
    return this.entries();
  }

  /** Goes through what is in it and below: `walk`. */
  walk(options?: WalkOptions<P>): Walk<P> {
    const checked = planOf(
      '.',
      { ...options, encoding: this.#encoding } as WalkOptions<never>,
      this.descriptor,
    );
    const shown = this.#encoding === 'buffer' ? Buffer.from(this.path) : this.path;
    return new Walk({ ...checked.plan, shown }, checked.options);
  }

  /** Opens a file: `File.open`. */
  open(path: PathLike, flags: OpenFlags | number = 'r', options?: OpenOptions & AtDirOptions): Future<File> {
    const resolve = resolveBits(options?.resolve);
    const from = { dirfd: this.descriptor, resolve };
    if (resolve === undefined) return File.openFrom(from, path, flags, options, this.open);
    const given: OpenOptions = { mode: options?.mode, direct: options?.direct };
    keptPath(path);
    return flow(
      (steps) => insisting(steps, () => File.openFrom(from, path, flags, given, this.open)),
      options,
    );
  }

  /** Opens a directory: `Dir.open`, with names as this one has them unless the options say otherwise. */
  openDir(path: PathLike, options?: AtDirOptions): Future<Dir<P>> {
    return Dir.#open(this.descriptor, path, { ...options, encoding: this.#encoding }, this.openDir);
  }

  /** What is known about the file that a path leads to. @param options `bigint` as for `stat` */
  stat(path: PathLike, options: DirStatOptions & { readonly bigint: true }): Future<BigIntStats>;
  stat(path: PathLike, options?: DirStatOptions & { readonly bigint?: false | undefined }): Future<Stats>;
  stat(path: PathLike, options?: DirStatOptions): Future<Stats | BigIntStats> {
    const bigint = options?.bigint === true;
    return this.#onFile<Stats | BigIntStats>(path, options, 0, 'stat', (at, dirfd) =>
      statOf(at, { dirfd, bigint }),
    );
  }

  /** What is known about a file, or about a symbolic link itself. */
  lstat(path: PathLike, options: DirStatOptions & { readonly bigint: true }): Future<BigIntStats>;
  lstat(path: PathLike, options?: DirStatOptions & { readonly bigint?: false | undefined }): Future<Stats>;
  lstat(path: PathLike, options?: DirStatOptions): Future<Stats | BigIntStats> {
    const flags = AT_SYMLINK_NOFOLLOW;
    const bigint = options?.bigint === true;
    return this.#onFile<Stats | BigIntStats>(path, options, ITSELF, 'lstat', (at, dirfd) =>
      statOf(at, { dirfd, flags, bigint }),
    );
  }

  /** `access` of a path: whether the process may do with it what `mode` says. */
  access(path: PathLike, mode?: number | null, options?: AtDirOptions): Future<void> {
    return this.#onFile(path, options, 0, 'access', (at, dirfd) => faccessat(at, mode ?? 0, { dirfd }));
  }

  /** Sets permissions. */
  chmod(path: PathLike, mode: number | string, options?: AtDirOptions): Future<void> {
    const bits = fileMode(mode);
    return this.#onFile(path, options, 0, 'chmod', (at, dirfd) => fchmodat(at, bits, { dirfd }));
  }

  /** Sets owner and group; -1 leaves one as it is. */
  chown(path: PathLike, uid: number, gid: number, options?: AtDirOptions): Future<void> {
    return this.#onFile(path, options, 0, 'chown', (at, dirfd) => fchownat(at, uid, gid, { dirfd }));
  }

  /** Sets the times of the last access and the last change. */
  utimes(path: PathLike, atime: FileTime, mtime: FileTime, options?: AtDirOptions): Future<void> {
    return this.#onFile(path, options, 0, 'utime', (at, dirfd) => utimensat(at, atime, mtime, { dirfd }));
  }

  /** What a symbolic link says. */
  readlink(path: PathLike, options?: AtDirOptions): Future<P> {
    const encoding = this.#encoding;
    const make = (at: string | Buffer, dirfd: Target): Op<string | Buffer> =>
      encoding === 'buffer' ? readlinkat(at, { dirfd }) : readlinkat(at, { dirfd, encoding });
    return this.#onName(path, options, 'readlink', make) as Future<P>;
  }

  /** Makes a directory; with `recursive` those that lead there as well. That does not go with `resolve`. */
  mkdir(path: PathLike, options?: (MkdirOptions & AtDirOptions) | number | string): Future<void> {
    const given: MkdirOptions & AtDirOptions = mkdirOptions(options);
    const mode = fileMode(given.mode ?? 0o777);
    if (given.recursive !== true) {
      return this.#onName(path, given, 'mkdir', (at, dirfd) => mkdirat(at, mode, { dirfd }));
    }
    if (given.resolve !== undefined) {
      throw invalidType('options.resolve', 'undefined with options.recursive', given.resolve);
    }
    const kept = keptPath(path);
    return flow(async (steps) => void (await makeAll(steps, kept, mode, this.descriptor)), given);
  }

  /** Makes a symbolic link at `path` that says `target`. */
  symlink(target: PathLike, path: PathLike, options?: AtDirOptions): Future<void> {
    const says = keptPath(target, 'target');
    return this.#onName(path, options, 'symlink', (at, dirfd) => symlinkat(says, at, { dirfd }));
  }

  /** Removes a name of a file, or a symbolic link. */
  unlink(path: PathLike, options?: AtDirOptions): Future<void> {
    return this.#onName(path, options, 'unlink', (at, dirfd) => unlinkat(at, { dirfd }));
  }

  /** Removes an empty directory. */
  rmdir(path: PathLike, options?: AtDirOptions): Future<void> {
    const flags = AT_REMOVEDIR;
    return this.#onName(path, options, 'rmdir', (at, dirfd) => unlinkat(at, { dirfd, flags }));
  }

  /** Gives something another name: in this directory, or in `to`. `resolve` is for both. */
  rename(oldPath: PathLike, newPath: PathLike, options?: ToOptions): Future<void> {
    return this.#onNames(oldPath, newPath, options, 'rename', renameat);
  }

  /** Gives a file a further name: in this directory, or in `to`. `resolve` is for both. */
  link(existingPath: PathLike, newPath: PathLike, options?: ToOptions): Future<void> {
    return this.#onNames(existingPath, newPath, options, 'link', linkat);
  }

  /** Removes a file, or a directory with all that is in it: `rm`. */
  rm(path: PathLike, options?: RmOptions & AtDirOptions): Future<void> {
    const kept = keptPath(path);
    const resolve = resolveBits(options?.resolve);
    if (resolve === undefined) return rmAt(this.descriptor, kept, options);
    const [parent, name] = split(kept);
    const { recursive, force, maxRetries, retryDelay } = options ?? {};
    return flow(
      (steps) =>
        this.#within(steps, 'rm', parent, resolve, (dirfd) =>
          steps.step(rmAt(dirfd, name, { recursive, force, maxRetries, retryDelay })),
        ),
      options,
    );
  }

  /** What is in a directory: `readdir`. */
  readdir(
    path: PathLike,
    options: ReaddirOptions & AtDirOptions & { withFileTypes: true },
  ): Future<Dirent<P>[]>;
  readdir(path: PathLike, options?: ReaddirOptions & AtDirOptions & { withFileTypes?: false }): Future<P[]>;
  readdir(path: PathLike, options: ReaddirOptions & AtDirOptions = {}): Future<P[]> | Future<Dirent<P>[]> {
    const kept = keptPath(path);
    const given = { ...options, encoding: options.encoding ?? this.#encoding };
    const found: Future<unknown> = readdirAt(
      this.descriptor,
      kept,
      kept,
      given,
      resolveBits(options.resolve),
    );
    return found as Future<P[]> | Future<Dirent<P>[]>;
  }

  /** A whole file: `readFile`, into memory of its own. */
  readFile(
    path: PathLike,
    options:
      | (Omit<ReadFileOptions, 'buffer'> & AtDirOptions & { readonly encoding: BufferEncoding })
      | BufferEncoding,
  ): Future<string>;
  readFile(
    path: PathLike,
    options?:
      | (Omit<ReadFileOptions, 'buffer'> & AtDirOptions & { readonly encoding?: null | undefined })
      | null,
  ): Future<Buffer>;
  readFile(
    path: PathLike,
    options?: (Omit<ReadFileOptions, 'buffer'> & AtDirOptions) | BufferEncoding | null,
  ): Future<Buffer | string> {
    const given: ReadFileOptions & AtDirOptions = encodingOrOptions(options);
    const { flag = 'r', encoding, resolve } = given;
    refuseOption('buffer', given.buffer);
    const kept = keptPath(path);
    const bits = openFlags(flag);
    resolveBits(resolve);
    return flow(async (steps) => {
      const file = await steps.step(this.open(kept, bits, { resolve }));
      try {
        return await steps.step<Buffer | string>(file.readFile({ encoding }));
      } finally {
        await file.close();
      }
    }, given);
  }

  /** Writes a whole file: `writeFile`, except that one that is there is emptied first, and never durably. */
  writeFile(
    path: PathLike,
    data: WriteFileData,
    options?: (Omit<WriteFileOptions, 'durable'> & AtDirOptions) | BufferEncoding | null,
  ): Future<void> {
    const given: WriteFileOptions & AtDirOptions = encodingOrOptions(options);
    const { flag = 'w', mode, encoding, resolve } = given;
    if (given.durable !== false) refuseOption('durable', given.durable);
    const kept = keptPath(path);
    const bits = openFlags(flag);
    const permissions = fileMode(mode ?? 0o666);
    resolveBits(resolve);
    return flow(async (steps) => {
      const file = await steps.step(this.open(kept, bits, { mode: permissions, resolve }));
      try {
        await steps.step(file.writeFile(data, { encoding }));
      } finally {
        await file.close();
      }
    }, given);
  }

  /** Cancels all ops in flight on the directory. */
  cancel(reason?: unknown): void {
    this.descriptor.cancel(reason);
  }

  /** Closes it. Reads in flight are cancelled; ops begun from here on fail with `EBADF`. Closing twice is one closing. */
  close(): Future<void> {
    return this.descriptor.close();
  }

  [Symbol.asyncDispose](): Future<void> {
    return this.close();
  }

  /** An op on what a path leads to: with `resolve` on that once it has been reached, through `/proc`. */
  #onFile<T>(
    path: PathLike,
    options: AtDirOptions | undefined,
    flags: number,
    syscall: string,
    make: (path: string | Buffer, dirfd: Target) => Op<T>,
  ): Future<T> {
    const kept = keptPath(path);
    const resolve = resolveBits(options?.resolve);
    if (resolve === undefined) return begin(new Operation(make(kept, this.descriptor)), options);
    const { descriptor } = this;
    return flow(
      (steps) =>
        referring(steps, syscall, descriptor, kept, flags, resolve, (fd) =>
          // What is in /proc is a link itself: to be followed, though not beyond the file that it stands for.
          steps.step(
            submit(
              flags === ITSELF
                ? (statOf(fd, {
                    bigint: (options as DirStatOptions).bigint === true,
                  }) as Op<unknown> as Op<T>)
                : make(`/proc/self/fd/${fd}`, descriptor),
            ),
          ),
        ),
      options,
    );
  }

  /** An op on a name: with `resolve` in the directory that it lies in, once that has been reached. */
  #onName<T>(
    path: PathLike,
    options: AtDirOptions | undefined,
    syscall: string,
    make: (path: string | Buffer, dirfd: Target) => Op<T>,
  ): Future<T> {
    const kept = keptPath(path);
    const resolve = resolveBits(options?.resolve);
    if (resolve === undefined) return submit(make(kept, this.descriptor), options);
    const [parent, name] = split(kept);
    return flow(
      (steps) =>
        this.#within(steps, syscall, parent, resolve, (dirfd) => steps.step(submit(make(name, dirfd)))),
      options,
    );
  }

  /** Runs `use` with the directory of a name. */
  #within<T>(
    steps: Steps,
    syscall: string,
    parent: string | Buffer,
    resolve: number,
    use: (dirfd: Target) => Promise<T>,
  ): Promise<T> {
    if (parent.length === 0) return use(this.descriptor);
    return referring(steps, syscall, this.descriptor, parent, PARENT, resolve, use);
  }

  #onNames(
    oldPath: PathLike,
    newPath: PathLike,
    options: ToOptions | undefined,
    syscall: string,
    make: typeof renameat,
  ): Future<void> {
    const from = keptPath(oldPath, 'oldPath');
    const path = keptPath(newPath, 'newPath');
    const to = options?.to ?? this;
    if (!(to instanceof Dir)) throw invalidType('options.to', 'an instance of Dir', to);
    const resolve = resolveBits(options?.resolve);
    if (resolve === undefined) {
      return submit(make(from, path, { oldDirfd: this.descriptor, newDirfd: to.descriptor }), options);
    }
    const [oldParent, oldName] = split(from);
    const [newParent, newName] = split(path);
    return flow(
      (steps) =>
        this.#within(steps, syscall, oldParent, resolve, (oldDirfd) =>
          to.#within(steps, syscall, newParent, resolve, (newDirfd) =>
            steps.step(submit(make(oldName, newName, { oldDirfd, newDirfd }))),
          ),
        ),
      options,
    );
  }
}

inspectable(Dir, ({ path }) => ({ path: String(path) }));

/** For what the function by path has, and the method has not: it is not to look as if it had. */
function refuseOption(name: string, value: unknown): void {
  if (value !== undefined) throw invalidType(`options.${name}`, 'undefined for a method of a Dir', value);
}

/** Opens a directory: `Dir.open`, under Node's name. */
export const opendir: typeof Dir.open = Dir.open;
