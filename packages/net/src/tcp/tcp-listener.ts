import {
  AF_INET,
  AF_INET6,
  EADDRINUSE,
  EADDRNOTAVAIL,
  ENFILE,
  IPPROTO_IPV6,
  IPPROTO_TCP,
  IPV6_V6ONLY,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOCK_STREAM,
  SOL_SOCKET,
  TCP_NODELAY,
} from '@ouro/native/abi';
import {
  checkInteger,
  type Descriptor,
  type FileRegistry,
  type Future,
  files,
  flow,
  invalidType,
  NO_OPTIONS,
  type OpOptions,
  placeOfOpening,
  reactor,
  systemError,
} from '@ouro/runtime/driver';
import {
  checkBacklog,
  checkHost,
  checkPort,
  type Endpoint,
  endpoint,
  resolve,
  type SocketAddress,
} from '../address.ts';
import { listenError, socketError } from '../errors.ts';
import { adoptSocket } from '../socket/adopt.ts';
import { listening } from '../socket/channels.ts';
import { OF_CONNECTIONS, refuseMisplaced } from '../socket/misplaced.ts';
import { TCP_LISTENER, TCP_STREAM } from '../socket/opened-socket.ts';
import type { Option } from '../socket/options.ts';
import { checkHighWater, type StreamLimits } from '../socket/readable-half.ts';
import { SocketListener } from '../socket/socket-listener.ts';
import { checkKeepAlive, type KeepAlive } from './keep-alive.ts';
import { TcpStream } from './tcp-stream.ts';

/** What `net.Server.listen` knows, and what it is here. */
const MISPLACED = {
  ...OF_CONNECTIONS,
  mode: 'a port has no permissions',
  path: 'UnixListener.bind has one',
  fd: 'TcpListener.fromFd takes one',
  keepAliveInitialDelay: "it is 'keepAlive: { idle }'",
} as const;

/** Where and how to listen. */
export interface BindOptions extends OpOptions, StreamLimits {
  /** Name or address. @default '::' (which takes IPv4 as well), or '0.0.0.0' where there is no IPv6 */
  readonly host?: string | undefined;
  /** 0 lets the kernel choose: see `TcpListener.address`. @default 0 */
  readonly port?: number | undefined;
  /** Connections the kernel keeps for us; limited by `net.core.somaxconn`. @default 511 */
  readonly backlog?: number | undefined;
  /** Let several sockets listen on this port, the kernel spreading the load (`SO_REUSEPORT`). @default false */
  readonly reusePort?: boolean | undefined;
  /** On an IPv6 address, take no IPv4. @default false */
  readonly ipv6Only?: boolean | undefined;
  /** `TCP_NODELAY` on every connection accepted. @default false */
  readonly noDelay?: boolean | undefined;
  /** Look after silent connections, on every connection accepted: see `TcpStream.setKeepAlive`. @default false */
  readonly keepAlive?: boolean | KeepAlive | undefined;
  /**
   * Connections open at a time. When there are so many no more are accepted until one is closed: those that come wait in the
   * kernel's backlog, and behind that their SYN is dropped and sent again by the peer. `node:net` accepts and closes
   * them. @default none
   */
  readonly maxConnections?: number | undefined;
  /**
   * Accept into the ring's own table of open files (5.19): a connection has no descriptor of the process, and its ops need
   * no look-up of one. There is room for half of `RunOptions.fixedFiles` connections; when that is taken no more are
   * accepted until one is closed. What needs a number of the process (`addresses`, `info`) asks for one for a moment.
   * @default false
   */
  readonly direct?: boolean | undefined;
}

/** What is asked of a listener beside its address. */
interface Plan {
  readonly backlog: number;
  readonly most: number;
  readonly table: FileRegistry | null;
  readonly highWater: number | undefined;
  readonly ipv6Only: boolean;
  /** Connections inherit all of them, which saves calls for each. */
  readonly options: readonly Option[];
}

/** As Node has it. */
const DEFAULT_BACKLOG = 511;

/** No kernel keeps more connections in a backlog unless its administrator says so (`net.core.somaxconn`). */
const USUAL_MOST_BACKLOG = 4096;
/** Without anything that was asked for. */
const PLAIN: Plan = {
  backlog: DEFAULT_BACKLOG,
  most: Number.POSITIVE_INFINITY,
  table: null,
  highWater: undefined,
  ipv6Only: false,
  options: [],
};

function flag(level: number, name: number, value: boolean | undefined): Option[] {
  return value === undefined ? [] : [[level, name, value ? 1 : 0]];
}

/** A listening socket: an async iterable of connections. */
export class TcpListener extends SocketListener<TcpStream> {
  /** Where it listens, the port chosen by the kernel included. */
  override readonly address: SocketAddress;

  readonly #plan: Plan;

