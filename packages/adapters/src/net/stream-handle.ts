import type { Socket } from 'node:net';
import { EBADF, EINVAL, ENOTCONN, SO_LINGER, SOL_SOCKET } from '@ouro/native/abi';
import { lengthOf, reactor } from '@ouro/runtime/driver';
import { tally } from '../stats.ts';
import { soon } from '../timers.ts';
import { cut, cutAt } from './chunks.ts';
import { Closing } from './closing.ts';
import type { Internals } from './internals.ts';
import { Reader, type ReadListener } from './reader.ts';
import { Scope } from './scope.ts';
import { type Encoder, encoderOf, LATIN1, UCS2, UTF8 } from './text.ts';
import { callBack } from './ticks.ts';
import { LATER, type WriteListener, Writer } from './writer.ts';

const EOF = -4095;
/** A longer Buffer is sent from where it lies: owning its memory costs less than copying it. */
const MOST_COPIED = 16_384;
const NOTHING = new Uint8Array(0);

/** A request object of Node's: `WriteWrap`, `ShutdownWrap`, `TCPConnectWrap`. */
export interface Request {
  oncomplete?: ((...args: unknown[]) => void) | undefined;
  error?: unknown;
  writeStatus?: number | null;
}

/** What owns a handle, as far as we speak to it. */
interface Owner {
  readonly destroyed: boolean;
  destroy(error?: Error): void;
}

/** Puts text where it is to be sent from, and returns the number of bytes. */
function putText(bytes: Buffer, text: string, encoding: unknown, at: number): number {
  const encoder = encoderOf(encoding);
  if (encoder !== undefined) return encoder.put(bytes, text, at, text.length * encoder.widest);
  const decoded = Buffer.from(text, encoding as BufferEncoding);
  bytes.set(decoded, at);
  return decoded.length;
}

/** Takes what arrives instead of `onread`: see `http/consume.ts`. */
export interface Consumer {
  data(source: Uint8Array, at: number, length: number): void;
}

const reads = tally('net', 'read');
const writes = tally('net', 'write');

type AfterConnection = (handle: StreamHandle, socket: Socket) => void;

let afterConnection: AfterConnection | undefined;

/** To be called with each connection that a server has got, when its listeners have seen it. */
export function setAfterConnection(then: AfterConnection): void {
  afterConnection = then;
}

type Errno = (errno: number, syscall: string) => Error;

/** `util._errnoException`: the error of a system call, worded as libuv does. */
let errnoException: Errno | undefined;

/** To be told once. */
export function setErrnoException(make: Errno): void {
  errnoException = make;
}

/**
 * What `net.Socket` finds under `_handle` in the place of Node's own `TCP` or `Pipe`: the same methods and fields, the same reports
 * through `streamBaseState`, `onread` and `req.oncomplete`; the bytes go over the ring.
 */
export abstract class StreamHandle implements ReadListener, WriteListener {
  /** Set by `net.js`. */
  onread: ((memory?: ArrayBuffer) => unknown) | undefined = undefined;
  onconnection: ((status: number, client?: StreamHandle) => void) | undefined = undefined;
  reading = false;
  /** There is no native stream behind it: TLS and HTTP/2 go by way of JavaScript, and `node:http` parses what `data` brings. */
  readonly isStreamBase = false;
  bytesRead = 0;
  bytesWritten = 0;
  protected descriptor = -1;
  protected refed = true;
  protected closing = false;
  /** Whether others may have the descriptor, too. */
  protected shared = false;
  protected readonly scope: Scope;
  protected readonly node: Internals;
  #reader: Reader | null = null;
  #writer: Writer | null = null;
  #userBuffer: Uint8Array | null = null;
  #consumer: Consumer | null = null;
  #shutDown = false;
  #onceClosed: (() => void) | null = null;

  protected constructor(node: Internals, type: string, triggerAsyncId?: number) {
    this.node = node;
    this.scope = new Scope(type, triggerAsyncId);
  }

