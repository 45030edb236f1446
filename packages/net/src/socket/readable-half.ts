import type { ReadableStream } from 'node:stream/web';
import {
  addressOf,
  asBytes,
  type Bytes,
  begin,
  bound,
  checkBytes,
  checkInteger,
  closedError,
  type Descriptor,
  type Future,
  flow,
  invalidType,
  lengthOf,
  NO_OPTIONS,
  type Op,
  Operation,
  type OpOptions,
  outOfRange,
  refusal,
  rejected,
  resolved,
  UNSTABLE,
} from '@ouro/runtime/driver';
import { busyError } from '../errors.ts';
import type { ChunkLease } from './chunk-lease.ts';
import { type Counting, DirectRead } from './direct-read.ts';
import type { IdleWatch } from './idle-watch.ts';
import { type LineOptions, splitLines } from './lines.ts';
import { type PipeOptions, type PipeTarget, pipe } from './pipe.ts';
import { type Arrived, HIGH_WATER, Receiver } from './receiver.ts';
import { SocketHandle } from './socket-handle.ts';
import { type Looped, StreamLoop } from './stream-loop.ts';
import { nextBatch, nextChunk, nextLease, nextLeases, ReadFull, ReadInto, ReadUntil } from './want.ts';
import { type ReadableOptions, readable } from './web-streams.ts';

/** How a stream is read in chunks. */
export interface ChunkOptions extends OpOptions {
  /** Bring leases of memory that is used again, to be released, in the place of Buffers. @default false */
  readonly lease?: boolean | undefined;
  /** Milliseconds that the wait for one chunk may take. @default none */
  readonly timeout?: number | undefined;
}

/** Up to where `readUntil` looks for the delimiter. */
export interface UntilOptions extends OpOptions {
  /** Bytes, those of the delimiter included. @default 65536 */
  readonly maxLength?: number | undefined;
}

/** What comes out of a loop over a stream. It ends for good when it is left; the stream does not. */
export type ChunkLoop<T> = AsyncIterableIterator<T, undefined> & AsyncDisposable;

const LONGEST_UNTIL = 65_536;
const MOST_DELIMITER = 1024;
const MOST_UNTIL = 2 ** 30;

/** What a stream may hold. */
export interface StreamLimits {
  /**
   * Bytes that lie unread before no more are taken from the kernel: a stream holds that much and what one turn of the loop brings.
   * It goes on at a quarter of it. @default 262144
   */
  readonly highWater?: number | undefined;
}

/** Checks `StreamLimits.highWater`. */
export function checkHighWater(highWater: unknown): void {
  if (highWater !== undefined) checkInteger('options.highWater', highWater, 1, 0x7fff_ffff);
}

/**
 * The reading half of a stream. (Halves are classes below one another and no objects in it: an idle connection has nothing more to
 * carry then, and a call no further to go.)
 */
export abstract class ReadableHalf extends SocketHandle implements AsyncIterable<Buffer>, Counting, Looped {
  #receiver: Receiver | null = null;
  #reading: Operation<unknown> | null = null;
  /** Bytes received without the receiver. */
  #readDirectly = 0;
  /** Whether somebody else receives in its place. */
  #relayed = false;
  readonly #highWater: number;
  /** @internal Looks after what waits, for both halves. */
  protected idle: IdleWatch | null = null;

  /** Takes the descriptor of a connected socket over. */
  protected constructor(descriptor: Descriptor, { highWater = HIGH_WATER }: StreamLimits = NO_OPTIONS) {
    super(descriptor);
    this.#highWater = highWater;
  }

