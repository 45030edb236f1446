import { type ReadableByteStreamController, ReadableStream, WritableStream } from 'node:stream/web';
import {
  type Bytes,
  bound,
  checkAutoClose,
  checkInteger,
  closedError,
  type Future,
  HandleSink,
  limitsOf,
  type OpOptions,
  refusal,
  sizeOfChunk,
  type WritableChunk,
} from '@ouro/runtime/driver';
import { MOST_IN_SLAB } from './chunk.ts';
import { type Looped, stop } from './stream-loop.ts';
import { nextFresh } from './want.ts';

/** How a stream becomes a `ReadableStream`. */
export interface ReadableOptions extends OpOptions {
  /** Close the connection when the peer has ended it, when reading fails, and when the `ReadableStream` is cancelled. @default false */
  readonly autoClose?: boolean | undefined;
  /** Milliseconds that the wait for one chunk may take. @default none */
  readonly timeout?: number | undefined;
}

/** How a stream becomes a `WritableStream`. */
export interface WritableOptions extends OpOptions {
  /** Bytes that may wait before `desiredSize` is 0 and `ready` waits. @default 65536 */
  readonly highWaterMark?: number | undefined;
  /** Close the connection when the `WritableStream` has been closed, has failed or been aborted. @default false */
  readonly autoClose?: boolean | undefined;
  /** Milliseconds that sending one chunk may take. @default none */
  readonly timeout?: number | undefined;
}

const HIGH_WATER_MARK = 65_536;

/** What a `WritableStream` goes by of its stream. */
export interface Sent {
  /** Sends all of a chunk, which is not pinned for good: its memory may be handed on. */
  sendLent(chunk: Bytes, options: OpOptions | undefined): Future<number>;
  shutdown(how: 'write'): PromiseLike<void>;
  close(): PromiseLike<void>;
}

/** The source below a `ReadableStream` of bytes. */
class SocketSource {
  readonly type = 'bytes';
  readonly #stream: Looped;
  readonly #close: () => PromiseLike<void>;
  readonly #options: OpOptions | undefined;
  #waiting: Future<unknown> | null = null;
  #cancelled = false;

  constructor(stream: Looped, close: () => PromiseLike<void>, options: OpOptions | undefined) {
    this.#stream = stream;
    this.#close = close;
    this.#options = options;
  }

  /** Called when a chunk is wanted, and not again before it is there. */
  async pull(controller: ReadableByteStreamController): Promise<void> {
    const stream = this.#stream;
    let chunk: Buffer | undefined;
    try {
      if (stream.closed) throw closedError('read');
      const refused = refusal(this.#options);
      if (refused !== undefined) throw refused;
      const waiting = stream.receive().wait(nextFresh);
      this.#waiting = waiting;
      chunk = (await bound(waiting, this.#options, stream.refed)).value;
      // An iteration ends with its stream, but that is not the peer's end.
      if (chunk === undefined && stream.closed) throw closedError('read');
    } catch (error) {
      if (this.#cancelled) return;
      await this.#stop();
      throw error;
    } finally {
      this.#waiting = null;
    }
    const request = controller.byobRequest;
    if (this.#cancelled) {
      if (chunk !== undefined) stream.receiver?.putBack(chunk);
    } else if (chunk === undefined) {
      await this.#close();
      controller.close();
      request?.respond(0);
    } else if (request === null || request.view === null) controller.enqueue(unshared(chunk));
    else request.respond(this.#copy(chunk, request.view));
  }

  /** The kernel never gets a reader's buffer, which its owner can take back at any time: what has arrived is copied there. */
  #copy(chunk: Buffer, view: ArrayBufferView): number {
    const count = Math.min(chunk.length, view.byteLength);
    new Uint8Array(view.buffer, view.byteOffset, count).set(chunk.subarray(0, count));
    if (count < chunk.length) this.#stream.receiver?.putBack(chunk.subarray(count));
    return count;
  }

  async cancel(reason: unknown): Promise<void> {
    this.#cancelled = true;
    this.#waiting?.cancel(reason);
    await this.#stop();
  }

  /** Takes no more from the kernel; what has arrived can still be read. */
  async #stop(): Promise<void> {
    await stop(this.#stream);
    await this.#close();
  }
}

/** A stream takes the whole ArrayBuffer of what it is given: none that other chunks are in. */
function unshared(chunk: Buffer): Buffer {
  if (chunk.length > MOST_IN_SLAB || chunk.length === chunk.buffer.byteLength) return chunk;
  const copy = Buffer.allocUnsafeSlow(chunk.length);
  chunk.copy(copy);
  return copy;
}

/** See `SocketStream.readable`. */
export function readable(
  stream: Looped,
  close: () => PromiseLike<void>,
  given: ReadableOptions | undefined,
): ReadableStream<Uint8Array> {
  const options = limitsOf(given);
  refusal(options); // that it has been cancelled already is told by the first read
  const autoClose = checkAutoClose(given?.autoClose);
  const source = new SocketSource(stream, autoClose ? close : async () => {}, options);
  return new ReadableStream(source, { highWaterMark: 0 });
}

/** The sink below a `WritableStream`. */
class SocketSink extends HandleSink {
  readonly #stream: Sent;
  readonly #options: OpOptions | undefined;

  constructor(stream: Sent, autoClose: boolean, options: OpOptions | undefined) {
    super(stream, autoClose);
    this.#stream = stream;
    this.#options = options;
  }

  protected override begin(chunk: Bytes): Future<number> {
    return this.#stream.sendLent(chunk, this.#options);
  }

  protected override async finish(): Promise<void> {
    await this.#stream.shutdown('write');
  }
}

/** See `SocketStream.writable`. */
export function writable(stream: Sent, given: WritableOptions | undefined): WritableStream<WritableChunk> {
  const options = limitsOf(given);
  refusal(options); // that it has been cancelled already is told by the first write
  const { highWaterMark = HIGH_WATER_MARK, autoClose } = given ?? {};
  checkInteger('options.highWaterMark', highWaterMark, 0, Number.MAX_SAFE_INTEGER);
  const sink = new SocketSink(stream, checkAutoClose(autoClose), options);
  return new WritableStream(sink, { highWaterMark, size: sizeOfChunk });
}
