import { AF_UNIX, SCM_MAX_FD, SO_MEMINFO, SOCK_STREAM, SOL_SOCKET } from '@ouro/native/abi';
import {
  asBytes,
  type Bytes,
  checkBytes,
  checkInteger,
  type Descriptor,
  type Future,
  flow,
  invalidType,
  lengthOf,
  NO_OPTIONS,
  type OpOptions,
  outOfRange,
  placeOfOpening,
} from '@ouro/runtime/driver';
import type { Credentials } from '../op/control.ts';
import { receiveMessage } from '../op/receive-message.ts';
import type { UnixAddress } from '../sockaddr.ts';
import { adoptSocket } from '../socket/adopt.ts';
import { OF_CONNECTIONS, refuseMisplaced } from '../socket/misplaced.ts';
import { openedSocket, UNIX_STREAM } from '../socket/opened-socket.ts';
import { optionNumber } from '../socket/options.ts';
import { SocketStream } from '../socket/socket-stream.ts';
import { checkPassable, type Passable } from './passable.ts';
import { peerCredentials, peerPidfd } from './peer.ts';
import { ReceivedDescriptors } from './received-descriptors.ts';
import { messageSend } from './send-passing.ts';
import { checkName, unixNameOf } from './unix-path.ts';
import { connectUnix, socketPair } from './unix-socket.ts';

/** Where to connect. */
export interface UnixConnectOptions extends OpOptions {
  /** A path of up to 107 bytes, or, after a zero byte, an abstract name. */
  readonly path: string;
}

/** How descriptors are received. */
export interface ReceiveDescriptorsOptions extends OpOptions {
  /** The most that are taken with one message; the kernel closes the others. @default 253, the most that there can be */
  readonly max?: number | undefined;
}

/** What has come with descriptors. */
export interface DescriptorsReceived {
  /** Bytes in the buffer; 0 at the end of the stream. */
  readonly bytes: number;
  /** Take them, or close them. */
  readonly descriptors: ReceivedDescriptors;
  /** There were more than asked for, or than this process may open: the kernel has closed them (`MSG_CTRUNC`). */
  readonly descriptorsLost: boolean;
}

// What `SO_MEMINFO` says: nine numbers of 32 bits, of which one is the memory of what the peer has not read.
const MEMINFO_BYTES = 36;
const MEMINFO_SENT = 8;

/** Bytes that go with descriptors in one piece, however small the socket's buffer. */
const MOST_WITH_DESCRIPTORS = 2048;
/** What goes with them if nothing else does: on a stream there must be a byte that they belong to. */
const ONE_BYTE: Buffer = Buffer.alloc(1);

/** A connection over a Unix socket. Beside what every stream can do, it passes descriptors and knows who its peer is. */
export class UnixStream extends SocketStream {
  #local: UnixAddress | undefined;
  #remote: UnixAddress | undefined;

  /** @internal Takes the descriptor of a connected socket over. */
  constructor(descriptor: Descriptor) {
    super(descriptor);
  }

  /**
   * Connects to a socket that listens at `path`. While its backlog is full this waits.
   *
   * @throws `ENOENT`, `ECONNREFUSED` (nobody listens there any more), `EACCES`, `EPROTOTYPE` (not a stream)… with `syscall: 'connect'`
   *   and the path as `address`, worded as by `node:net`; TypeError, RangeError at once for what is no path
   */
  static connect(options: UnixConnectOptions): Future<UnixStream> {
    if (typeof options !== 'object' || options === null)
      throw invalidType('options', 'of type object', options);
    refuseMisplaced(options, OF_CONNECTIONS);
    const name = checkName(options.path);
    const place = placeOfOpening(UnixStream.connect);
    return flow(async (steps) => opened(await connectUnix(steps, SOCK_STREAM, name), place), options);
  }

  /** Two streams that are connected to each other (`socketpair(2)`). @throws `EMFILE`, `ENFILE` */
  static pair(): [UnixStream, UnixStream] {
    const [one, other] = socketPair(SOCK_STREAM);
    const place = placeOfOpening(UnixStream.pair);
    return [opened(one, place), opened(other, place)];
  }

  /**
   * A stream over the descriptor of a connected Unix socket that came from elsewhere. It is this stream's from here on.
   *
   * @throws `EBADF`, `ENOTSOCK`; `ERR_INVALID_FD_TYPE` for another kind of socket
   */
  static fromFd(fd: number): UnixStream {
    adoptSocket(fd, { families: [AF_UNIX], type: SOCK_STREAM, listens: false });
    return opened(fd, placeOfOpening(UnixStream.fromFd));
  }

