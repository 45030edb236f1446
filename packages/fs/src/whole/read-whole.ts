import { constants as limits } from 'node:buffer';
import { AT_FDCWD, IORING_OP_OPENAT, IORING_OP_READ, MAX_RW_COUNT, O_CLOEXEC } from '@ouro/native/abi';
import {
  type AbortError,
  addressOf,
  allocateRecycled,
  asBytes,
  awaitFast,
  type Bytes,
  type Completion,
  cancellation,
  Future,
  gaveUp,
  reactor,
  systemError,
  type TimeoutError,
  UNSTABLE,
} from '@ouro/runtime/driver';
import { placePath } from '../path.ts';

/** First piece of a file whose size is not known; later ones double. */
const FIRST_PIECE = 16_384;
const MOST_PIECE = 4 << 20;

/** Of a file that flags like 'a+' create. */
const NEW_FILE_MODE = 0o666;

const CURRENT = -1;

/**
 * A whole file: open, read, close as one future. Written out as a state machine, because a promise and an async
 * function's turn for each step would double the time that JavaScript takes: 2 µs a file of 64 KiB instead of 4.5,
 * where the kernel takes 8.
 *
 * The descriptor is closed by an SQE behind the last read, and nobody waits for it: closing what was only read cannot
 * fail in a way that matters, and whatever is opened next is queued behind it.
 */
export class WholeRead extends Future<Buffer | string> implements Completion {
  /** Read when a slot is taken: true for the open, false for the reads. */
  resultIsFd = true;
  refed = true;
  readonly #path: string | Buffer;
  readonly #encoding: BufferEncoding | null;
  /** The caller's memory as it was when it was handed in, and whether the kernel may write to it. */
  readonly #into: Buffer | null;
  readonly #room: number;
  readonly #intoAddress: number;
  /** Keeps a long path alive until the file is open. */
  hold: Buffer | null = null;
  #slot = -1;
  #generation = 0;
  #fd = -1;
  #cancelled = false;
  #reason: unknown;
  /** Longest file that is read, in bytes. */
  readonly #most: number;
  /** Memory being filled, where it is, and how far it is filled. */
  #piece: Buffer = EMPTY;
  #address = 0;
  #length = 0;
  #filled = 0;
  /** Whether the piece is as long as the file, so that a full one is the end. */
  #sized = false;
  /** Whether the piece is the caller's memory, and full: one byte more would be too much. */
  #overfull = false;
  #full: Buffer[] | null = null;

  /** @throws TypeError if `into` is detached */
  constructor(
    path: string | Buffer,
    encoding: BufferEncoding | null,
    into: Bytes | null,
    most: number = limits.MAX_LENGTH,
  ) {
    super();
    this.#most = most;
    this.#path = path;
    this.#encoding = encoding;
    const whole = into && asBytes(into);
    this.#into = whole && Buffer.from(whole.buffer, whole.byteOffset, whole.length);
    this.#room = whole?.length ?? 0;
    // Nailed down now, not at the first read: until the file is open a script could still transfer it.
    this.#intoAddress = into === null ? 0 : addressOf(into);
  }

  start(flags: number): this {
    const r = reactor();
    const slot = r.take(this);
    const path = placePath(slot, this.#path);
    this.hold = path.hold;
    this.#push(slot, IORING_OP_OPENAT, AT_FDCWD, 0, path.address, NEW_FILE_MODE, flags | O_CLOEXEC);
    return this;
  }

  #push(
    slot: number,
    head: number,
    fd: number,
    offset: number,
    address: number,
    length: number,
    flags: number,
  ): void {
    const r = reactor();
    r.push(slot, head, fd, offset, address, length, flags, 0, 0);
    this.#slot = slot;
    this.#generation = r.slots.generations[slot];
  }

