import { AF_UNIX, SOCK_DGRAM } from '@ouro/native/abi';
import {
  type Bytes,
  begin,
  type Future,
  flow,
  invalidType,
  NO_OPTIONS,
  Operation,
  type OpOptions,
  placeOfOpening,
} from '@ouro/runtime/driver';
import { addressError } from '../errors.ts';
import { connect } from '../op/connect.ts';
import { sockaddr, type UnixAddress } from '../sockaddr.ts';
import { adoptSocket } from '../socket/adopt.ts';
import { openedSocket, UNIX_SOCKET } from '../socket/opened-socket.ts';
import { type BindPathOptions, bindSocket, checkBindPath } from './bind-socket.ts';
import { type BoundFile, removeAtEnd } from './bound-file.ts';
import { MessageSocket } from './message-socket.ts';
import { checkPassable, type Passable } from './passable.ts';
import { checkName, checkNameOrNone, unixNameOf } from './unix-path.ts';
import { openUnix, socketPair } from './unix-socket.ts';
import type { UnixConnectOptions } from './unix-stream.ts';

/** Where to receive. */
export interface UnixDatagramBindOptions extends OpOptions, BindPathOptions {
  /**
   * A path of up to 107 bytes, or, after a zero byte, a name in the abstract namespace, which is no file.
   * @default an abstract name of the kernel's choice: see `localAddress`
   */
  readonly path?: string | undefined;
}

/**
 * A Unix socket for messages between processes of one machine: each arrives whole, in the order in which it was sent, or the send
 * fails. None is lost on the way.
 */
export class UnixDatagram extends MessageSocket {
  #file: BoundFile | undefined;

  private constructor(fd: number, place: string | null, file?: BoundFile) {
    const lost = file === undefined ? undefined : (): void => removeAtEnd(file);
    super(openedSocket(fd, UNIX_SOCKET, place, lost), false);
    this.#file = file;
  }

  /**
   * A socket with a name, at which others can send to it.
   *
   * @throws `EADDRINUSE`, `EACCES`… with `syscall: 'bind'` and the path as `address`; TypeError, RangeError at once for what is no path
   */
  static override bind(options: UnixDatagramBindOptions = NO_OPTIONS): Future<UnixDatagram> {
    if (typeof options !== 'object' || options === null)
      throw invalidType('options', 'of type object', options);
    const name = checkNameOrNone(options.path);
    const how = checkBindPath(options, name);
    const failed = (errno: number): Error => addressError(errno, 'bind', name.path ?? '', 0);
    const place = placeOfOpening(UnixDatagram.bind);
    return flow(async (steps) => {
      const { fd, file } = await bindSocket(steps, SOCK_DGRAM, name, how, failed, () => 0);
      return new UnixDatagram(fd, place, file);
    }, options);
  }

  /** A socket without a name: it can send, and nobody can answer. @throws `EMFILE`, `ENFILE` with `syscall: 'socket'` */
  static unbound(): UnixDatagram {
    return new UnixDatagram(openUnix(SOCK_DGRAM), placeOfOpening(UnixDatagram.unbound));
  }

  /** Two sockets that are connected to each other (`socketpair(2)`). @throws `EMFILE`, `ENFILE` */
  static pair(): [UnixDatagram, UnixDatagram] {
    const [one, other] = socketPair(SOCK_DGRAM);
    const place = placeOfOpening(UnixDatagram.pair);
    return [new UnixDatagram(one, place), new UnixDatagram(other, place)];
  }

  /** A socket over a descriptor that came from elsewhere. @throws `EBADF`, `ENOTSOCK`; `ERR_INVALID_FD_TYPE` */
  static fromFd(fd: number): UnixDatagram {
    adoptSocket(fd, { families: [AF_UNIX], type: SOCK_DGRAM, listens: false });
    return new UnixDatagram(fd, placeOfOpening(UnixDatagram.fromFd));
  }

  /** The name of the socket that it is connected to; undefined if it is to none. */
  override get remoteAddress(): UnixAddress | undefined {
    return this.descriptor.closed ? undefined : unixNameOf(this.descriptor.fd, true);
  }

  /**
   * Makes `path` where messages go that say nothing else, and the only one from which they are taken.
   *
   * @throws `ENOENT`, `ECONNREFUSED` (nobody is there any more), `EPROTOTYPE` (not for datagrams), `EPERM` (it is connected to
   *   somebody else)… with `syscall: 'connect'` and the path as `address`
   */
  connect(options: UnixConnectOptions): Future<void> {
    if (typeof options !== 'object' || options === null)
      throw invalidType('options', 'of type object', options);
    const name = checkName(options.path);
    return begin(new Operation(connect(this.descriptor, { path: name.path ?? '' })), options);
  }

  /**
   * Sends `data` as one message, in the order in which sends were asked for. While the receiver has no room (`net.unix.max_dgram_qlen`
   * messages, the sender's buffer) this waits.
   *
   * @param to the receiver; on a connected socket its peer, if nothing is said
   * @returns bytes sent: all
   * @throws `ENOTCONN` (no receiver), `ECONNREFUSED` (nobody is there any more), `ENOENT`, `EMSGSIZE` (longer than the send
   *   buffer), `EPERM` (the receiver is connected to somebody else)… with `syscall: 'sendmsg'`
   */
  send(data: Bytes | string, to?: UnixAddress, options?: OpOptions): Future<number> {
    return this.sendMessage(data, { to: checkTo(to), datagram: true, fds: [] }, options);
  }

  /**
   * Sends descriptors with `data`, as one message (`SCM_RIGHTS`). They are duplicated at once: yours can be closed right away.
   *
   * @throws as `send`; `EBADF`, `EMFILE`, `ETOOMANYREFS`; RangeError for more than 253
   */
  sendDescriptors(
    descriptors: Passable | readonly Passable[],
    data: Bytes | string = '',
    to?: UnixAddress,
    options?: OpOptions,
  ): Future<number> {
    return this.sendMessage(
      data,
      { to: checkTo(to), datagram: true, fds: checkPassable(descriptors) },
      options,
    );
  }

  /** Closes the socket, and removes its file if it is still its own that lies there: see `MessageSocket.close`. */
  override close(): Future<void> {
    removeAtEnd(this.#file);
    this.#file = undefined;
    return super.close();
  }
}

function checkTo(to: UnixAddress | undefined): UnixAddress | undefined {
  if (to !== undefined) sockaddr('to', to);
  return to;
}
