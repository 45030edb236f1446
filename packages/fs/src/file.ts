import {
  asBytes,
  type Bytes,
  begin,
  checkBytes,
  checkInteger,
  type Descriptor,
  type Future,
  invalidType,
  lengthOf,
  type Op,
  Operation,
  type OpKind,
  type OpOptions,
  OrdinaryDescriptor,
  pinned,
  resolved,
  Transfer,
} from '@ouro/runtime/driver';
import { fileMode, type OpenFlags, openFlags } from './flags.ts';
import { open, openKind } from './op/open.ts';
import type { MoveOptions } from './op/read-write.ts';
import { fadvise, fallocate } from './op/space.ts';
import { fstat } from './op/statx.ts';
import { fdatasync, fsync, syncFileRange } from './op/sync.ts';
import { read, write, writing } from './op/transfer.ts';
import { ftruncate } from './op/truncate.ts';
import { readv, WritevAll, writevOp } from './op/vectored.ts';
import { checkPath, type PathLike } from './path.ts';
import { checkPosition, type Position } from './position.ts';
import type { Stats } from './stats.ts';

/** How a file is opened. */
export interface OpenOptions extends OpOptions {
  /** Permission bits of a file that is created, before the umask. @default 0o666 */
  readonly mode?: number | string | undefined;
}

/** How several buffers are moved at once. */
export interface VectorOptions extends OpOptions, MoveOptions {}

/**
 * An open file. Every method that does I/O returns a future.
 *
 * A buffer that is handed in belongs to the op until its future has settled: do not change or read it before.
 */
export class File implements AsyncDisposable {
  readonly path: string | Buffer;
  /** @internal What ops, chains and batches refer to. */
  readonly descriptor: Descriptor;

  private constructor(fd: number, path: string | Buffer) {
    this.descriptor = new OrdinaryDescriptor(fd);
    this.path = path;
  }

  static readonly #OPEN: OpKind<File> = openKind((fd, path) => new File(fd, path));

