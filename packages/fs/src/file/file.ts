import { constants } from 'node:fs';
import type { ReadableStream, WritableStream } from 'node:stream/web';
import { RWF_APPEND } from '@ouro/native/abi';
import {
  asBytes,
  type Bytes,
  begin,
  checkBytes,
  checkInteger,
  close,
  type Descriptor,
  type Future,
  flow,
  inspectable,
  invalidType,
  lengthOf,
  type Op,
  Operation,
  type OpKind,
  type OpOptions,
  OrdinaryDescriptor,
  pinned,
  placeOfOpening,
  reactor,
  rejected,
  resolved,
  snapshot,
  submit,
  Transfer,
  type WritableChunk,
} from '@ouro/runtime/driver';
import { fileMode, type OpenFlags, openFlags } from '../flags.ts';
import { type Alignment, directAlign } from '../op/direct-align.ts';
import { fchmod, fchown } from '../op/mode.ts';
import { type From, open, openFd, openKind } from '../op/open.ts';
import type { MoveOptions } from '../op/read-write.ts';
import { fadvise, fallocate } from '../op/space.ts';
import { statOf } from '../op/statx.ts';
import { fdatasync, fsync, syncFileRange } from '../op/sync.ts';
import { type FileTime, futimens } from '../op/times.ts';
import { read, write, writing } from '../op/transfer.ts';
import { ftruncate } from '../op/truncate.ts';
import { readv, WritevAll, writevOp } from '../op/vectored.ts';
import { checkPath, type PathLike } from '../path.ts';
import { ofFile, type SetAttributeOptions } from '../paths/attributes.ts';
import type { StatOptions } from '../paths/metadata.ts';
import { CURRENT, checkPosition, type Position } from '../position.ts';
import type { BigIntStats, Stats } from '../stats.ts';
import { checkEncoding, encodingOrOptions } from '../text-encoding.ts';
import { checkAligned } from './aligned.ts';
import { batches, type ChunkLease, type ChunkOptions, chunks, type LeaseOptions } from './chunks.ts';
import { type LineOptions, lineBatches, lines } from './lines.ts';
import { type LockOptions, lock, tryLock, unlock } from './lock.ts';
import type { ChunkLoop } from './loop.ts';
import { openedFile } from './opened.ts';
import { QuickRead } from './quick-read.ts';
import { isSeveral, type ReadRestOptions, readRest, type WriteFileData } from './rest.ts';
import { type ReadableOptions, readable, type WritableOptions, writable } from './web-streams.ts';

/** How a file is opened. */
export interface OpenOptions extends OpOptions {
  /** Permission bits of a file that is created, before the umask. @default 0o666 */
  readonly mode?: number | string | undefined;
  /**
   * Past the page cache (`O_DIRECT`): between the device and the caller's memory, which has to be aligned as `file.alignment`
   * says. What is written is not durable by that. `EINVAL` on file systems that cannot. @default false
   */
  readonly direct?: boolean | undefined;
}

/** How something is written. */
export interface WriteOptions extends OpOptions {
  /** Of text. @default 'utf8' */
  readonly encoding?: BufferEncoding | null | undefined;
}

/** How several buffers are moved at once. */
export interface VectorOptions extends OpOptions, MoveOptions {}

/**
 * An open file. Every method that does I/O returns a future.
 *
 * A buffer that is handed in belongs to the op until its future has settled: do not change or read it before.
 */
export class File implements AsyncDisposable, AsyncIterable<Buffer> {
  readonly path: string | Buffer;
  /** @internal What ops, chains and batches refer to. */
  readonly descriptor: Descriptor;
  /** What buffers, positions and lengths must be multiples of; null unless the file was opened with `direct`. */
  readonly alignment: Alignment | null;

  private constructor(descriptor: Descriptor, path: string | Buffer, alignment: Alignment | null = null) {
    this.descriptor = descriptor;
    this.path = path;
    this.alignment = alignment;
  }

  static readonly #OPEN: OpKind<File> = File.#openedAt(null);

