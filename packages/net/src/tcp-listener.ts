import {
  AF_INET6,
  EADDRINUSE,
  EADDRNOTAVAIL,
  ECANCELED,
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
  closedError,
  type Descriptor,
  type Future,
  flow,
  invalidType,
  type OpOptions,
  OrdinaryDescriptor,
  reactor,
  refusal,
  rejected,
} from '@ouro/runtime/driver';
import { Acceptor } from './acceptor.ts';
import {
  checkBacklog,
  checkHost,
  checkPort,
  type Endpoint,
  endpoint,
  resolve,
  type SocketAddress,
} from './address.ts';
import { listenError, socketError } from './errors.ts';
import { TcpStream } from './tcp-stream.ts';

/** Where and how to listen. */
export interface BindOptions extends OpOptions {
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
}

/** A listening socket: an async iterable of connections. */
export class TcpListener implements AsyncDisposable, AsyncIterable<TcpStream> {
  readonly #acceptor: Acceptor;
  /** @internal What ops refer to. */
  readonly descriptor: Descriptor;

  /** Where it listens, the port chosen by the kernel included. */
  readonly address: SocketAddress;

  private constructor(fd: number, address: SocketAddress) {
    this.descriptor = new OrdinaryDescriptor(fd);
    this.address = address;
    this.#acceptor = new Acceptor(fd);
  }

  /**
   * Binds and listens.
   *
   * @throws `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`… with `syscall: 'listen'`, `address` and `port`, worded as by `node:net`
   */
  static bind(options: BindOptions = {}): Future<TcpListener> {
    if (typeof options !== 'object' || options === null)
      throw invalidType('options', 'of type object', options);
    const { backlog = 511 } = options;
    const host = checkHost(options.host);
    const port = checkPort(options.port ?? 0);
    checkBacklog(backlog);
    return flow(async (steps) => {
      const [place] = await steps.step(resolve(host ?? '::', port));
      steps.check();
      if (place === undefined) throw listenError(EADDRNOTAVAIL, host ?? '::', port);
      const first = TcpListener.#listen(place, backlog, options);
      if (first instanceof TcpListener) return first;
      // Where nobody asked for a certain address, whatever keeps us from IPv6 leads to IPv4, as in Node.
      if (host !== undefined || first === EADDRINUSE) throw listenError(first, place.address, port);
      const v4 = endpoint('0.0.0.0', port);
      const second = TcpListener.#listen(v4, backlog, options);
      if (second instanceof TcpListener) return second;
      throw listenError(second, v4.address, port);
    }, options);
  }

  /** A listener, or the errno that prevented it. */
  static #listen(place: Endpoint, backlog: number, options: BindOptions): TcpListener | number {
    const { addon } = reactor();
    const fd = addon.socket(place.family, SOCK_STREAM, IPPROTO_TCP);
    if (fd < 0) return fd;
    const set = (level: number, name: number, value: boolean | undefined): number =>
      value === undefined ? 0 : addon.setsockopt(fd, level, name, value ? 1 : 0);
    const failed =
      // A restarted server must not wait for its old connections to time out; Node sets it too.
      set(SOL_SOCKET, SO_REUSEADDR, true) ||
      set(SOL_SOCKET, SO_REUSEPORT, options.reusePort) ||
      // Connections inherit it, which saves a call for each.
      set(IPPROTO_TCP, TCP_NODELAY, options.noDelay) ||
      (place.family === AF_INET6 ? set(IPPROTO_IPV6, IPV6_V6ONLY, options.ipv6Only ?? false) : 0) ||
      addon.bind(fd, place.sockaddr) ||
      addon.listen(fd, backlog);
    const address = failed === 0 ? addon.getsockname(fd) : failed;
    if (typeof address === 'number') {
      reactor().discard(fd);
      return address;
    }
    return new TcpListener(fd, address);
  }

  /** The descriptor; -1 once closed. It stays this listener's: do not close it. */
  get fd(): number {
    return this.descriptor.fd;
  }

  /**
   * The next connection. A shortage of descriptors or memory (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`) is waited out:
   * connections stay in the kernel's backlog meanwhile.
   *
   * @throws `ECANCELED` when the listener is closed meanwhile, `EBADF` if it was before
   */
  accept(options?: OpOptions): Future<TcpStream> {
    if (this.descriptor.closed) return rejected(closedError('accept'));
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    return flow(
      async (steps) => {
        const fd = await steps.step(this.#acceptor.next());
        if (fd === null) throw socketError(ECANCELED, 'accept');
        return new TcpStream(fd);
      },
      options,
      this.#acceptor.refed,
    );
  }

  /** Connections until the listener is closed. Leaving the loop early leaves it listening, and accepting no more for now. */
  [Symbol.asyncIterator](): AsyncIterator<TcpStream, undefined> {
    const begun = !this.descriptor.closed;
    return {
      next: async (): Promise<IteratorResult<TcpStream, undefined>> => {
        if (!begun) throw closedError('accept');
        const fd = this.descriptor.closed ? null : await this.#acceptor.next();
        return fd === null ? { done: true, value: undefined } : { done: false, value: new TcpStream(fd) };
      },
      return: async (): Promise<IteratorResult<TcpStream, undefined>> => {
        this.#acceptor.pause();
        return { done: true, value: undefined };
      },
    };
  }

  /** Lets the listener keep the process alive: the default. */
  ref(): this {
    this.#acceptor.setRef(true);
    return this;
  }

  /** Lets the process end although the listener waits for connections. */
  unref(): this {
    this.#acceptor.setRef(false);
    return this;
  }

  /** Stops listening; loops over the listener end. Connections already taken go on. Closing twice is one closing. */
  close(): Future<void> {
    return this.descriptor.close(() => new Promise<void>((stopped) => this.#acceptor.close(stopped)));
  }

  [Symbol.asyncDispose](): Future<void> {
    return this.close();
  }
}