  /** Who asks for it may give it to others. */
  get fd(): number {
    this.shared = true;
    return this.descriptor;
  }

  get writeQueueSize(): number {
    return this.#writer?.unsent ?? 0;
  }

  /** The object that `net.js` has put this handle under. */
  get ownerObject(): Owner | undefined {
    return (this as unknown as Record<symbol, Owner | undefined>)[this.node.owner];
  }

  /** Takes over a descriptor. */
  protected use(fd: number): void {
    this.descriptor = fd;
  }

  getAsyncId(): number {
    return this.scope.asyncId;
  }

  getProviderType(): number {
    return 0;
  }

  /** A keep-alive connection goes to another request. */
  asyncReset(): void {
    this.scope.reset();
  }

  ref(): void {
    this.refed = true;
    this.#reader?.setRef(true);
  }

  unref(): void {
    this.refed = false;
    this.#reader?.setRef(false);
  }

  hasRef(): boolean {
    return this.refed && !this.closing;
  }

  setBlocking(): number {
    return 0;
  }

  useUserBuffer(buffer: Uint8Array): void {
    this.#userBuffer = buffer;
  }

  readStart(): number {
    if (this.closing) return EBADF;
    if (this.descriptor < 0) return ENOTCONN;
    this.#reader ??= this.#makeReader();
    this.#reader.start();
    return 0;
  }

  readStop(): number {
    this.#reader?.stop();
    return 0;
  }

