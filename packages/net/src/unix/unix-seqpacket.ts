import { AF_UNIX, SO_TIMESTAMP, SOCK_SEQPACKET, SOL_SOCKET } from '@ouro/native/abi';
import {
  type Bytes,
  type Descriptor,
  type Future,
  flow,
  invalidType,
  NO_OPTIONS,
  type OpOptions,
  placeOfOpening,
  reactor,
} from '@ouro/runtime/driver';
import type { Credentials } from '../op/control.ts';
import type { UnixAddress } from '../sockaddr.ts';
import { adoptSocket } from '../socket/adopt.ts';
import type { Direction } from '../socket/direction.ts';
import { OF_CONNECTIONS, refuseMisplaced } from '../socket/misplaced.ts';
import { openedSocket, UNIX_SOCKET } from '../socket/opened-socket.ts';
import { MessageSocket } from './message-socket.ts';
import { NamedListener } from './named-listener.ts';
import { checkPassable, type Passable } from './passable.ts';
import { peerCredentials, peerPidfd } from './peer.ts';
import { listenUnix, type UnixBindOptions } from './unix-listener.ts';
import { checkName, unixNameOf } from './unix-path.ts';
import { connectUnix, socketPair } from './unix-socket.ts';
import type { UnixConnectOptions } from './unix-stream.ts';

const KIND = { families: [AF_UNIX], type: SOCK_SEQPACKET } as const;

/** A connection over a Unix socket that carries messages, each whole and in order, and has an end as a stream has. */
export class UnixSeqpacket extends MessageSocket {
  #remote: UnixAddress | undefined;

  /** @internal Takes the descriptor of a connected socket over. */
  constructor(descriptor: Descriptor) {
    super(descriptor, true);
    // Only a message has one: so an empty one is told from the end, which the kernel does not say otherwise.
    reactor().addon.setsockopt(descriptor.fd, SOL_SOCKET, SO_TIMESTAMP, 1);
  }

  /**
   * Connects to a socket that listens at `path`. While its backlog is full this waits.
   *
   * @throws as `UnixStream.connect`
   */
  static connect(options: UnixConnectOptions): Future<UnixSeqpacket> {
    if (typeof options !== 'object' || options === null)
      throw invalidType('options', 'of type object', options);
    refuseMisplaced(options, OF_CONNECTIONS);
    const name = checkName(options.path);
    const place = placeOfOpening(UnixSeqpacket.connect);
    return flow(async (steps) => opened(await connectUnix(steps, SOCK_SEQPACKET, name), place), options);
  }

  /** Two sockets that are connected to each other (`socketpair(2)`). @throws `EMFILE`, `ENFILE` */
  static pair(): [UnixSeqpacket, UnixSeqpacket] {
    const [one, other] = socketPair(SOCK_SEQPACKET);
    const place = placeOfOpening(UnixSeqpacket.pair);
    return [opened(one, place), opened(other, place)];
  }

  /** A connection over a descriptor that came from elsewhere. @throws `EBADF`, `ENOTSOCK`; `ERR_INVALID_FD_TYPE` */
  static fromFd(fd: number): UnixSeqpacket {
    return opened(adoptSocket(fd, { ...KIND, listens: false }), placeOfOpening(UnixSeqpacket.fromFd));
  }

  /** The peer's name, an empty path if it has none; undefined if the connection was gone before anybody asked. */
  override get remoteAddress(): UnixAddress | undefined {
    if (!this.descriptor.closed) this.#remote ??= unixNameOf(this.descriptor.fd, true);
    return this.#remote;
  }

  /** Who made the other end: see `UnixStream.peerCredentials`. */
  peerCredentials(): Credentials {
    return peerCredentials(this.descriptor);
  }

  /** A descriptor of the process that made the other end: see `UnixStream.peerPidfd`. */
  peerPidfd(): number {
    return peerPidfd(this.descriptor);
  }

  /**
   * Sends `data` as one message, in the order in which sends were asked for. While the peer has no room this waits.
   *
   * @returns bytes sent: all
   * @throws `EPIPE`, `ECONNRESET`, `EMSGSIZE` (longer than the send buffer)… with `syscall: 'sendmsg'`
   */
  send(data: Bytes | string, options?: OpOptions): Future<number> {
    return this.sendMessage(data, { to: undefined, datagram: false, fds: [] }, options);
  }

  /**
   * Sends descriptors with `data`, as one message (`SCM_RIGHTS`). They are duplicated at once: yours can be closed right away.
   *
   * @throws as `send`; `EBADF`, `EMFILE`, `ETOOMANYREFS`; RangeError for more than 253
   */
  sendDescriptors(
    descriptors: Passable | readonly Passable[],
    data: Bytes | string = '',
    options?: OpOptions,
  ): Future<number> {
    return this.sendMessage(
      data,
      { to: undefined, datagram: false, fds: checkPassable(descriptors) },
      options,
    );
  }

  /**
   * Ends one direction, as `UnixStream.shutdown`: after `'write'` the peer sees the end behind all that was sent before.
   *
   * @throws `ENOTCONN` with `syscall: 'shutdown'`
   */
  shutdown(how: Direction = 'write', options?: OpOptions): Future<void> {
    return this.end(how, options);
  }
}

function opened(fd: number, place: string | null): UnixSeqpacket {
  return new UnixSeqpacket(openedSocket(fd, UNIX_SOCKET, place));
}

/** A seqpacket socket that listens: an async iterable of connections. */
export class UnixSeqpacketListener extends NamedListener<UnixSeqpacket> {
  /** Binds and listens: see `UnixListener.bind`. */
  static override bind(options: UnixBindOptions = NO_OPTIONS): Future<UnixSeqpacketListener> {
    const place = placeOfOpening(UnixSeqpacketListener.bind);
    return listenUnix(
      SOCK_SEQPACKET,
      options,
      (bound) => new UnixSeqpacketListener(bound, UNIX_SOCKET, place),
    );
  }

  /** A listener over the descriptor of a socket that listens already: see `UnixListener.fromFd`. */
  static fromFd(fd: number): UnixSeqpacketListener {
    adoptSocket(fd, { ...KIND, listens: true });
    const place = placeOfOpening(UnixSeqpacketListener.fromFd);
    return new UnixSeqpacketListener({ fd, file: undefined }, UNIX_SOCKET, place);
  }

  protected override adopt(connection: Descriptor): UnixSeqpacket {
    return new UnixSeqpacket(connection);
  }
}