  static #openedAt(place: string | null): OpKind<File> {
    return openKind((fd, path) => new File(openedFile(fd, path, place), path));
  }

  /**
   * Opens a file. Opening a pipe for writing waits for its reader; opening one for reading may come before its writer,
   * for which the first read waits then.
   *
   * A file that is collected without having been closed is closed and reported, once for each place where files are opened
   * (`process.emitWarning`, code `OURO_FILE_NOT_CLOSED`).
   *
   * @param flags as in `node:fs`; the file is always close-on-exec
   * @throws what Node throws: `ENOENT`, `EACCES`, `EEXIST`, `EISDIR`, `EMFILE`…, with `syscall: 'open'` and `path`
   */
  static open(path: PathLike, flags: OpenFlags | number = 'r', options?: OpenOptions): Future<File> {
    return File.#open(path, flags, options, File.open);
  }

  static #open(
    path: PathLike,
    flags: OpenFlags | number,
    options: OpenOptions | undefined,
    opener: unknown,
    from?: From,
  ): Future<File> {
    const plain = checkPath(path);
    const bits = openFlags(flags);
    const mode = fileMode(options?.mode ?? 0o666);
    const direct = options?.direct ?? false;
    if (typeof direct !== 'boolean') throw invalidType('options.direct', 'of type boolean', direct);
    const place = placeOfOpening(opener);
    if (direct) return File.#openDirect(plain, bits | constants.O_DIRECT, mode, place, options, from);
    return open(place === null ? File.#OPEN : File.#openedAt(place), plain, bits, mode, options, from);
  }

  /** @internal What `Dir` opens. */
  static openFrom(
    from: From,
    path: PathLike,
    flags: OpenFlags | number,
    options: OpenOptions | undefined,
    opener: unknown,
  ): Future<File> {
    return File.#open(path, flags, options, opener, from);
  }

  static #openDirect(
    path: string | Buffer,
    flags: number,
    mode: number,
    place: string | null,
    options: OpenOptions | undefined,
    from: From | undefined,
  ): Future<File> {
    return flow(async (steps) => {
      const fd = await steps.step(openFd(path, flags, mode, from));
      try {
        const alignment = await steps.step(submit(directAlign(fd)));
        return new File(openedFile(fd, path, place), path, alignment);
      } catch (error) {
        await close(fd);
        throw error;
      }
    }, options);
  }

  /** Creates a file for writing, or empties the one that is there: `open(path, 'w')`. */
  static create(path: PathLike, options?: OpenOptions): Future<File> {
    return File.#open(path, 'w', options, File.create);
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
    return new File(new OrdinaryDescriptor(fd), checkPath(path));
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
    if (this.alignment !== null) checkAligned(this.alignment, 'buffer', [buffer], from);
    const quick = options === undefined ? this.#quick(buffer, from) : null;
    return quick ?? begin(new Transfer(read(this.descriptor, buffer, from), 'short', 'file'), options);
  }

  /**
   * Writes all of `data`.
   *
   * @param position where in the file to begin; null or nothing: at the current position, which moves on; files opened
   *   for appending always write at their end.
   * @returns bytes written: all of them. An error on the way carries `bytesTransferred`.
   */
  write(data: Bytes | string, position?: Position, options?: WriteOptions): Future<number> {
    const bytes = toBytes(data, options?.encoding);
    const from = checkPosition(position);
    if (this.#isNothing(bytes)) return resolved(0);
    if (this.alignment !== null) checkAligned(this.alignment, 'data', [bytes], from);
    const source = this.alignment === null ? snapshot(bytes) : pinned(bytes);
    return begin(writing(write(this.descriptor, source, from)), options);
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
    const op = readv(this.descriptor, buffers, position, options);
    if (this.alignment !== null) checkAligned(this.alignment, 'buffers', buffers, op.off);
    return this.#submit(op, options);
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
    if (this.alignment !== null) checkAligned(this.alignment, 'buffers', buffers, op.off);
    return begin(new WritevAll(op), options);
  }

  #quick(buffer: Bytes, position: number): Future<number> | null {
    try {
      return QuickRead.begin(this.descriptor, buffer, position);
    } catch (error) {
      // There is no ring, or the kernel takes no more ops. (Of a detached buffer the caller is told here and now.)
      if (error instanceof TypeError) throw error;
      return rejected(error);
    }
  }

  /**
   * Writes all of `data` behind whatever the file holds by then (`RWF_APPEND`), however it was opened for writing: those who
   * append at the same time do not overwrite each other. The current position stays where it is. What is no regular
   * file is just written to.
   *
   * @returns bytes written: all of them. An error on the way carries `bytesTransferred`.
   */
  append(data: Bytes | string, options?: WriteOptions): Future<number> {
    const bytes = toBytes(data, options?.encoding);
    if (this.#isNothing(bytes)) return resolved(0);
    if (this.alignment !== null) checkAligned(this.alignment, 'data', [bytes], CURRENT);
    const { descriptor } = this;
    // Devices refuse the flag (EOPNOTSUPP of pwritev2), and a pipe has no end.
    const hasEnd = !descriptor.closed && reactor().addon.sizeHint(descriptor.fd) >= 0;
    const op = write(descriptor, pinned(bytes), hasEnd ? 0 : CURRENT);
    if (hasEnd) op.opFlags = RWF_APPEND;
    return begin(writing(op), options);
  }

  /**
   * The rest of the file, from where it stands to its end, which is where it stands then: all of it if nothing has been read
   * yet. A cancellation or failure on the way says in `bytesTransferred` how far it had come.
   *
   * @throws `ERR_FS_FILE_TOO_LARGE` if no Buffer can be that long
   */
  readFile(
    options: (ReadRestOptions & { readonly encoding: BufferEncoding }) | BufferEncoding,
  ): Future<string>;
  readFile(options?: (ReadRestOptions & { readonly encoding?: null | undefined }) | null): Future<Buffer>;
  readFile(options?: ReadRestOptions | BufferEncoding | null): Future<Buffer | string>;
  readFile(options?: ReadRestOptions | BufferEncoding | null): Future<Buffer | string> {
    return readRest(this.descriptor, encodingOrOptions(options), this.alignment);
  }

  /**
   * Writes all of `data` where the file stands, as the method of Node's `FileHandle`: nothing is cut off or emptied first.
   *
   * @param data bytes or text, or an iterable of them, which is closed if writing fails
   */
  writeFile(data: WriteFileData, options?: WriteOptions | BufferEncoding | null): Future<void> {
    const given = encodingOrOptions<WriteOptions>(options);
    const { encoding } = given;
    if (!isSeveral(data)) {
      const bytes = toBytes(data, encoding);
      asBytes(bytes); // throws if detached
      return flow(async (steps) => void (await steps.step(this.write(bytes))), given);
    }
    return flow(async (steps) => {
      for await (const piece of data) {
        steps.check();
        await steps.step(this.write(piece, null, { encoding }));
      }
    }, given);
  }

  /** Whether there is nothing to move. A detached buffer looks empty too: that is a TypeError, not a success. */
  #isNothing(view: Bytes): boolean {
    return lengthOf(view) === 0 && asBytes(view).length === 0 && !this.descriptor.closed;
  }

  /** `chunks()`: `for await (const chunk of file)`. */
  [Symbol.asyncIterator](): ChunkLoop<Buffer> {
    return this.chunks();
  }

  /**
   * What the file holds, in chunks. Of a regular file several reads are in flight, so that the next chunk is there when
   * it is asked for; of pipes, terminals, sockets and what is in /proc a read begins when its chunk is asked for, and
   * brings what there is.
   *
   * The Buffers are the caller's to keep. With `{ lease: true }` they are `ChunkLease`s of memory that is used again, which
   * is up to twice as fast and wants each to be released.
   *
   * Leaving the loop cancels what is in flight, waits for that, and leaves the file open; nothing is lost: without `start`
   * the file stands behind the last chunk that the loop got. A loop whose file is closed fails with `ECANCELED` or
   * `EBADF`, so that this is not taken for the end of the file.
   *
   * @returns an iterator for one loop: `EISDIR`, `EIO`… with `syscall: 'read'` reject its `next`, and end it
   */
  chunks(options: LeaseOptions): ChunkLoop<ChunkLease>;
  chunks(options?: ChunkOptions): ChunkLoop<Buffer>;
  chunks(options?: ChunkOptions | LeaseOptions): ChunkLoop<Buffer | ChunkLease> {
    return chunks(this.descriptor, options, this.alignment);
  }

  /**
   * `chunks`, all at once that are there: at least one, `options.ahead` at most. One await for several chunks, as in
   * `node:stream/iter`.
   */
  batches(options: LeaseOptions): ChunkLoop<ChunkLease[]>;
  batches(options?: ChunkOptions): ChunkLoop<Buffer[]>;
  batches(options?: ChunkOptions | LeaseOptions): ChunkLoop<(Buffer | ChunkLease)[]> {
    return batches(this.descriptor, options, this.alignment);
  }

  /**
   * The lines of the file, without their ends: `\n` or `\r\n`. The last one need not have an end.
   *
   * Reads are longer than lines: when the loop is left early, the file stands anywhere behind the line, and what a pipe
   * had brought is gone. A line that is kept may keep the text around it (128 KiB) in memory.
   *
   * @throws RangeError with `code: 'ERR_OUT_OF_RANGE'` for a line of more than `options.maxLength` characters, and then the
   *   loop is over; otherwise as `chunks`
   */
  lines(options?: LineOptions): ChunkLoop<string> {
    return lines(this.descriptor, options, this.alignment);
  }

  /** `lines`, all at once that end in one read: one await for a thousand lines. */
  lineBatches(options?: LineOptions): ChunkLoop<string[]> {
    return lineBatches(this.descriptor, options, this.alignment);
  }

  /**
   * The file as a stream of bytes for `pipeTo`, `Response`, `Readable.fromWeb`…, with back-pressure: nothing is read before it is
   * asked for, and then `options.ahead` chunks ahead at most. Readers with buffers of their own (`getReader({ mode: 'byob' })`)
   * get copies, because those buffers can be taken from under the kernel at any time.
   *
   * The file stays open unless `{ autoClose: true }` says otherwise, as with `readableWebStream` of Node's `FileHandle`.
   */
  readable(options?: ReadableOptions): ReadableStream<Uint8Array> {
    return readable(this, options);
  }

  /**
   * The file as a stream to write to: text, buffers, views. `ready` waits while more than `options.highWaterMark` bytes are
   * waiting. Closing the stream does not sync the file, and closes it only with `{ autoClose: true }`. Aborting it cancels
   * the write in hand.
   */
  writable(options?: WritableOptions): WritableStream<WritableChunk> {
    return writable(this, options);
  }

  /** What is known about the file. @param options `bigint`: bigints, and times in nanoseconds */
  stat(options: StatOptions & { readonly bigint: true }): Future<BigIntStats>;
  stat(options?: StatOptions & { readonly bigint?: false | undefined }): Future<Stats>;
  stat(options?: StatOptions): Future<Stats | BigIntStats>;
  stat(options?: StatOptions): Future<Stats | BigIntStats> {
    return this.#submit(statOf(this.descriptor, { bigint: options?.bigint === true }), options);
  }

  /** Sets permissions. @param mode as a number, or an octal string */
  chmod(mode: number | string, options?: OpOptions): Future<void> {
    return this.#submit(fchmod(this.descriptor, mode), options);
  }

  /** Sets owner and group; -1 leaves one as it is. */
  chown(uid: number, gid: number, options?: OpOptions): Future<void> {
    return this.#submit(fchown(this.descriptor, uid, gid), options);
  }

  /** Sets the times of the last access and the last change: see `utimes`. */
  utimes(atime: FileTime, mtime: FileTime, options?: OpOptions): Future<void> {
    return this.#submit(futimens(this.descriptor, atime, mtime), options);
  }

  /** The value of an extended attribute. */
  getxattr(name: string, options?: OpOptions): Future<Buffer> {
    return this.#submit(ofFile.get(this.descriptor, name), options);
  }

  /** Sets an extended attribute. */
  setxattr(name: string, value: Bytes | string, options?: SetAttributeOptions): Future<void> {
    return this.#submit(ofFile.set(this.descriptor, name, value, options), options);
  }

  /** The names of all extended attributes, in no order. */
  listxattr(options?: OpOptions): Future<string[]> {
    return this.#submit(ofFile.list(this.descriptor), options);
  }

  /** Removes an extended attribute. */
  removexattr(name: string, options?: OpOptions): Future<void> {
    return this.#submit(ofFile.remove(this.descriptor, name), options);
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

  /**
   * Locks the file (`flock(2)`), waiting until that can be. A lock is advisory: it binds those who ask for one, in this
   * process or another. It is that of this opening, so a second `lock` of the same File changes it, and two Files of the same
   * path exclude each other; closing the file, or the end of the process however it comes, gives it back.
   *
   * Changing a shared lock into an exclusive one gives it back first: others may come in between, and if that fails or is
   * cancelled none may be left. The kernel tells nobody when a lock becomes free: it is looked at every 20 ms at least, and
   * who comes first gets it.
   *
   * @throws `ENOLCK`, `ENOTSUP`… with `syscall: 'flock'`; `ECANCELED` if the file is closed meanwhile
   */
  lock(options?: LockOptions): Future<void> {
    return lock(this.descriptor, options);
  }

  /** `lock` without waiting: resolves to whether it succeeded. */
  tryLock(options?: LockOptions): Future<boolean> {
    return tryLock(this.descriptor, options);
  }

  /** Gives the lock back. Without one nothing happens. */
  unlock(options?: OpOptions): Future<void> {
    return unlock(this.descriptor, options);
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
inspectable(File, ({ path, alignment }) => ({ path: String(path), alignment: alignment ?? undefined }));

/** A string's bytes, or the view itself. */
export function toBytes(data: unknown, encoding?: BufferEncoding | null, name = 'data'): Bytes {
  if (typeof data === 'string') {
    checkEncoding(encoding);
    return Buffer.from(data, encoding ?? 'utf8');
  }
  if (!ArrayBuffer.isView(data)) {
    throw invalidType(name, 'of type string or an instance of Buffer, TypedArray, or DataView', data);
  }
  return data;
}