  /**
   * Opens a file. Opening a pipe for writing waits for its reader; opening one for reading may come before its writer,
   * for which the first read waits then.
   *
   * @param flags as in `node:fs`; the file is always close-on-exec
   * @throws what Node throws: `ENOENT`, `EACCES`, `EEXIST`, `EISDIR`, `EMFILE`…, with `syscall: 'open'` and `path`
   */
  static open(path: PathLike, flags: OpenFlags | number = 'r', options?: OpenOptions): Future<File> {
    const plain = checkPath(path);
    const bits = openFlags(flags);
    const mode = fileMode(options?.mode ?? 0o666);
    return open(File.#OPEN, plain, bits, mode, options);
  }

  /** Creates a file for writing, or empties the one that is there: `open(path, 'w')`. */
  static create(path: PathLike, options?: OpenOptions): Future<File> {
    return File.open(path, 'w', options);
  }

  /**
   * A file over a descriptor that is open already: standard input, or one that came from elsewhere. It is this
   * file's from here on, and `close` closes it; a descriptor that is never closed stays open.
   *
   * @param fd in blocking mode: where one with `O_NONBLOCK` would have to wait, its ops fail with `EAGAIN`
   * @param path what `path` is to say; nothing is opened there
   */
  static fromFd(fd: number, path: PathLike = ''): File {
    checkInteger('fd', fd, 0, 0x7fff_ffff);
    return new File(fd, checkPath(path));
  }

  /** The descriptor; -1 once closed. It stays this file's: do not close it. */
  get fd(): number {
    return this.descriptor.fd;
  }

  /**
   * Reads into `buffer`.
   *
   * @param position where in the file to begin; null or nothing: at the current position, which moves on. Ops at the
   *   current position must be awaited one by one: the kernel runs those in flight in any order.
   * @returns bytes read. Fewer than asked only at the end of the file (0: nothing left), or from a pipe, terminal
   *   or the like, which gives what it has.
   */
  read(buffer: Bytes, position?: Position, options?: OpOptions): Future<number> {
    checkBytes('buffer', buffer);
    const from = checkPosition(position);
    if (this.#isNothing(buffer)) return resolved(0);
    return begin(new Transfer(read(this.descriptor, buffer, from), 'short', 'file'), options);
  }

  /**
   * Writes all of `data`. A string is written as UTF-8.
   *
   * @param position where in the file to begin; null or nothing: at the current position, which moves on; files opened
   *   for appending always write at their end.
   * @returns bytes written: all of them. An error on the way carries `bytesTransferred`.
   */
  write(data: Bytes | string, position?: Position, options?: OpOptions): Future<number> {
    const bytes = toBytes(data);
    const from = checkPosition(position);
    if (this.#isNothing(bytes)) return resolved(0);
    return begin(writing(write(this.descriptor, pinned(bytes), from)), options);
  }

  /**
   * Reads one stretch of the file into several buffers, one after the other (`preadv2(2)`).
   *
   * @param buffers 1 to 1024
   * @param position as for `read`
   * @returns bytes read: fewer than the buffers take only at the end of the file, from what is no regular file, and
   *   beyond the 2 GiB that the kernel moves at once
   */
  readv(buffers: readonly Bytes[], position?: Position, options?: VectorOptions): Future<number> {
    return this.#submit(readv(this.descriptor, buffers, position, options), options);
  }

  /**
   * Writes all of several buffers, one after the other (`pwritev2(2)`).
   *
   * @param buffers 1 to 1024
   * @param position as for `write`
   * @returns bytes written: all of them. An error on the way carries `bytesTransferred`.
   */
  writev(buffers: readonly Bytes[], position?: Position, options?: VectorOptions): Future<number> {
    const op = writevOp(this.descriptor, buffers, position, options ?? {});
    return begin(new WritevAll(op), options);
  }

  /** Whether there is nothing to move. A detached buffer looks empty too: that is a TypeError, not a success. */
  #isNothing(view: Bytes): boolean {
    return lengthOf(view) === 0 && asBytes(view).length === 0 && !this.descriptor.closed;
  }

  /** What is known about the file. */
  stat(options?: OpOptions): Future<Stats> {
    return this.#submit(fstat(this.descriptor), options);
  }

  /** Waits until data and metadata have reached the device (`fsync(2)`). Writes still in flight are not waited for. */
  sync(options?: OpOptions): Future<void> {
    return this.#submit(fsync(this.descriptor), options);
  }

  /** As `sync`, without the metadata that is not needed to read the data back (`fdatasync(2)`). */
  datasync(options?: OpOptions): Future<void> {
    return this.#submit(fdatasync(this.descriptor), options);
  }

  /**
   * Has what was written to a stretch of the file sent to the device (`sync_file_range(2)`), which alone makes nothing
   * durable: no metadata, no flush of the device's cache.
   *
   * @param length bytes up to 2 ** 32 - 1; 0 is to the end of the file
   * @param flags `SYNC_FILE_RANGE_*` bits of `@ouro/fs/ops` @default SYNC_FILE_RANGE_WRITE
   */
  syncRange(offset: number, length: number, flags?: number, options?: OpOptions): Future<void> {
    return this.#submit(syncFileRange(this.descriptor, offset, length, flags), options);
  }

  /**
   * Reserves space for a stretch of the file, and extends it if that lies beyond its end (`fallocate(2)`).
   *
   * @param mode `FALLOC_FL_*` bits of `@ouro/fs/ops`: to keep the size, to punch a hole, to move what follows…
   */
  allocate(offset: number, length: number, mode = 0, options?: OpOptions): Future<void> {
    return this.#submit(fallocate(this.descriptor, mode, offset, length), options);
  }

  /**
   * Says how a stretch of the file will be used (`posix_fadvise(2)`).
   *
   * @param length bytes; 0 is to the end of the file
   * @param advice one of `POSIX_FADV_*` of `@ouro/fs/ops`
   */
  advise(offset: number, length: number, advice: number, options?: OpOptions): Future<void> {
    return this.#submit(fadvise(this.descriptor, offset, length, advice), options);
  }

  #submit<T>(op: Op<T>, options: OpOptions | undefined): Future<T> {
    return begin(new Operation(op), options);
  }

  /** Cuts the file to `length` bytes, or extends it with zeros. */
  truncate(length = 0, options?: OpOptions): Future<void> {
    return this.#submit(ftruncate(this.descriptor, length), options);
  }

  /** Cancels all ops in flight on the file. */
  cancel(reason?: unknown): void {
    this.descriptor.cancel(reason);
  }

  /** Lets ops on this file keep the process alive: the default. */
  ref(): this {
    this.descriptor.setRef(true);
    return this;
  }

  /** Lets the process end although ops on this file are in flight. */
  unref(): this {
    this.descriptor.setRef(false);
    return this;
  }

  /**
   * Closes the file. Reads in flight are cancelled, writes and syncs are finished first; ops begun from here on fail
   * with `EBADF`. Closing twice is one closing.
   */
  close(): Future<void> {
    return this.descriptor.close();
  }

  [Symbol.asyncDispose](): Future<void> {
    return this.close();
  }
}

/** A string's bytes, or the view itself. */
export function toBytes(data: unknown): Bytes {
  if (typeof data === 'string') return Buffer.from(data);
  if (!ArrayBuffer.isView(data)) {
    throw invalidType('data', 'of type string or an instance of Buffer, TypedArray, or DataView', data);
  }
  return data;
}
