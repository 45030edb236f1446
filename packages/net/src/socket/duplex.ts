import { Duplex, type DuplexOptions } from 'node:stream';
import { type Bytes, invalidType, NO_OPTIONS } from '@ouro/runtime/driver';

/** What `toDuplex` takes: of `node:stream`'s options those that leave the data alone. */
export type StreamDuplexOptions = Pick<
  DuplexOptions,
  | 'allowHalfOpen'
  | 'emitClose'
  | 'highWaterMark'
  | 'readableHighWaterMark'
  | 'writableHighWaterMark'
  | 'signal'
>;

/** What of a stream a Duplex goes by. */
interface Streamed {
  [Symbol.asyncIterator](): AsyncIterator<Buffer, undefined>;
  writeAll(data: Bytes): PromiseLike<number>;
  writev(buffers: readonly Bytes[]): PromiseLike<number>;
  shutdown(): PromiseLike<void>;
  close(): PromiseLike<void>;
  readonly closed: boolean;
}

type Callback = (error?: Error | null) => void;

/** A `node:stream` Duplex over a stream of ours, which is the Duplex's from then on. */
class StreamDuplex extends Duplex {
  readonly #stream: Streamed;
  readonly #chunks: AsyncIterator<Buffer, undefined>;

  constructor(stream: Streamed, options: StreamDuplexOptions) {
    super(options);
    this.#stream = stream;
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  // Called once, and then again after each push, as long as there is room.
  override _read(): void {
    this.#chunks.next().then(
      ({ done, value }) => {
        if (this.destroyed) return;
        // (It has been closed from outside: that is no end of the peer's.)
        if (done === true && this.#stream.closed) this.destroy();
        else this.push(value ?? null);
      },
      (error: Error) => this.destroy(error),
    );
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Callback): void {
    this.#stream.writeAll(chunk).then(() => done(), done);
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: Callback): void {
    this.#stream.writev(chunks.map(({ chunk }) => chunk)).then(() => done(), done);
  }

  override _final(done: Callback): void {
    // As in node:net: of a peer that is gone nothing is to be told.
    this.#stream.shutdown().then(
      () => done(),
      (error: NodeJS.ErrnoException) => done(error.code === 'ENOTCONN' ? null : error),
    );
  }

  override _destroy(error: Error | null, done: Callback): void {
    this.#stream.close().then(
      () => done(error),
      (failed: Error) => done(error ?? failed),
    );
  }
}

/** Makes a stream a Duplex. */
export function duplexOver(stream: Streamed, options: StreamDuplexOptions = NO_OPTIONS): Duplex {
  if (typeof options !== 'object' || options === null)
    throw invalidType('options', 'of type object', options);
  return new StreamDuplex(stream, options);
}
