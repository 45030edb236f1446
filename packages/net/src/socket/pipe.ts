import type { Writable } from 'node:stream';
import { ECANCELED } from '@ouro/native/abi';
import { type Bytes, type Future, flow, invalidType, type OpOptions, type Steps } from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import type { Chunk } from './arrivals.ts';
import { ChunkLease } from './chunk-lease.ts';
import { OF_CONNECTIONS, refuseMisplaced } from './misplaced.ts';
import type { Receiver } from './receiver.ts';
import { type Looped, stop } from './stream-loop.ts';
import { Wait } from './wait.ts';
import { nextBatch, nextLeases } from './want.ts';

/** A handle of ours, such as a stream or a file. */
interface Handle {
  readonly descriptor: object;
  writev(buffers: readonly Bytes[]): Future<number>;
  shutdown?(how: 'write'): Future<void>;
  close(): Future<void>;
}

/** Whatever else takes bytes, all of them. */
interface WritesAll {
  writeAll(data: Bytes): PromiseLike<unknown>;
  close?(): PromiseLike<unknown>;
}

/** What a stream can be piped to. */
export type PipeTarget = Handle | WritesAll | Writable;

/** How a stream is piped. */
export interface PipeOptions extends OpOptions {
  /**
   * End the target when this stream ends: the writing side of a stream, `end()` of a Writable, `close()` of whatever else.
   * @default true
   */
  readonly end?: boolean | undefined;
}

/** Where bytes go. */
interface Sink {
  /** Whether it has done with the bytes when `write` is over, so that they may be lent. */
  readonly lends: boolean;
  /** Writes all of them. What it throws says how many it has taken (`bytesTransferred`). */
  write(buffers: readonly Buffer[], steps: Steps): Promise<void>;
  end(steps: Steps): Promise<void>;
  /** Of so many bytes that it has taken in all, those that are not lost with it. */
  written?(taken: number): number;
}

class HandleSink implements Sink {
  readonly lends = true;
  readonly #to: Handle;

  constructor(to: Handle) {
    this.#to = to;
  }

  async write(buffers: readonly Buffer[], steps: Steps): Promise<void> {
    await steps.step(this.#to.writev(buffers));
  }

  async end(steps: Steps): Promise<void> {
    const to = this.#to;
    await (to.shutdown === undefined ? to.close() : steps.step(to.shutdown('write')));
  }
}

class WriteAllSink implements Sink {
  /** (It may keep what it is given.) */
  readonly lends = false;
  readonly #to: WritesAll;

  constructor(to: WritesAll) {
    this.#to = to;
  }

  async write(buffers: readonly Buffer[], steps: Steps): Promise<void> {
    let written = 0;
    for (const buffer of buffers) {
      try {
        steps.check();
        const writing = this.#to.writeAll(buffer);
        await (isFuture(writing) ? steps.step(writing) : writing);
        written += buffer.length;
      } catch (error) {
        throw withBytes(error, written + bytesOf(error));
      }
    }
  }

  async end(): Promise<void> {
    await this.#to.close?.();
  }
}

class WritableSink implements Sink {
  readonly lends = false;
  readonly #to: Writable;
  /** Bytes that it has been given, and those of them that it has said are written. */
  #given = 0;
  #written = 0;

  constructor(to: Writable) {
    this.#to = to;
  }

