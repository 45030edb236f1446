import {
  EAGAIN,
  EBADF,
  EINVAL,
  EIO,
  ENODATA,
  EOPNOTSUPP,
  IORING_OP_READ,
  IORING_OP_READ_FIXED,
  IORING_OP_SPLICE,
  MSG_WAITALL,
  POLLIN,
  POLLOUT,
  SPLICE_F_FD_IN_FIXED,
  SPLICE_F_NONBLOCK,
} from '@ouro/native/abi';
import {
  addressOf,
  awaitFast,
  CURRENT,
  closedError,
  type Descriptor,
  fixedIndexOf,
  NOT_FIXED,
  nopOp,
  Op,
  opKind,
  reactor,
  systemError,
  takingFrom,
} from '@ouro/runtime/driver';
import { pollAdd } from '@ouro/runtime/ops';
import { socketError } from '../errors.ts';
import { writing } from '../op/send.ts';
import { takeMemory } from './memory.ts';
import { type Pipe, takePipe } from './pipes.ts';
import { isOurs, Sending, type Way } from './sending.ts';

// Both are given up when the handle that they take from is closed.
const READ = opKind<number>('read', { endsWithHandle: true });
const SPLICE = opKind<number>('read', { endsWithHandle: true });

/** Bytes that are sent by one call. */
const PIECE = 262_144;
/** Bytes after which the loop's other work has its turn. */
const TURN = 1 << 20;
/** Up to here bytes are copied where it cannot be told whether they are in memory: a thread of the kernel for them costs as much. */
const COPIED = 65_536;

/** Errors of the file, not the socket. */
const OF_FILES: ReadonlySet<number> = new Set([EIO, EBADF, EINVAL]);

/** What is to be sent. */
export interface Source {
  /** The file's descriptor: a handle's, or just a number. */
  readonly file: Descriptor | number;
  /** Whether it is a number of our own, to be closed when all is sent. */
  readonly own: boolean;
  /** Byte of the file; null for its current position, which moves on. */
  readonly offset: number | null;
  /** Bytes, at most. */
  readonly length: number;
}

/**
 * A file on its way into a socket. Three ways, from the cheapest on:
 *
 * - `sendfile(2)`, called by this thread where the kernel says that the piece is in the page cache: it waits for nobody then.
 * - `splice` into a pipe, by a thread of the kernel, which may have to wait for the disk, and from there into the socket by this
 *   thread. The socket is waited for in no thread.
 * - a read into memory and a send.
 */
export class FileSend extends Sending {
  readonly #file: Descriptor | number;
  readonly #own: boolean;
  readonly #offset: number | null;
  #left: number;
  /** Where the next byte comes from; `CURRENT` where that is the kernel's to know. */
  #at = 0;
  #pipe: Pipe | null = null;
  /** Bytes since the loop has had its turn. */
  #inTurn = 0;

  constructor(way: Way, { file, own, offset, length }: Source) {
    super(way, typeof file === 'number' ? [] : [file]);
    this.#file = file;
    this.#own = own;
    this.#offset = offset;
    this.#left = length;
  }