  /** Whether what arrives goes to somebody already who does not share it. */
  #busy(): boolean {
    return this.#relayed || this.#reading?.inFlight === true;
  }

  /**
   * Receives into `buffer` what has arrived, waiting for it if need be.
   *
   * @returns bytes received; 0 at the end of the stream
   * @throws `ECONNRESET` and the like with `syscall: 'read'`; `ERR_INVALID_STATE` if a read or a loop is waiting: which
   *   of the two would get the bytes? TypeError if the buffer is detached or, then as a rejection, if it has shrunk to
   *   nothing meanwhile
   */
  read(buffer: Bytes, options?: OpOptions): Future<number> {
    return this.#read(buffer, options, false);
  }

  /**
   * Receives until `buffer` is full. An empty one is full.
   *
   * @returns bytes received: the buffer's length
   * @throws as `read`. `ERR_OURO_UNEXPECTED_END` if the peer ends the stream before; that error, and one of a failure or cancellation
   *   on the way, says how many bytes are in the buffer (`bytesTransferred`)
   */
  readExact(buffer: Bytes, options?: OpOptions): Future<number> {
    return this.#read(buffer, options, true);
  }

  #read(buffer: Bytes, options: OpOptions | undefined, full: boolean): Future<number> {
    checkBytes('buffer', buffer);
    if (this.descriptor.closed) return rejected(closedError('read'));
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    const address = addressOf(buffer);
    const length = lengthOf(buffer);
    if (length === 0) return resolved(0);
    if (this.#busy()) return rejected(busyError());
    // Memory that scripts can take away is only written to when the bytes are there: so none are lost with it.
    if (this.#receiver?.active || address === UNSTABLE) {
      const want = full ? new ReadFull(buffer, length) : new ReadInto(buffer);
      return bound(this.receive().wait(want), options, this.descriptor.refed);
    }
    this.idle?.begin();
    const reading = new DirectRead(this.descriptor, buffer, address, full, this);
    this.#reading = begin(reading, options);
    return reading;
  }

  /**
   * Receives up to the end of the first `delimiter`: a byte, a string (as UTF-8) or bytes, up to 1024. What lies behind it stays for the next
   * read.
   *
   * @returns bytes of your own, the delimiter included; none where the stream has ended
   * @throws as `read`. RangeError (`ERR_OUT_OF_RANGE`) if the first `maxLength` bytes do not hold it, and `ERR_OURO_UNEXPECTED_END` if
   *   the peer ends the stream without it: the bytes can still be read
   */
  readUntil(delimiter: number | string | Bytes, options: UntilOptions = NO_OPTIONS): Future<Buffer> {
    const bytes = delimiterOf(delimiter);
    if (this.descriptor.closed) return rejected(closedError('read'));
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    const { maxLength = LONGEST_UNTIL } = options;
    checkInteger('options.maxLength', maxLength, bytes.length, MOST_UNTIL);
    if (this.#busy()) return rejected(busyError());
    return bound(this.receive().wait(new ReadUntil(bytes, maxLength)), options, this.descriptor.refed);
  }

  /**
   * A receive of another kind in the place of a read. What has arrived already is read first, and made a result by
   * `arrived`.
   */
  protected receiveMessage<T>(
    op: Op<T>,
    buffer: Bytes,
    arrived: (bytes: number) => T,
    options: OpOptions | undefined,
  ): Future<T> {
    if (this.descriptor.closed) return rejected(closedError('read'));
    const receiver = this.#receiver;
    if (this.#busy() || receiver?.idle === false) return rejected(busyError());
    if (receiver?.active)
      return flow(async (steps) => arrived(await steps.step(receiver.wait(new ReadInto(buffer)))), options);
    this.idle?.begin();
    const operation = begin(new Operation(op), options);
    this.#reading = operation;
    return operation;
  }

  /**
   * What arrives, in chunks that belong to the caller, until the peer ends the stream. While the loop's body is slow
   * no more than 256 KiB and what one turn brings are held; then the peer is slowed down by TCP itself.
   *
   * Leaving the loop early leaves the stream open, with nothing lost: `read` or another loop goes on there.
   */
  [Symbol.asyncIterator](): ChunkLoop<Buffer> {
    return new StreamLoop(this, nextChunk);
  }

  /**
   * The same, with options: `signal`, `scope`, and `timeout` for each wait. A loop that has been given up is over, the stream is not.
   *
   * With `lease: true` chunks are lent: nothing is copied, and you release each one when you have done with it
   * (`for await (using chunk of …)`), which may be before or after others. Leases held for long hold up nobody: of the memory
   * that all loops of the thread share (up to 32 MiB in slabs of 256 KiB, each held by any chunk in it) a quarter is kept for what
   * arrives, and chunks are copies while the rest is lent. They are copies too where the kernel gives no ring of buffers, or
   * this Node cannot hold on to memory.
   */
  chunks(options?: ChunkOptions & { readonly lease?: false | undefined }): ChunkLoop<Buffer>;
  chunks(options: ChunkOptions & { readonly lease: true }): ChunkLoop<ChunkLease>;
  chunks(options?: ChunkOptions): ChunkLoop<Buffer> | ChunkLoop<ChunkLease> {
    return isLeased(options)
      ? new StreamLoop(this, nextLease, options)
      : new StreamLoop(this, nextChunk, options);
  }

  /** The same in arrays: all that one turn of the loop has brought, and what has come while the body was busy. */
  batches(options?: ChunkOptions & { readonly lease?: false | undefined }): ChunkLoop<Buffer[]>;
  batches(options: ChunkOptions & { readonly lease: true }): ChunkLoop<ChunkLease[]>;
  batches(options?: ChunkOptions): ChunkLoop<Buffer[]> | ChunkLoop<ChunkLease[]> {
    return isLeased(options)
      ? new StreamLoop(this, nextLeases, options)
      : new StreamLoop(this, nextBatch, options);
  }

  /**
   * The lines of a text, without their ends (LF or CRLF); the last one need have none. The bytes of lines that nobody has got
   * when the loop is left are the next to be read.
   *
   * @throws RangeError (`ERR_OUT_OF_RANGE`) for a line of more than `maxLength` bytes, which can still be read
   */
  splitLines(options: LineOptions = NO_OPTIONS): ChunkLoop<string> {
    return splitLines(this, options);
  }

  /**
   * Writes all that arrives to another stream, a file (where that stands), a Writable, or whatever has a `writeAll`, waiting
   * for it to be taken; then ends that (`end: false`: does not).
   *
   * @returns bytes
   * @throws what reading or writing fails with, with the bytes that were written (`bytesTransferred`). What had been read and not
   *   been written is the next to be read; the target is neither ended nor destroyed. `ECANCELED` if the stream is closed meanwhile
   */
  pipe(to: PipeTarget, options?: PipeOptions): Future<number> {
    return pipe(this, to, options);
  }

  /** What arrives as a WHATWG stream of bytes; readers may bring buffers of their own. Nothing is read before it is asked for. */
  readable(options?: ReadableOptions): ReadableStream<Uint8Array> {
    return readable(this, () => this.close(), options);
  }

  /**
   * @internal Receives no more by itself, and hands over what has arrived.
   * @throws `ERR_INVALID_STATE` if a read is waiting
   */
  async takeOver(): Promise<Arrived> {
    if (this.#reading?.inFlight === true || this.#receiver?.awaited === true) throw busyError();
    this.idle?.begin();
    const receiver = this.#receiver;
    if (receiver === null) return { chunks: [], ended: false, error: null };
    await new Promise<void>((stopped) => receiver.stop(stopped));
    return receiver.takeOver();
  }

  /** @internal */
  override get receiver(): Receiver | null {
    return this.#receiver;
  }

  /** @internal What arrives. */
  receive(): Receiver {
    if (this.#busy()) throw busyError();
    this.idle?.begin();
    this.#receiver ??= new Receiver(this.descriptor, this.#highWater);
    return this.#receiver;
  }

  /** Bytes that have arrived and wait to be read. */
  get buffered(): number {
    return this.#receiver?.buffered ?? 0;
  }

  /** Bytes that have been received, those included that nobody has taken yet. */
  get bytesRead(): number {
    return this.#readDirectly + (this.#receiver?.bytesRead ?? 0);
  }

  /** @internal From here on somebody else receives in its place. @throws `ERR_INVALID_STATE` if somebody does already */
  claim(): void {
    if (this.#relayed) throw busyError();
    this.#relayed = true;
  }

  /** @internal Receives by itself again. */
  giveBack(): void {
    this.#relayed = false;
  }

  /** @internal Notes that bytes have been received by other means. */
  received(count: number): void {
    this.#readDirectly += count;
  }
}

/** The bytes of a delimiter, which nobody else can change. */
function delimiterOf(delimiter: unknown): Buffer {
  if (typeof delimiter === 'number') {
    checkInteger('delimiter', delimiter, 0, 255);
    return Buffer.of(delimiter);
  }
  let bytes: Buffer;
  if (typeof delimiter === 'string') bytes = Buffer.from(delimiter);
  else {
    if (!ArrayBuffer.isView(delimiter)) {
      const kinds = 'of type number or string or an instance of Buffer, TypedArray, or DataView';
      throw invalidType('delimiter', kinds, delimiter);
    }
    bytes = Buffer.from(asBytes(delimiter));
  }
  // (Looking for a long one that repeats itself takes the product of both lengths.)
  if (bytes.length === 0 || bytes.length > MOST_DELIMITER)
    throw outOfRange('delimiter.length', `>= 1 && <= ${MOST_DELIMITER}`, bytes.length);
  return bytes;
}

function isLeased(options: ChunkOptions | undefined): boolean {
  const lease = options?.lease;
  if (lease !== undefined && typeof lease !== 'boolean')
    throw invalidType('options.lease', 'of type boolean', lease);
  return lease === true;
}