  async write(buffers: readonly Buffer[], steps: Steps): Promise<void> {
    const to = this.#to;
    const before = this.#given;
    try {
      for (const buffer of buffers) {
        if (to.destroyed || to.writableEnded) throw prematureClose(to);
        this.#given += buffer.length;
        if (
          !to.write(buffer, (error) => {
            if (error === null || error === undefined) this.#written += buffer.length;
          })
        )
          await this.#wait('drain', steps);
      }
    } catch (error) {
      throw withBytes(error, Math.max(0, this.written(this.#given) - before));
    }
  }

  /** What it holds when it is destroyed is not written any more. */
  written(given: number): number {
    return this.#to.destroyed ? this.#written : given;
  }

  async end(steps: Steps): Promise<void> {
    const to = this.#to;
    if (to.destroyed) throw prematureClose(to);
    // As with pipe() of node:stream: others write there, too.
    if (to === process.stdout || to === process.stderr) return;
    to.end();
    if (!to.writableFinished) await this.#wait('finish', steps);
  }

  async #wait(event: 'drain' | 'finish', steps: Steps): Promise<void> {
    const to = this.#to;
    if (to.destroyed) throw prematureClose(to);
    const wait = new Wait<void>();
    const happened = (): void => wait.resolve();
    const failed = (error: unknown): void => wait.reject(error);
    const closed = (): void => wait.reject(prematureClose(to));
    to.once(event, happened).once('error', failed).once('close', closed);
    try {
      await steps.step(wait);
    } finally {
      to.off(event, happened).off('error', failed).off('close', closed);
    }
  }
}

function prematureClose(to: Writable): Error {
  return to.errored ?? Object.assign(new Error('Premature close'), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
}

function isFuture(value: PromiseLike<unknown>): value is Future<unknown> {
  return 'cancel' in value && typeof value.cancel === 'function';
}

/** Bytes that had moved before an error, as far as it says. */
function bytesOf(error: unknown): number {
  const count = (error as { bytesTransferred?: unknown } | null | undefined)?.bytesTransferred;
  return typeof count === 'number' ? count : 0;
}

function withBytes(error: unknown, bytesTransferred: number): unknown {
  if (bytesTransferred > 0 && error instanceof Error) Object.assign(error, { bytesTransferred });
  return error;
}

/** The same for the whole: what it says of a part of it is not to stay. */
function withAllBytes(error: unknown, bytesTransferred: number): unknown {
  if (bytesTransferred === 0 && error instanceof Error) Reflect.deleteProperty(error, 'bytesTransferred');
  return withBytes(error, bytesTransferred);
}

function sinkOf(to: unknown): Sink {
  if (typeof to === 'object' && to !== null) {
    const { descriptor, writev, writeAll, write, once } = to as Partial<Record<string, unknown>>;
    if (typeof descriptor === 'object' && typeof writev === 'function') return new HandleSink(to as Handle);
    if (typeof writeAll === 'function') return new WriteAllSink(to as WritesAll);
    if (typeof write === 'function' && typeof once === 'function') return new WritableSink(to as Writable);
  }
  throw invalidType('to', 'a stream, a file, an instance of Writable or an object with writeAll', to);
}

/** See `SocketStream.pipe`. */
export function pipe(stream: Looped, to: PipeTarget, options: PipeOptions | undefined): Future<number> {
  const sink = sinkOf(to);
  if (options !== undefined && options !== null) refuseMisplaced(options, OF_CONNECTIONS);
  const end = options?.end ?? true;
  if (typeof end !== 'boolean') throw invalidType('options.end', 'of type boolean', end);
  return flow(
    async (steps) => {
      let moved = 0;
      try {
        for (;;) {
          steps.check();
          if (stream.closed) throw socketError(ECANCELED, 'read');
          const receiver = stream.receive();
          const next: Future<IteratorResult<readonly Chunk[], undefined>> = sink.lends
            ? receiver.wait(nextLeases)
            : receiver.wait(nextBatch);
          const { done, value } = await steps.step(next);
          if (done) break;
          moved += await forward(value, sink, steps, receiver);
        }
        // An iteration ends with its stream, but that is not the peer's end.
        if (stream.closed) throw socketError(ECANCELED, 'read');
        if (end) await sink.end(steps);
        return moved;
      } catch (error) {
        moved += bytesOf(error);
        await stop(stream);
        throw withAllBytes(error, sink.written?.(moved) ?? moved);
      }
    },
    options,
    stream.refed,
  );
}

/** Writes chunks, and puts back what could not be written. */
async function forward(
  chunks: readonly Chunk[],
  sink: Sink,
  steps: Steps,
  receiver: Receiver,
): Promise<number> {
  const buffers = chunks.map((chunk) => (chunk instanceof ChunkLease ? chunk.buffer : chunk));
  const total = buffers.reduce((sum, { length }) => sum + length, 0);
  try {
    await sink.write(buffers, steps);
    return total;
  } catch (error) {
    const written = bytesOf(error);
    // (Copies: a target may have kept, or taken away, what it was given.)
    if (written < total) receiver.putBack(Buffer.concat(buffers).subarray(written));
    throw error;
  } finally {
    for (const chunk of chunks) if (chunk instanceof ChunkLease) chunk.release();
  }
}