  #makeReader(): Reader {
    const reader = new Reader(this.descriptor, this);
    if (!this.refed) reader.setRef(false);
    return reader;
  }

  /** Does not read before what is returned has been called, with what somebody else has read before: see `Reader.release`. */
  holdReads(): Reader['release'] {
    this.#reader ??= this.#makeReader();
    const reader = this.#reader;
    reader.hold();
    return (...args) => reader.release(...args);
  }

  /** Reads no more, and hands over what has arrived and nobody has got. */
  takeKept(): Promise<Buffer[]> {
    return this.#reader?.takeKept() ?? Promise.resolve([]);
  }

  /** Receives no more, because another process goes on. */
  letOthersRead(): void {
    this.shared = true;
    this.#reader?.giveUp();
    reactor().flush();
  }

  /** Calls `then` when it is closed. */
  onceClosed(then: () => void): void {
    this.#onceClosed = then;
  }

  /** Has what arrives go to somebody else; null for `onread` again. */
  consume(consumer: Consumer | null): void {
    this.#consumer = consumer;
  }

  /** A server has got a connection. */
  protected connected(onconnection: NonNullable<StreamHandle['onconnection']>, client: StreamHandle): void {
    this.scope.run(() => {
      onconnection.call(this, 0, client);
      if (afterConnection === undefined || client.closing) return;
      const socket = client.ownerObject;
      if (socket !== undefined) afterConnection(client, socket as unknown as Socket);
    }, undefined);
  }

  /** @internal */
  data(source: Uint8Array, at: number, length: number): void {
    reads.ours++;
    this.bytesRead += length;
    if (this.#consumer !== null) {
      this.scope.run(this.#consumer.data, this.#consumer, source, at, length);
      return;
    }
    if (this.#userBuffer !== null) {
      this.#fillUserBuffer(Buffer.from(source.subarray(at, at + length)));
      return;
    }
    const memory = cut(length);
    new Uint8Array(memory, cutAt, length).set(source.subarray(at, at + length));
    this.#onread(length, memory, cutAt);
  }

  /** @internal */
  owned(bytes: Buffer): void {
    reads.ours++;
    this.bytesRead += bytes.length;
    if (this.#consumer !== null) {
      this.scope.run(this.#consumer.data, this.#consumer, bytes, 0, bytes.length);
    } else if (this.#userBuffer !== null) this.#fillUserBuffer(bytes);
    else this.#onread(bytes.length, bytes.buffer as ArrayBuffer, bytes.byteOffset);
  }

  #onread(nread: number, memory?: ArrayBuffer, offset = 0): unknown {
    const { node, onread } = this;
    node.state[node.readBytesOrError] = nread;
    node.state[node.arrayBufferOffset] = offset;
    if (onread === undefined) return undefined;
    return this.scope.run(onread, this, memory);
  }

  /** The option `onread`: the program's own buffer, over and over. */
  #fillUserBuffer(bytes: Buffer): void {
    let left = bytes;
    while (left.length > 0) {
      if (this.closing) return;
      if (!this.reading) {
        this.bytesRead -= left.length;
        this.#reader?.putBack(left);
        return;
      }
      const target = this.#userBuffer ?? NOTHING;
      const count = Math.min(left.length, target.length);
      if (count === 0) return;
      target.set(left.subarray(0, count));
      left = left.subarray(count);
      const next = this.#onread(count);
      if (next instanceof Uint8Array) this.#userBuffer = next;
    }
  }

  /** @internal */
  ended(errno: number): void {
    this.#onread(errno === 0 ? EOF : errno);
  }

  /** @internal */
  writeFailed(errno: number): void {
    const owner = this.ownerObject;
    if (owner === undefined || owner.destroyed || errnoException === undefined) return;
    const error = errnoException(errno, 'write');
    this.scope.run(owner.destroy, owner, error);
  }

  /** Why nothing can be written; 0 if it can. */
  #refusal(): number {
    if (this.descriptor < 0 || this.closing) return EBADF;
    this.#writer ??= new Writer(this.descriptor, this);
    return this.#writer.error;
  }

  #wrote(bytes: number, later: boolean): number {
    const { node } = this;
    node.state[node.bytesWritten] = bytes;
    node.state[node.lastWriteWasAsync] = later ? 1 : 0;
    this.bytesWritten += bytes;
    return 0;
  }

  writeBuffer(request: Request | null, bytes: Uint8Array): number | Request {
    const refused = this.#refusal();
    if (refused !== 0) return refused;
    writes.ours++;
    const length = lengthOf(bytes);
    const writer = this.#writer as Writer;
    if (length > MOST_COPIED || !writer.stages(length)) return this.#queue(request, [bytes], length);
    if (length > 0) {
      const stage = writer.room(length);
      stage.bytes.set(bytes, stage.at + stage.used);
      writer.staged(stage, length);
    }
    return this.#wrote(length, false);
  }

  writev(request: Request | null, chunks: readonly unknown[], allBuffers: boolean): number | Request {
    const refused = this.#refusal();
    if (refused !== 0) return refused;
    writes.ours++;
    const step = allBuffers ? 1 : 2;
    let most = 0;
    for (let i = 0; i < chunks.length; i += step) {
      const chunk = chunks[i];
      if (typeof chunk === 'string') most += chunk.length * (encoderOf(chunks[i + 1])?.widest ?? 2);
      else most += lengthOf(chunk as Uint8Array);
    }
    const writer = this.#writer as Writer;
    if (!writer.stages(most)) return this.#writevQueued(request, chunks, step);
    if (most === 0) return this.#wrote(0, false);
    const stage = writer.room(most);
    const begin = stage.at + stage.used;
    let at = begin;
    for (let i = 0; i < chunks.length; i += step) {
      const chunk = chunks[i];
      if (typeof chunk === 'string') at += putText(stage.bytes, chunk, chunks[i + 1], at);
      else {
        stage.bytes.set(chunk as Uint8Array, at);
        at += lengthOf(chunk as Uint8Array);
      }
    }
    writer.staged(stage, at - begin);
    return this.#wrote(at - begin, false);
  }

  #writevQueued(request: Request | null, chunks: readonly unknown[], step: number): number | Request {
    const pieces: Uint8Array[] = [];
    let length = 0;
    for (let i = 0; i < chunks.length; i += step) {
      const chunk = chunks[i];
      const piece =
        typeof chunk === 'string'
          ? Buffer.from(chunk, chunks[i + 1] as BufferEncoding)
          : (chunk as Uint8Array);
      pieces.push(piece);
      length += lengthOf(piece);
    }
    return this.#queue(request, pieces, length);
  }

  /** @param given null on versions of Node that want to be given one, to fill in the rest */
  #queue(given: Request | null, pieces: readonly Uint8Array[], length: number): number | Request {
    const writer = this.#writer as Writer;
    const request = given ?? { oncomplete: undefined, error: undefined, writeStatus: null };
    const state = writer.queue(pieces, (errno) => this.finish(request, errno));
    if (state < 0) return state;
    const result = this.#wrote(length, state === LATER);
    if (given !== null || state !== LATER) return result;
    const { node } = this;
    if (node.lastWriteErr >= 0) node.state[node.lastWriteErr] = 0;
    return request;
  }

  /** Tells whoever made a request how it has ended. */
  protected finish(request: Request, status: number, ...more: unknown[]): void {
    const { oncomplete } = request;
    if (oncomplete !== undefined) this.scope.run(oncomplete, request, status, this, ...more);
  }

  #writeString(request: Request | null, text: string, encoder: Encoder): number | Request {
    const refused = this.#refusal();
    if (refused !== 0) return refused;
    writes.ours++;
    const writer = this.#writer as Writer;
    const most = text.length * encoder.widest;
    if (!writer.stages(most)) {
      const bytes = Buffer.from(text, encoder.name);
      return this.#queue(request, [bytes], bytes.length);
    }
    if (most === 0) return this.#wrote(0, false);
    const stage = writer.room(most);
    const length = encoder.put(stage.bytes, text, stage.at + stage.used, most);
    writer.staged(stage, length);
    return this.#wrote(length, false);
  }

  writeLatin1String(request: Request | null, text: string): number | Request {
    return this.#writeString(request, text, LATIN1);
  }

  writeAsciiString(request: Request | null, text: string): number | Request {
    return this.#writeString(request, text, LATIN1);
  }

  writeUtf8String(request: Request | null, text: string): number | Request {
    return this.#writeString(request, text, UTF8);
  }

  writeUcs2String(request: Request | null, text: string): number | Request {
    return this.#writeString(request, text, UCS2);
  }

  shutdown(request: Request): number {
    if (this.descriptor < 0 || this.closing || this.#shutDown) return ENOTCONN;
    this.#shutDown = true;
    this.#writer ??= new Writer(this.descriptor, this);
    this.#writer.shutdown((status) => this.finish(request, status));
    return 0;
  }

  /** Closes with a reset in the place of an end. */
  reset(then?: () => void): number {
    if (this.descriptor < 0 || this.closing) return EBADF;
    if (this.#shutDown && (this.#writer?.unsent ?? 0) > 0) return EINVAL;
    const linger = new Uint8Array(new Int32Array([1, 0]).buffer);
    const failed = reactor().addon.setsockopt(this.descriptor, SOL_SOCKET, SO_LINGER, linger);
    if (failed < 0) return failed;
    this.close(then);
    return 0;
  }

  close(then?: () => void): void {
    if (this.closing) return;
    this.closing = true;
    const done = (): void => this.#afterClose(then);
    const fd = this.descriptor;
    if (fd < 0) {
      soon(done);
      return;
    }
    let waiting = 3;
    const part = (): void => {
      waiting--;
      if (waiting === 0) callBack(done);
    };
    if (this.#reader === null) part();
    else this.#reader.close(part);
    this.letGo(part);
    // In the queue behind the end of all others, so that the peer hears of it in this turn.
    const close = (): void => {
      this.descriptor = -1;
      Closing.begin(fd, part);
    };
    if (this.#writer === null) close();
    else this.#writer.close(close);
  }

  /** Ends what else is in flight; calls `then` when the kernel has let go. */
  protected letGo(then: () => void): void {
    then();
  }

  #afterClose(then: (() => void) | undefined): void {
    this.#onceClosed?.();
    try {
      if (typeof then === 'function') this.scope.run(then, this);
    } finally {
      this.scope.end();
    }
  }
}
