import type { WritableStream } from 'node:stream/web';
import { EAGAIN, EINTR, EPIPE, MSG_DONTWAIT, MSG_NOSIGNAL } from '@ouro/native/abi';
import { BATCHES } from '@ouro/native/layout';
import {
  asBytes,
  type Bytes,
  begin,
  closedError,
  type Future,
  invalidType,
  isPinned,
  lengthOf,
  lent,
  limitsOf,
  type OpOptions,
  type Pinned,
  reactor,
  refusal,
  rejected,
  resolved,
  snapshot,
  type Target,
  type WritableChunk,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import { type NodeFile, type SendFileOptions, sendFile } from '../transfer/send-file.ts';
import type { Way } from '../transfer/sending.ts';
import { writeZeroCopy } from '../transfer/zero-copy-send.ts';
import { type Direction, endDirection } from './direction.ts';
import type { MessageSend } from './message-send.ts';
import { ReadableHalf } from './readable-half.ts';
import { Send, SendMany } from './send.ts';
import { SendQueue } from './send-queue.ts';
import { type Sent, type WritableOptions, writable } from './web-streams.ts';

/** How all of something is written. */
export interface WriteAllOptions extends OpOptions {
  /**
   * Lend the network the memory itself instead of having it copied (`IORING_OP_SEND_ZC`, 6.0). The memory is the network's until the
   * future has settled, which is when the peer has all of it: so do not wait for one write before the next. Where the kernel cannot
   * (Unix sockets, older kernels, too much lent already), it copies. On loopback it copies in any case, later and for more.
   * @default false
   */
  readonly zeroCopy?: boolean | undefined;
}

/**
 * From here on a send of memory that has not been sent before is tried at once: so it need not be kept from being taken away meanwhile,
 * which costs more (5 µs) than the system call, and it is still in the cache. What is shorter comes out of slabs, which are pinned once.
 */
const AT_ONCE = 16_384;

/** The writing half of a stream: its sends are done one after the other. */
export abstract class WritableHalf extends ReadableHalf implements Sent {
  readonly #sends: SendQueue = new SendQueue();
  /** The turn in which a send was last tried at once. */
  #triedIn = -1;

  /** @internal Where transfers send. */
  get way(): Way {
    return { descriptor: this.descriptor, sends: this.#sends };
  }

  /**
   * Sends some of `data`: as much as the socket takes at once.
   *
   * @returns bytes sent, at least 1
   * @throws `EPIPE`, `ECONNRESET`… with `syscall: 'write'`
   */
  write(data: Bytes | string, options?: OpOptions): Future<number> {
    return this.#send(data, options, Send.part);
  }

  /**
   * Sends all of `data`. Sends are done in the order in which they were asked for, awaited or not.
   *
   * @returns bytes sent: all of them. An error or a cancellation on the way carries `bytesTransferred`.
   */
  writeAll(data: Bytes | string, options?: WriteAllOptions): Future<number> {
    const zeroCopy = options?.zeroCopy;
    if (zeroCopy !== undefined && typeof zeroCopy !== 'boolean') {
      throw invalidType('options.zeroCopy', 'of type boolean', zeroCopy);
    }
    if (zeroCopy === true && options !== undefined) {
      this.idle?.begin();
      return writeZeroCopy(this.way, data, options);
    }
    return this.#send(data, options, Send.whole);
  }

  /**
   * Sends a file, or a part of it, without bringing it to JavaScript: in its turn among the other sends. What is in the page cache
   * is lent to the socket (`sendfile(2)`): if the file is changed while it is on its way, the peer may get the new bytes.
   *
   * @param file a `File`, a direct descriptor, or the number of an open file: they must stay open until the future has settled. A
   *   `FileHandle` of `node:fs/promises`, which may be closed as soon as this has returned
   * @returns bytes sent: fewer than `length` if the file ends before. An error or a cancellation on the way carries
   *   `bytesTransferred`.
   * @throws `EPIPE`, `ECONNRESET`… with `syscall: 'write'`; what is wrong with the file with `syscall: 'read'`; `ECANCELED` if
   *   either is closed meanwhile
   */
  sendFile(file: Target | NodeFile, options?: SendFileOptions): Future<number> {
    this.idle?.begin();
    return sendFile(this.way, file, options);
  }

  #send(data: Bytes | string, options: OpOptions | undefined, make: typeof Send.whole): Future<number> {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    if (!ArrayBuffer.isView(bytes)) throw noBytes('data', 'of type string or ', data);
    const length = lengthOf(bytes);
    if (length === 0) asBytes(bytes); // throws if detached
    const { descriptor } = this;
    if (!descriptor.closed && this.#sends.ended) {
      return rejected(refusal(options) ?? socketError(EPIPE, 'write'));
    }
    if (length >= AT_ONCE && make === Send.whole && !isPinned(bytes)) {
      const refused = refusal(options);
      if (refused !== undefined) return rejected(refused);
      if (this.#mayTry()) return this.#try(bytes, options);
    }
    this.idle?.begin();
    return begin(make(this.#sends, descriptor, bytes), options);
  }

  /** Whether a send may be tried at once: nothing is before it, and not twice in a turn, so that others have theirs. */
  #mayTry(): boolean {
    const { descriptor } = this;
    if (descriptor.closed || descriptor.direct || !descriptor.idle || !this.#sends.idle) return false;
    const turn = reactor().counters[BATCHES];
    if (turn === this.#triedIn) return false;
    this.#triedIn = turn;
    return true;
  }

  /** Sends what the socket takes without waiting, and leaves the rest to the ring. */
  #try(bytes: Bytes, options: OpOptions | undefined): Future<number> {
    const { descriptor } = this;
    const view = asBytes(bytes);
    const result = reactor().addon.send(descriptor.fd, view, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (result < 0 && result !== EAGAIN && result !== EINTR) return rejected(socketError(result, 'write'));
    const sent = Math.max(0, result);
    this.#sends.written += sent;
    if (sent === view.length) return resolved(sent);
    this.idle?.begin();
    return begin(Send.whole(this.#sends, descriptor, view.subarray(sent), sent), options);
  }

  /**
   * Sends all of several buffers, one after the other, in as few messages as it takes (`sendmsg(2)`); any number of them.
   *
   * @returns bytes sent: all of them. An error or a cancellation on the way carries `bytesTransferred`.
   */
  writev(buffers: readonly Bytes[], options?: OpOptions): Future<number> {
    if (!Array.isArray(buffers)) throw invalidType('buffers', 'an instance of Array', buffers);
    const pieces = [...buffers].map((buffer: unknown, i) => {
      if (!ArrayBuffer.isView(buffer)) throw noBytes(`buffers[${i}]`, '', buffer);
      asBytes(buffer); // throws if detached
      return snapshot(buffer);
    });
    return this.#sendMany(pieces, options);
  }

  #sendMany(pieces: readonly Pinned[], options: OpOptions | undefined): Future<number> {
    const { descriptor } = this;
    if (!descriptor.closed && this.#sends.ended) {
      return rejected(refusal(options) ?? socketError(EPIPE, 'write'));
    }
    this.idle?.begin();
    const filled = pieces.filter(({ length }) => length > 0);
    return begin(SendMany.of(this.#sends, descriptor, filled), options);
  }

  /** A send of a message of its own kind, in its turn among the others. */
  protected sendMessage(
    make: (queue: SendQueue) => MessageSend,
    given: OpOptions | undefined,
  ): Future<number> {
    if (this.descriptor.closed) return rejected(closedError('sendmsg'));
    const options = limitsOf(given);
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    if (this.#sends.ended) return rejected(socketError(EPIPE, 'sendmsg'));
    try {
      this.idle?.begin();
      return begin(make(this.#sends), options);
    } catch (error) {
      return rejected(error);
    }
  }

  /** @internal */
  sendLent(chunk: Bytes, options: OpOptions | undefined): Future<number> {
    return this.#sendMany([lent(chunk)], options);
  }

  /** A WHATWG stream that sends what is written to it; closing it ends the writing side, aborting it gives up the chunk in hand. */
  writable(options?: WritableOptions): WritableStream<WritableChunk> {
    return writable(this, options);
  }

  /** Bytes that the kernel has taken to be sent. */
  get bytesWritten(): number {
    return this.#sends.written;
  }

  /** Bytes that have been asked to be sent, and that the kernel has not taken yet. */
  get bytesQueued(): number {
    return this.#sends.queued;
  }

  /**
   * Ends one direction. After `'write'`, the default, the peer sees the end of the stream once all that was sent has
   * arrived, and its answer can still be read. Sends that were asked for before are done first; those asked for
   * afterwards fail with `EPIPE`.
   *
   * @throws `ENOTCONN` with `syscall: 'shutdown'` if the connection is gone already
   */
  shutdown(how: Direction = 'write', options?: OpOptions): Future<void> {
    return endDirection(this.descriptor, this.#sends, how, options);
  }

  /** @internal Fails the sends that have not begun. */
  protected dropSends(): void {
    this.#sends.clear();
  }
}

/** Of what is no bytes. A lease has some: whoever hands it over whole would not know when to release it. */
function noBytes(name: string, also: string, value: unknown): TypeError {
  const error = invalidType(name, `${also}an instance of Buffer, TypedArray, or DataView`, value);
  if (typeof value === 'object' && value !== null && 'release' in value && 'buffer' in value)
    error.message +=
      '. A lease is sent by its memory: write lease.buffer, and release() the lease when that has settled';
  return error;
}