  /** Our end's name, an empty path if it has none; undefined if the stream was closed before anybody asked. */
  override get localAddress(): UnixAddress | undefined {
    if (!this.descriptor.closed) this.#local ??= unixNameOf(this.descriptor.fd, false);
    return this.#local;
  }

  /** The peer's name, an empty path if it has none; undefined if the stream was closed before anybody asked. */
  override get remoteAddress(): UnixAddress | undefined {
    if (!this.descriptor.closed) this.#remote ??= unixNameOf(this.descriptor.fd, true);
    return this.#remote;
  }

  /** @internal */
  override get taken(): number {
    const { descriptor } = this;
    if (descriptor.closed) return 0;
    return optionNumber(descriptor.fd, SOL_SOCKET, SO_MEMINFO, MEMINFO_BYTES, MEMINFO_SENT);
  }

  /**
   * Who made the other end, as the kernel noted it when the connection was made (or the pair, or when the listener began to
   * listen): a process that has passed its end on since is still the one named.
   *
   * @throws `EBADF` once closed
   */
  peerCredentials(): Credentials {
    return peerCredentials(this.descriptor);
  }

  /**
   * A descriptor of the process that made the other end (pidfd, Linux 6.5), which cannot come to mean another process. Yours to
   * close.
   *
   * @throws `ENOPROTOOPT` on older kernels, `ESRCH` if that process is gone, `EBADF` once closed
   */
  peerPidfd(): number {
    return peerPidfd(this.descriptor);
  }

  /**
   * Sends descriptors, with `data` in one piece (`SCM_RIGHTS`), in its turn among the writes. They are duplicated at once: yours can
   * be closed right away.
   *
   * @param data at most 2048 bytes, at least one: what the peer reads them with @default one zero byte
   * @returns bytes of data sent: all
   * @throws `EBADF`, `EMFILE`, `ETOOMANYREFS` (too many in flight), `EPIPE`… with `syscall: 'sendmsg'`; RangeError for more than 253
   */
  sendDescriptors(
    descriptors: Passable | readonly Passable[],
    data: Bytes | string = ONE_BYTE,
    options?: OpOptions,
  ): Future<number> {
    const fds = checkPassable(descriptors);
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    checkBytes('data', bytes);
    const { length } = asBytes(bytes);
    if (length < 1 || length > MOST_WITH_DESCRIPTORS) {
      throw outOfRange('data.byteLength', `>= 1 && <= ${MOST_WITH_DESCRIPTORS}`, length);
    }
    const { descriptor } = this;
    return this.sendMessage(
      (queue) => messageSend(queue, descriptor, bytes, { to: undefined, datagram: false, fds }),
      options,
    );
  }

  /**
   * Receives what has arrived, as `read`, and the descriptors that came with it. The bytes of two messages with descriptors are never in
   * one result.
   *
   * Descriptors come only with this: those that arrive while a `read`, a loop or a pipe reads the stream are closed by the
   * kernel.
   *
   * @throws as `read`
   */
  receiveDescriptors(
    buffer: Bytes,
    options: ReceiveDescriptorsOptions = NO_OPTIONS,
  ): Future<DescriptorsReceived> {
    checkBytes('buffer', buffer);
    const { max = SCM_MAX_FD } = options;
    checkInteger('options.max', max, 0, SCM_MAX_FD);
    if (lengthOf(buffer) === 0) throw outOfRange('buffer.byteLength', '>= 1', 0);
    const op = receiveMessage<DescriptorsReceived>(
      this.descriptor,
      buffer,
      { syscall: 'read', flags: 0, address: false, stamped: false, credentials: false, descriptors: max },
      ({ length, fds, cut }) => ({
        bytes: length,
        descriptors: new ReceivedDescriptors(fds),
        descriptorsLost: cut,
      }),
    );
    const without = (bytes: number): DescriptorsReceived => ({
      bytes,
      descriptors: new ReceivedDescriptors([]),
      descriptorsLost: false,
    });
    return this.receiveMessage(op, buffer, without, options);
  }
}

function opened(fd: number, place: string | null): UnixStream {
  return new UnixStream(openedSocket(fd, UNIX_STREAM, place));
}
