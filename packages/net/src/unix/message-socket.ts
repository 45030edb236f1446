import { EPIPE, MSG_TRUNC, SCM_MAX_FD } from '@ouro/native/abi';
import {
  asBytes,
  type Bytes,
  begin,
  checkBytes,
  checkInteger,
  closedError,
  type Descriptor,
  type Future,
  lengthOf,
  limitsOf,
  NO_OPTIONS,
  Operation,
  type OpOptions,
  refusal,
  rejected,
} from '@ouro/runtime/driver';
import { shown } from '../address.ts';
import { busyError, socketError } from '../errors.ts';
import type { Credentials } from '../op/control.ts';
import { type Arrived, receiveMessage } from '../op/receive-message.ts';
import type { UnixAddress } from '../sockaddr.ts';
import { allocateChunk, MOST_CHUNK } from '../socket/chunk.ts';
import { type Direction, endDirection } from '../socket/direction.ts';
import { SendQueue } from '../socket/send-queue.ts';
import { SocketHandle } from '../socket/socket-handle.ts';
import { passCredentials } from './peer.ts';
import { ReceivedDescriptors } from './received-descriptors.ts';
import { messageSend, type Outgoing } from './send-passing.ts';
import { unixNameOf } from './unix-path.ts';

/** What is known of a message beside its bytes. */
export interface MessageInfo {
  /** Bytes of the message as it was sent: more than there are here if it has been truncated. */
  readonly length: number;
  /** The buffer was too small: the rest of the message is lost. */
  readonly truncated: boolean;
  /** Who sent it: of datagrams, from sockets with a name. */
  readonly address?: UnixAddress | undefined;
  /** Who sent it, where `passCredentials` has asked for it. */
  readonly credentials?: Credentials | undefined;
  /** Descriptors came with it that nobody had asked for, or more than that: the kernel has closed them. */
  readonly descriptorsLost: boolean;
}

/** A message in a buffer of yours. */
export interface ReceivedMessage extends MessageInfo {
  /** Bytes in the buffer. */
  readonly bytes: number;
}

/** The same with its descriptors. */
export interface ReceivedWithDescriptors extends ReceivedMessage {
  /** Take them, or close them. */
  readonly descriptors: ReceivedDescriptors;
}

/** A message in memory of its own. */
export interface UnixMessage extends MessageInfo {
  readonly data: Buffer;
}

/** How descriptors are received. */
export interface MaxDescriptors extends OpOptions {
  /** The most that are taken with one message; the kernel closes the others. @default 253, the most that there can be */
  readonly max?: number | undefined;
}

/** How messages are iterated. */
export interface MessagesOptions extends OpOptions {
  /**
   * Bytes of the longest message; longer ones are truncated, and say so. @default 262144, more than a sender can send whose
   * buffer has the usual size (`net.core.wmem_default`, 212992)
   */
  readonly maxLength?: number | undefined;
}

const MAX_LENGTH = 262_144;
const MOST_LENGTH = 0x7fff_f000;
const NOTHING: Buffer = Buffer.alloc(0);

/** A Unix socket that carries messages, each whole: what datagram and seqpacket sockets have in common. */
export abstract class MessageSocket extends SocketHandle implements AsyncIterable<UnixMessage> {
  /** Whether a message has a timestamp and the end of a connection has none: without, both are nothing received. */
  readonly #stamped: boolean;
  readonly #sends: SendQueue = new SendQueue();
  #receiving: Operation<unknown> | null = null;
  #credentials = false;
  #local: UnixAddress | undefined;

  /** Takes the descriptor of a socket over. */
  protected constructor(descriptor: Descriptor, stamped: boolean) {
    super(descriptor);
    this.#stamped = stamped;
  }

  /** Its name, an empty path if it has none; undefined if it was closed before anybody asked. */
  get localAddress(): UnixAddress | undefined {
    // A socket gets a name at most once, and it may be the kernel that gives it.
    if (!this.descriptor.closed && (this.#local === undefined || this.#local.path === '')) {
      this.#local = unixNameOf(this.descriptor.fd, false);
    }
    return this.#local;
  }

  /**
   * Receives the next message into `buffer`, waiting for it if need be. What has no room is lost, and told (`truncated`).
   *
   * @returns null at the end of a connection
   * @throws `ECONNRESET`… with `syscall: 'recvmsg'`; `ERR_INVALID_STATE` if another receive is waiting
   */
  recv(buffer: Bytes, options?: OpOptions): Future<ReceivedMessage | null> {
    return this.#receive(buffer, 0, options, (arrived, room) =>
      this.#ended(arrived) ? null : { bytes: Math.min(arrived.length, room), ...info(arrived, room) },
    );
  }

