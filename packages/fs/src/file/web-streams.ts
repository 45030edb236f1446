import { type ReadableByteStreamController, ReadableStream, WritableStream } from 'node:stream/web';
import {
  type Bytes,
  begin,
  checkAutoClose,
  checkInteger,
  type Descriptor,
  type Future,
  HandleSink,
  lent,
  type OpOptions,
  refusal,
  resolved,
  sizeOfChunk,
  type WritableChunk,
} from '@ouro/runtime/driver';
import type { Alignment } from '../op/direct-align.ts';
import { write, writing } from '../op/transfer.ts';
import { checkOptions } from '../options.ts';
import { CURRENT, checkPosition, type Position } from '../position.ts';
import { refuseDirect } from './aligned.ts';
import { OwnMemory } from './chunk-memory.ts';
import { CHUNK_BYTES, checkSize, checkStretch, ownChunk, type StretchOptions } from './chunks.ts';
import type { Filled } from './piece.ts';
import { ReadAhead } from './read-ahead.ts';

/** What of a file a stream goes by. */
interface Streamed {
  readonly descriptor: Descriptor;
  readonly alignment: Alignment | null;
  close(): PromiseLike<void>;
}

/** How a file becomes a `ReadableStream`. */
export interface ReadableOptions extends OpOptions, StretchOptions {
  /** Bytes of a chunk, unless the reader brings a buffer of its own. @default 131072 */
  readonly chunkSize?: number | undefined;
  /** Reads in flight at most. @default 4 */
  readonly ahead?: number | undefined;
  /** Close the file when the stream has ended, failed or been cancelled. @default false */
  readonly autoClose?: boolean | undefined;
  /** Milliseconds that the wait for one chunk may take. @default none */
  readonly timeout?: number | undefined;
}

/** How a file becomes a `WritableStream`. */
export interface WritableOptions extends OpOptions {
  /** Where in the file to begin. @default where the file stands, which moves on; files opened for appending write at their end */
  readonly start?: Position | undefined;
  /** Bytes that may wait before `desiredSize` is 0 and `ready` waits. @default 131072 */
  readonly highWaterMark?: number | undefined;
  /** Close the file when the stream has been closed, has failed or been aborted. @default false */
  readonly autoClose?: boolean | undefined;
  /** Milliseconds that writing one chunk may take. @default none */
  readonly timeout?: number | undefined;
}

const asItIs = (filled: Filled | null): Filled | null => filled;

/** The source below a `ReadableStream` of bytes. */
class FileSource {
  readonly type = 'bytes';
  readonly #reader: ReadAhead;
  readonly #file: Streamed;
  readonly #autoClose: boolean;
  /** What a reader's own buffer had no room for, from `#at` on. No script has seen that memory. */
  #rest: Filled | null = null;
  #at = 0;

  constructor(file: Streamed, reader: ReadAhead, autoClose: boolean) {
    this.#file = file;
    this.#reader = reader;
    this.#autoClose = autoClose;
  }

  /** Called when a chunk is wanted, and not again before it is there. */
  async pull(controller: ReadableByteStreamController): Promise<void> {
    let filled = this.#rest;
    try {
      filled ??= await this.#reader.next(asItIs);
    } catch (error) {
      await this.#close();
      throw error;
    }
    const request = controller.byobRequest;
    if (filled === null) {
      await this.#close();
      if (this.#cancelled) return;
      controller.close();
      request?.respond(0);
    } else if (request === null || request.view === null) controller.enqueue(this.#chunk(filled));
    else request.respond(this.#copy(filled, request.view));
  }

  /** The kernel never gets a reader's buffer, which its owner can take back at any time: what was read is copied there. */
  #copy(filled: Filled, view: ArrayBufferView): number {
    const { memory, length } = filled;
    const from = this.#at;
    const count = Math.min(length - from, view.byteLength);
    new Uint8Array(view.buffer, view.byteOffset, count).set(memory.bytes.subarray(from, from + count));
    this.#at = from + count;
    this.#rest = filled;
    if (this.#at === length) this.#forget();
    return count;
  }

  #chunk(filled: Filled): Buffer {
    if (this.#at === 0) return ownChunk(this.#reader, filled);
    // (A stream takes the whole ArrayBuffer of what it is given.)
    const { memory, length } = filled;
    const chunk = Buffer.allocUnsafeSlow(length - this.#at);
    memory.bytes.copy(chunk, 0, this.#at, length);
    this.#forget();
    return chunk;
  }

  #forget(): void {
    if (this.#rest !== null) this.#reader.giveBack(this.#rest.memory);
    this.#rest = null;
    this.#at = 0;
  }

  #cancelled = false;

  async cancel(): Promise<void> {
    this.#cancelled = true;
    this.#forget();
    await this.#reader.stop();
    await this.#close();
  }

  async #close(): Promise<void> {
    if (this.#autoClose) await this.#file.close();
  }
}

/** See `File.readable`. */
export function readable(file: Streamed, given: ReadableOptions | undefined): ReadableStream<Uint8Array> {
  const options = checkOptions(given) ?? {};
  const { alignment } = file;
  const stretch = { ...checkStretch(options, options.ahead), alignment };
  const size = checkSize(options.chunkSize ?? CHUNK_BYTES, 'options.chunkSize');
  const source = new OwnMemory(size, alignment?.memory);
  const reader = new ReadAhead(file.descriptor, source, stretch, given);
  return new ReadableStream(new FileSource(file, reader, checkAutoClose(options.autoClose)));
}

/** The sink below a `WritableStream`. */
class FileSink extends HandleSink {
  readonly #descriptor: Descriptor;
  readonly #options: OpOptions;
  #position: number;

  constructor(file: Streamed, position: number, autoClose: boolean, options: OpOptions) {
    super(file, autoClose);
    this.#descriptor = file.descriptor;
    this.#position = position;
    this.#options = options;
  }

  protected override begin(chunk: Bytes): Future<number> {
    const source = lent(chunk);
    if (source.length === 0) return resolved(0);
    return begin(writing(write(this.#descriptor, source, this.#position)), this.#options);
  }

  protected override written(bytes: number): void {
    if (this.#position !== CURRENT) this.#position += bytes;
  }
}

/** See `File.writable`. */
export function writable(file: Streamed, given: WritableOptions | undefined): WritableStream<WritableChunk> {
  const options = checkOptions(given) ?? {};
  refuseDirect(file.alignment, 'A stream that writes');
  refusal(options); // that it has been cancelled already is told by the first write
  const { start, highWaterMark = CHUNK_BYTES } = options;
  const position = checkPosition(start, 'options.start');
  checkInteger('options.highWaterMark', highWaterMark, 0, Number.MAX_SAFE_INTEGER);
  const autoClose = checkAutoClose(options.autoClose);
  const sink = new FileSink(file, position, autoClose, options);
  return new WritableStream(sink, { highWaterMark, size: sizeOfChunk });
}