  /** The file's number, whoever's table it is in. */
  get #fd(): number {
    return typeof this.#file === 'number' ? this.#file : this.#file.fd;
  }

  get #direct(): boolean {
    return typeof this.#file !== 'number' && this.#file.direct;
  }

  protected override async work(): Promise<void> {
    if (this.#left === 0) return;
    if (this.#offset !== null || this.#direct) {
      this.#at = this.#offset ?? CURRENT;
      return await this.#send();
    }
    const { addon } = reactor();
    const from = addon.seek(this.#fd, CURRENT);
    this.#at = from < 0 ? CURRENT : from;
    try {
      await this.#send();
    } finally {
      // Behind what the socket has taken, not behind what has been read.
      if (from >= 0 && this.#fd >= 0) addon.seek(this.#fd, from + this.moved);
    }
  }

  async #send(): Promise<void> {
    if (!isOurs(this.socket)) return await this.#copy();
    if (this.#at !== CURRENT && !this.#direct && (await this.#cached())) return;
    const size = this.#direct ? -1 : reactor().addon.sizeHint(this.#fd);
    if (this.#at === CURRENT && !this.#direct && (await this.#fromPipe())) return;
    // Small; or a file that is made while it is read, and says that it is empty.
    const rest = Math.min(this.#left, size - this.#at);
    if (this.#at !== CURRENT && size >= 0 && rest <= COPIED) await this.#copy();
    else if (!(await this.#spliced())) await this.#copy();
  }

  /** Notes bytes that the socket has taken. */
  #took(count: number): void {
    this.took(count);
    this.#left -= count;
    if (this.#at !== CURRENT) this.#at += count;
  }

  /** Waits until the socket takes more. */
  async #room(): Promise<void> {
    this.#inTurn = 0;
    await this.step(pollAdd(this.socket, POLLOUT));
  }

  /** Lets others have their turn after so many bytes. */
  async #turn(count: number): Promise<void> {
    this.#inTurn += count;
    if (this.#inTurn < TURN) return;
    this.#inTurn = 0;
    await this.step(nopOp());
  }

  /** Sends what is in the page cache, and brings there what is not. False where neither can be known. */
  async #cached(): Promise<boolean> {
    const { addon } = reactor();
    for (;;) {
      this.check();
      const length = Math.min(this.#left, PIECE);
      const count = addon.sendCached(this.#fd, this.#at, this.socket.fd, length);
      if (count > 0) {
        this.#took(count);
        if (this.#left === 0) return true;
        await this.#turn(count);
      } else if (count === 0) return true;
      else if (count === EAGAIN) await this.#room();
      else if (count === EOPNOTSUPP) return false;
      else if (count !== ENODATA) throw this.#error(count);
      else {
        const read = await this.#splicePiece();
        if (read === 0) return true;
        if (read < 0) return false;
        if (this.#left === 0) return true;
      }
    }
  }

  /** Sends all that is left through a pipe. False where that does not go, with bytes left to send. */
  async #spliced(): Promise<boolean> {
    for (;;) {
      const read = await this.#splicePiece();
      if (read < 0) return false;
      if (read === 0 || this.#left === 0) return true;
    }
  }

  /** Sends one pipe full. Returns what was read of the file, -1 where that does not go. */
  async #splicePiece(): Promise<number> {
    this.#pipe ??= takePipe();
    const pipe = this.#pipe;
    if (pipe === null) return -1;
    pipe.clean = false;
    let held: number;
    try {
      held = await this.step(this.#splice(pipe, Math.min(this.#left, pipe.capacity)));
    } catch (error) {
      const { errno, code } = error as { errno?: number; code?: string };
      if (errno === EAGAIN) {
        // No file, but something that has nothing at the moment, such as a socket.
        await this.step(pollAdd(this.#file, POLLIN));
        return await this.#splicePiece();
      }
      // A file system that cannot; or there is no such op.
      pipe.clean = errno === EINVAL || code === 'ERR_OURO_UNSUPPORTED';
      if (pipe.clean) return -1;
      throw error;
    }
    const read = held;
    const { addon } = reactor();
    while (held > 0) {
      this.check();
      const count = addon.splice(pipe.readEnd, this.socket.fd, held, 0, this.socket.fd);
      if (count > 0) {
        held -= count;
        this.#took(count);
        await this.#turn(count);
      } else if (count === EAGAIN) await this.#room();
      else throw this.#error(count === 0 ? EIO : count);
    }
    pipe.clean = true;
    return read;
  }

  #splice(pipe: Pipe, length: number): Op<number> {
    const op = new Op(SPLICE, IORING_OP_SPLICE, CURRENT, this.#at, length, SPLICE_F_NONBLOCK).on(
      pipe.writeEnd,
    );
    if (this.#direct) op.opFlags += SPLICE_F_FD_IN_FIXED;
    return takingFrom(op, this.#file);
  }

  /** Sends from a pipe, or a like, that is the source. False if it is none. */
  async #fromPipe(): Promise<boolean> {
    const { addon } = reactor();
    for (;;) {
      this.check();
      const length = Math.min(this.#left, PIECE);
      const count = addon.splice(this.#fd, this.socket.fd, length, 0, this.socket.fd);
      if (count > 0) {
        this.#took(count);
        if (this.#left === 0) return true;
        await this.#turn(count);
      } else if (count === 0) return true;
      else if (count === EINVAL || count === EOPNOTSUPP) return false;
      else if (count !== EAGAIN) throw this.#error(count);
      else {
        // Either of them: what waits for the pipe, with the socket full, would go round without end.
        await this.step(pollAdd(this.#file, POLLIN));
        await this.#room();
      }
    }
  }

  /** Sends all that is left by way of memory. */
  async #copy(): Promise<void> {
    const memory = takeMemory();
    try {
      while (this.#left > 0) {
        const view = memory.bytes.subarray(0, Math.min(this.#left, memory.bytes.length));
        const count = await this.step(this.#read(view));
        if (count === 0) return;
        await this.send(writing(this.socket, view.subarray(0, count), MSG_WAITALL));
        this.#left -= count;
        if (this.#at !== CURRENT) this.#at += count;
      }
    } finally {
      memory.release();
    }
  }

  #read(view: Buffer): Op<number> {
    if (this.#fd < 0) throw closedError('read');
    const address = addressOf(view);
    const fixed = fixedIndexOf(view);
    const opcode = fixed === NOT_FIXED ? IORING_OP_READ : IORING_OP_READ_FIXED;
    const op = new Op(READ, opcode, this.#at, address, view.length);
    if (fixed !== NOT_FIXED) op.buf = fixed;
    op.hold = view;
    return op.on(this.#file);
  }

  /** What a call on both has failed with. */
  #error(errno: number): Error {
    return OF_FILES.has(errno) ? systemError(errno, 'read') : socketError(errno, 'write');
  }

  protected override end(): void {
    this.#pipe?.release();
    this.#pipe = null;
    if (this.#own && typeof this.#file === 'number') reactor().discard(this.#file);
  }
}
awaitFast(FileSend);