  complete(result: number, _flags: number): void {
    this.#slot = -1;
    try {
      if (this.#cancelled && gaveUp(result)) {
        this.#end(this.#aborted());
      } else if (result < 0) {
        this.#end(
          this.resultIsFd ? systemError(result, 'open', { path: this.#path }) : systemError(result, 'read'),
        );
      } else if (this.resultIsFd) {
        this.#opened(result);
      } else {
        this.#arrived(result);
      }
    } catch (error) {
      this.#end(error);
    }
  }

  #opened(fd: number): void {
    this.resultIsFd = false;
    this.#fd = fd;
    if (this.#cancelled) throw this.#aborted();
    const size = reactor().addon.sizeHint(fd);
    this.#checkInto();
    if (this.#into !== null) {
      if (size > this.#room) throw tooSmall(`${size} bytes, more`, this.#room);
      this.#sized = size > 0;
      const wanted = size > 0 ? size : this.#room;
      // Memory that may go away is filled at the end, from memory of ours.
      if (this.#intoAddress === UNSTABLE) this.#use(Buffer.allocUnsafeSlow(wanted));
      else {
        this.#piece = this.#into.subarray(0, wanted);
        this.#address = this.#intoAddress;
      }
      this.#length = wanted;
    } else if (size > this.#most) {
      const longest = this.#most === limits.MAX_LENGTH ? 'the longest Buffer' : '"options.most"';
      throw Object.assign(
        new RangeError(`File size (${size}) is greater than ${longest} (${this.#most} bytes)`),
        { code: 'ERR_FS_FILE_TOO_LARGE' },
      );
    } else {
      this.#sized = size > 0;
      this.#use(allocateRecycled(size > 0 ? size : FIRST_PIECE));
    }
    if (this.#length > 0) this.#readOn();
    else this.#probe();
  }

  /** Fills memory that nobody else knows of, so that nothing can detach it. Not zeroed: only what is filled is shown. */
  #use(piece: Buffer): void {
    this.#piece = piece;
    this.#address = reactor().addon.addressOf(piece);
    this.#length = piece.length;
    this.#filled = 0;
  }

  #readOn(): void {
    // A read that is quicker than its cancellation succeeds; those of an endless file (/dev/zero) all are.
    if (this.#cancelled) throw this.#aborted();
    const filled = this.#filled;
    const length = Math.min(this.#length - filled, MAX_RW_COUNT);
    this.#push(reactor().take(this), IORING_OP_READ, this.#fd, CURRENT, this.#address + filled, length, 0);
  }

  #arrived(count: number): void {
    if (this.#overfull) {
      if (count > 0) throw tooSmall('more', this.#room);
      this.#finish();
      return;
    }
    this.#filled += count;
    if (count === 0) this.#finish();
    else if (this.#filled < this.#length) this.#readOn();
    else if (this.#sized) this.#finish();
    else if (this.#into === null) this.#anotherPiece();
    else this.#probe();
  }

  #anotherPiece(): void {
    this.#full ??= [];
    this.#full.push(this.#piece);
    this.#use(allocateRecycled(Math.min(this.#piece.length * 2, MOST_PIECE)));
    this.#readOn();
  }

  /** The caller's memory is full and the file's size is not known: is there more? The scratch takes one byte. */
  #probe(): void {
    this.#overfull = true;
    const r = reactor();
    const slot = r.take(this);
    this.#push(slot, IORING_OP_READ, this.#fd, CURRENT, r.scratchAddress(slot), 1, 0);
  }

  /** Throws if the caller's memory has gone: it was resized, or is of a WebAssembly memory that has grown. */
  #checkInto(): void {
    if (this.#into === null || this.#into.length === this.#room) return;
    const error = new TypeError('"options.buffer" was resized or detached before the file was read');
    throw Object.assign(error, { code: 'ERR_INVALID_STATE' });
  }

  #finish(): void {
    const into = this.#into;
    this.#checkInto();
    let content = this.#piece.subarray(0, this.#filled);
    if (this.#full !== null) content = Buffer.concat([...this.#full, content]);
    else if (into !== null && this.#intoAddress === UNSTABLE) {
      content.copy(into);
      content = into.subarray(0, this.#filled);
    }
    const encoding = this.#encoding;
    // Before anything can throw: a string may be longer than V8 allows.
    const value = encoding === null ? content : content.toString(encoding);
    this.#close();
    this.fulfil(value);
  }

  #aborted(): AbortError | TimeoutError {
    const before = this.#full?.reduce((bytes, piece) => bytes + piece.length, 0) ?? 0;
    return cancellation(this.#reason, before + this.#filled);
  }

  #end(error: unknown): void {
    this.#close();
    this.failFromKernel(error);
  }

  #close(): void {
    if (this.#fd >= 0) reactor().discard(this.#fd);
    this.#fd = -1;
    this.hold = null;
    this.#piece = EMPTY;
    this.#full = null;
  }

  override cancel(reason?: unknown): void {
    if (this.#slot < 0 || this.#cancelled) return;
    this.#cancelled = true;
    this.#reason = reason;
    reactor().cancel(this.#slot, this.#generation);
  }
}
awaitFast(WholeRead);

const EMPTY: Buffer = Buffer.alloc(0);

function tooSmall(size: string, room: number): RangeError {
  return Object.assign(new RangeError(`The file has ${size} than "options.buffer" (${room} bytes)`), {
    code: 'ERR_OUT_OF_RANGE',
  });
}