  private constructor(fd: number, address: SocketAddress, place: string | null, plan: Plan = PLAIN) {
    const { most, table, backlog } = plan;
    const what = { kind: TCP_LISTENER, connection: TCP_STREAM, place };
    super(fd, what, { most, table, burst: Math.min(backlog, USUAL_MOST_BACKLOG) + 1 });
    this.address = address;
    this.#plan = plan;
  }

  /**
   * Binds and listens.
   *
   * @throws `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`… with `syscall: 'listen'`, `address` and `port`, worded as by `node:net`;
   *   with `direct`, `EMFILE` if `RunOptions.fixedFiles` is more than the limit of open files, `ENFILE` if it is 1
   */
  static override bind(options: BindOptions = NO_OPTIONS): Future<TcpListener> {
    if (typeof options !== 'object' || options === null)
      throw invalidType('options', 'of type object', options);
    const {
      backlog = DEFAULT_BACKLOG,
      maxConnections: most = Number.POSITIVE_INFINITY,
      highWater,
      direct,
      ipv6Only,
    } = options;
    refuseMisplaced(options, MISPLACED);
    const host = checkHost(options.host);
    const port = checkPort(options.port ?? 0);
    checkBacklog(backlog);
    checkHighWater(highWater);
    if (most !== Number.POSITIVE_INFINITY) checkInteger('options.maxConnections', most, 1, 0x7fff_ffff);
    const { reusePort, noDelay } = options;
    for (const [name, value] of Object.entries({ direct, ipv6Only, reusePort, noDelay })) {
      if (value !== undefined && typeof value !== 'boolean')
        throw invalidType(`options.${name}`, 'of type boolean', value);
    }
    const asked: Option[] = [
      // A restarted server must not wait for its old connections to time out; Node sets it too.
      [SOL_SOCKET, SO_REUSEADDR, 1],
      ...flag(SOL_SOCKET, SO_REUSEPORT, reusePort),
      ...flag(IPPROTO_TCP, TCP_NODELAY, noDelay),
      ...checkKeepAlive(options.keepAlive),
    ];
    const opener = placeOfOpening(TcpListener.bind);
    return flow(async (steps) => {
      const [place] = await steps.step(resolve(host ?? '::', port));
      steps.check();
      if (place === undefined) throw listenError(EADDRNOTAVAIL, host ?? '::', port);
      const table = direct === true ? tableForMany() : null;
      const plan = { backlog, most, table, highWater, ipv6Only: ipv6Only ?? false, options: asked };
      const first = TcpListener.#listen(place, plan, opener);
      if (first instanceof TcpListener) return first;
      // Where nobody asked for a certain address, whatever keeps us from IPv6 leads to IPv4, as in Node.
      if (host !== undefined || first === EADDRINUSE) throw listenError(first, place.address, port);
      const v4 = endpoint('0.0.0.0', port);
      const second = TcpListener.#listen(v4, plan, opener);
      if (second instanceof TcpListener) return second;
      throw listenError(second, v4.address, port);
    }, options);
  }

  /** A listener, or the errno that prevented it. */
  static #listen(place: Endpoint, plan: Plan, opener: string | null): TcpListener | number {
    const { addon } = reactor();
    const fd = addon.socket(place.family, SOCK_STREAM, IPPROTO_TCP);
    if (fd < 0) return fd;
    const set = ([level, name, value]: Option): number => addon.setsockopt(fd, level, name, value);
    const v6only: Option = [IPPROTO_IPV6, IPV6_V6ONLY, plan.ipv6Only ? 1 : 0];
    const options = place.family === AF_INET6 ? [...plan.options, v6only] : plan.options;
    const failed =
      options.map(set).find((result) => result < 0) ??
      (addon.bind(fd, place.sockaddr) || addon.listen(fd, plan.backlog));
    const address = failed === 0 ? addon.getsockname(fd) : failed;
    if (typeof address === 'number') {
      reactor().discard(fd);
      return address;
    }
    const listener = new TcpListener(fd, address, opener, plan);
    if (listening.hasSubscribers) listening.publish({ listener });
    return listener;
  }

  /**
   * A listener over the descriptor of a TCP socket that listens already. It is this listener's from here on.
   *
   * @throws `EBADF`, `ENOTSOCK`; `ERR_INVALID_FD_TYPE` for another kind of socket
   */
  static fromFd(fd: number): TcpListener {
    adoptSocket(fd, { families: [AF_INET, AF_INET6], type: SOCK_STREAM, listens: true });
    const address = reactor().addon.getsockname(fd);
    if (typeof address === 'number') throw socketError(address, 'getsockname');
    return new TcpListener(fd, address, placeOfOpening(TcpListener.fromFd));
  }

  protected override adopt(connection: Descriptor): TcpStream {
    const { highWater } = this.#plan;
    return new TcpStream(connection, { highWater });
  }
}

/** The table of direct descriptors, if the kernel may choose places in it. */
function tableForMany(): FileRegistry {
  const table = files();
  if (table.capacity > 1) return table;
  throw systemError(
    ENFILE,
    'listen',
    null,
    'RunOptions.fixedFiles is 1, which leaves no place for connections',
  );
}
