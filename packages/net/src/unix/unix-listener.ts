import { AF_UNIX, SOCK_STREAM } from '@ouro/native/abi';
import {
  type Descriptor,
  type Future,
  flow,
  invalidType,
  NO_OPTIONS,
  type OpOptions,
  placeOfOpening,
  reactor,
} from '@ouro/runtime/driver';
import { checkBacklog } from '../address.ts';
import { listenError } from '../errors.ts';
import { adoptSocket } from '../socket/adopt.ts';
import { OF_CONNECTIONS, refuseMisplaced } from '../socket/misplaced.ts';
import { UNIX_STREAM } from '../socket/opened-socket.ts';
import { type BindPathOptions, type BoundSocket, bindSocket, checkBindPath } from './bind-socket.ts';
import { NamedListener } from './named-listener.ts';
import { checkNameOrNone } from './unix-path.ts';
import { UnixStream } from './unix-stream.ts';

/** Where and how to listen. */
export interface UnixBindOptions extends OpOptions, BindPathOptions {
  /**
   * A path of up to 107 bytes, or, after a zero byte, a name in the abstract namespace, which is no file.
   * @default an abstract name of the kernel's choice: see `address`
   */
  readonly path?: string | undefined;
  /** Connections the kernel keeps for us; limited by `net.core.somaxconn`. @default 511 */
  readonly backlog?: number | undefined;
}

/** What would bound the connections, and what somebody may mean who wants another kind of socket. */
const MISPLACED = {
  ...OF_CONNECTIONS,
  maxConnections: 'only TcpListener.bind has one',
  highWater: 'only TcpListener.bind has one',
  host: 'TcpListener.bind has one',
  port: 'TcpListener.bind has one',
  readableAll: "it is 'mode'",
  writableAll: "it is 'mode'",
} as const;

/** Binds a socket and listens; `make` makes the listener of it. */
export function listenUnix<L>(
  type: number,
  options: UnixBindOptions,
  make: (bound: BoundSocket) => L,
): Future<L> {
  if (typeof options !== 'object' || options === null)
    throw invalidType('options', 'of type object', options);
  refuseMisplaced(options, MISPLACED);
  const name = checkNameOrNone(options.path);
  const { backlog = 511 } = options;
  checkBacklog(backlog);
  const how = checkBindPath(options, name);
  const failed = (errno: number): Error => listenError(errno, name.path ?? '', 0);
  return flow(
    async (steps) =>
      make(await bindSocket(steps, type, name, how, failed, (fd) => reactor().addon.listen(fd, backlog))),
    options,
  );
}

/** A Unix socket that listens: an async iterable of connections. */
export class UnixListener extends NamedListener<UnixStream> {
  /**
   * Binds and listens.
   *
   * @throws `EADDRINUSE`, `EACCES`, `ENOENT` (no such directory)… with `syscall: 'listen'` and the path as `address`, worded as by
   *   `node:net`; TypeError, RangeError at once for what is no path
   */
  static override bind(options: UnixBindOptions = NO_OPTIONS): Future<UnixListener> {
    const place = placeOfOpening(UnixListener.bind);
    return listenUnix(SOCK_STREAM, options, (bound) => new UnixListener(bound, UNIX_STREAM, place));
  }

  /**
   * A listener over the descriptor of a Unix socket that listens already. It is this listener's from here on; its file, if it has
   * one, is not.
   *
   * @throws `EBADF`, `ENOTSOCK`; `ERR_INVALID_FD_TYPE` for another kind of socket
   */
  static fromFd(fd: number): UnixListener {
    adoptSocket(fd, { families: [AF_UNIX], type: SOCK_STREAM, listens: true });
    return new UnixListener({ fd, file: undefined }, UNIX_STREAM, placeOfOpening(UnixListener.fromFd));
  }

  protected override adopt(connection: Descriptor): UnixStream {
    return new UnixStream(connection);
  }
}