  /**
   * Receives the next message with the descriptors that came with it (`SCM_RIGHTS`). `recv` and loops leave no room for
   * descriptors: then the kernel closes them.
   *
   * @returns null at the end of a connection
   * @throws as `recv`
   */
  receiveDescriptors(
    buffer: Bytes,
    options: MaxDescriptors = NO_OPTIONS,
  ): Future<ReceivedWithDescriptors | null> {
    const { max = SCM_MAX_FD } = options;
    checkInteger('options.max', max, 0, SCM_MAX_FD);
    return this.#receive(buffer, max, options, (arrived, room) =>
      this.#ended(arrived)
        ? null
        : {
            bytes: Math.min(arrived.length, room),
            ...info(arrived, room),
            descriptors: new ReceivedDescriptors(arrived.fds),
          },
    );
  }

  #ended({ length, stamped }: Arrived): boolean {
    return this.#stamped && length === 0 && !stamped;
  }

  #receive<T>(
    buffer: Bytes,
    descriptors: number,
    options: OpOptions | undefined,
    make: (arrived: Arrived, room: number) => T,
  ): Future<T> {
    checkBytes('buffer', buffer);
    if (this.descriptor.closed) return rejected(closedError('recvmsg'));
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    if (this.#receiving?.inFlight === true) return rejected(busyError());
    const room = lengthOf(buffer);
    const op = receiveMessage(
      this.descriptor,
      buffer,
      {
        syscall: 'recvmsg',
        flags: MSG_TRUNC,
        address: true,
        stamped: this.#stamped,
        credentials: this.#credentials,
        descriptors,
      },
      (arrived) => make(arrived, room),
    );
    const operation = begin(new Operation(op), options);
    this.#receiving = operation;
    return operation;
  }

  /**
   * Messages in memory of their own, one after the other, until the socket is closed or the connection ends. Leaving the loop loses
   * nothing: what has not been asked for lies in the kernel.
   */
  messages(options: MessagesOptions = NO_OPTIONS): AsyncIterableIterator<UnixMessage, undefined> {
    const { maxLength = MAX_LENGTH, ...limits } = options;
    checkInteger('options.maxLength', maxLength, 1, MOST_LENGTH);
    const begun = !this.descriptor.closed;
    // Pages of it are only there once a message has reached them.
    let room = NOTHING;
    let current: Future<UnixMessage | null> | null = null;
    let left = false;
    const next = async (): Promise<IteratorResult<UnixMessage, undefined>> => {
      if (!begun) throw closedError('recvmsg');
      if (left || this.descriptor.closed) return { done: true, value: undefined };
      if (room.length === 0) room = Buffer.allocUnsafeSlow(maxLength);
      try {
        current = this.#receive(room, 0, limits, (arrived, most) =>
          this.#ended(arrived) ? null : { data: copied(room, arrived.length), ...info(arrived, most) },
        );
        const message = await current;
        return message === null ? { done: true, value: undefined } : { done: false, value: message };
      } catch (error) {
        if (this.descriptor.closed || left) return { done: true, value: undefined };
        throw error;
      }
    };
    const iterator: AsyncIterableIterator<UnixMessage, undefined> = {
      next,
      return: async () => {
        left = true;
        current?.cancel();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  /** `messages()`. */
  [Symbol.asyncIterator](): AsyncIterator<UnixMessage, undefined> {
    return this.messages();
  }

  /** Sends one message in its turn: all of it or nothing. */
  protected sendMessage(
    data: Bytes | string,
    outgoing: Outgoing,
    given: OpOptions | undefined,
  ): Future<number> {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    checkBytes('data', bytes);
    asBytes(bytes); // throws if detached
    const { descriptor } = this;
    if (descriptor.closed) return rejected(closedError('sendmsg'));
    const options = limitsOf(given);
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    if (this.#sends.ended) return rejected(socketError(EPIPE, 'sendmsg'));
    try {
      return begin(messageSend(this.#sends, descriptor, bytes, outgoing), options);
    } catch (error) {
      return rejected(error); // a descriptor cannot be duplicated
    }
  }

  /** Has the kernel say of each message who sent it (`SO_PASSCRED`): of those sent from now on. A socket without a name gets one by it. */
  passCredentials(enable = true): this {
    passCredentials(this.descriptor, enable);
    this.#credentials = enable;
    return this;
  }

  /** @internal */
  protected override get known(): Readonly<Record<string, unknown>> {
    return {
      local: shown(this.localAddress),
      remote: shown(this.remoteAddress),
      bytesQueued: this.#sends.queued,
    };
  }

  /** The name of the socket that it is connected to, as far as it is known. */
  abstract get remoteAddress(): UnixAddress | undefined;

  /** Ends one direction, or both. */
  protected end(how: Direction, options: OpOptions | undefined): Future<void> {
    return endDirection(this.descriptor, this.#sends, how, options);
  }

  /**
   * Closes the socket. Ops in flight are cancelled: a loop over it ends, a `recv` or `send` fails with `ECANCELED`; ops begun from
   * here on fail with `EBADF`. Closing twice is one closing.
   */
  override close(): Future<void> {
    this.#sends.clear();
    return super.close();
  }
}

function info({ length, address, credentials, cut }: Arrived, room: number): MessageInfo {
  return {
    length,
    truncated: length > room,
    descriptorsLost: cut,
    ...(address !== undefined && 'path' in address && address.path !== '' ? { address } : {}),
    ...(credentials === undefined ? {} : { credentials }),
  };
}

/** A copy of a message that lies in `room`. */
function copied(room: Buffer, length: number): Buffer {
  const size = Math.min(length, room.length);
  const data = size <= MOST_CHUNK ? allocateChunk(size) : Buffer.allocUnsafeSlow(size);
  room.copy(data, 0, 0, size);
  return data;
}
