import type { TLSSocket } from 'node:tls';
import {
  AF_INET,
  AF_INET6,
  IPPROTO_TCP,
  SO_DOMAIN,
  SO_LINGER,
  SO_RCVBUF,
  SO_SNDBUF,
  SOCK_STREAM,
  SOL_SOCKET,
  TCP_NODELAY,
} from '@ouro/native/abi';
import {
  begin,
  checkInteger,
  closedError,
  type Descriptor,
  Expired,
  type Future,
  flow,
  invalidType,
  NO_OPTIONS,
  Operation,
  type OpOptions,
  placeOfOpening,
  reactor,
  rejected,
  type SystemError,
} from '@ouro/runtime/driver';
import type { SocketAddress } from '../address.ts';
import { givenUp, socketError } from '../errors.ts';
import { getsockopt } from '../op/sockopt.ts';
import { adoptSocket } from '../socket/adopt.ts';
import { connected, connectFailed } from '../socket/channels.ts';
import { openedSocket, TCP_STREAM } from '../socket/opened-socket.ts';
import { ask, getOption, setOptions, typeOfService } from '../socket/options.ts';
import type { StreamLimits } from '../socket/readable-half.ts';
import { SocketStream } from '../socket/socket-stream.ts';
import { Handshake, type UpgradeOptions } from '../tls/upgrade.ts';
import { type ConnectOptions, checkConnect } from './connect-options.ts';
import { type KeepAlive, keepAliveOptions } from './keep-alive.ts';
import { lookUp } from './lookup.ts';
import { Race } from './race.ts';
import { bytesAcked, type TcpInfo, tcpInfo } from './tcp-info.ts';

/** Both ends of a connection. */
export interface Addresses {
  readonly local: SocketAddress;
  /** Undefined if the peer was gone before anybody asked. */
  readonly remote: SocketAddress | undefined;
}

/** What is known of a connection before anybody asks. */
interface Known extends StreamLimits {
  readonly remote?: SocketAddress;
  /** What it was connected to by name. */
  readonly host?: string;
}

/** `struct linger` with `l_onoff` and without a second. */
const RESET = Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0]);

/**
 * A TCP connection. Every method that does I/O returns a future.
 *
 * A buffer that is handed in belongs to the op until its future has settled: do not change or read it before.
 */
export class TcpStream extends SocketStream {
  readonly #host: string | undefined;
  #local: SocketAddress | undefined;
  #remote: SocketAddress | undefined;

  /** @internal Takes the descriptor of a connected socket over. */
  constructor(descriptor: Descriptor, known: Known = NO_OPTIONS) {
    if (descriptor === undefined) throw new TypeError('Use TcpStream.connect, or TcpStream.fromFd');
    super(descriptor, known);
    this.#host = known.host;
    this.#remote = known.remote;
  }

  /**
   * Connects to `host` and `port`. A name is looked up by `node:dns`, and its addresses are tried as `node:net` tries them: see
   * `autoSelectFamily`. Cancelled, timed out or failed, it leaves no socket behind.
   *
   * @throws `ECONNREFUSED`, `EHOSTUNREACH`, `ETIMEDOUT`… with `syscall: 'connect'`, `address` and `port`, worded as by
   *   `node:net`; `EADDRINUSE`, `EADDRNOTAVAIL` with `syscall: 'bind'` for our own end; what `node:dns` says for a name
   *   that is none; an `AggregateError` with the `code` of its first error if several addresses were tried and all failed
   */
  static connect(options: ConnectOptions): Future<TcpStream> {
    const to = checkConnect(options);
    const place = placeOfOpening(TcpStream.connect);
    return flow(async (steps) => {
      const { host, port, highWater } = to;
      try {
        const endpoints = await steps.step(lookUp(to));
        steps.check();
        const made = await steps.step(new Race(endpoints, to, place).start());
        const { address, family } = made.to;
        const remote = { address, port, family: family === AF_INET6 ? 'IPv6' : 'IPv4' } as const;
        const stream = new TcpStream(made.descriptor, { remote, host, highWater });
        if (connected.hasSubscribers) connected.publish({ stream });
        return stream;
      } catch (failure) {
        // (While the name is looked up there is no address yet.)
        const late =
          steps.reason instanceof Expired && (failure as Partial<SystemError>).syscall !== 'connect';
        const error = late ? givenUp(steps.reason, 'connect', 0, { address: host, port }) : failure;
        if (connectFailed.hasSubscribers) connectFailed.publish({ host, port, error });
        throw error;
      }
    }, options);
  }

  /** What `connect` was given as `host`; undefined for a connection that was accepted. */
  get host(): string | undefined {
    return this.#host;
  }

  /**
   * A stream over the descriptor of a connected TCP socket that came from elsewhere. It is this stream's from here on.
   *
   * @throws `EBADF`, `ENOTSOCK`; `ERR_INVALID_FD_TYPE` for another kind of socket
   */
  static fromFd(fd: number): TcpStream {
    adoptSocket(fd, { families: [AF_INET, AF_INET6], type: SOCK_STREAM, listens: false });
    return new TcpStream(openedSocket(fd, TCP_STREAM, placeOfOpening(TcpStream.fromFd)));
  }

  /** Our end; undefined if the stream was closed before anybody asked, and on a direct descriptor before `addresses()`. */
  override get localAddress(): SocketAddress | undefined {
    this.#local ??= this.#name('getsockname');
    return this.#local;
  }

  /**
   * The peer's end; undefined if the connection was gone before anybody asked, and on a direct descriptor before
   * `addresses()`.
   */
  override get remoteAddress(): SocketAddress | undefined {
    this.#remote ??= this.#name('getpeername');
    return this.#remote;
  }

  #name(call: 'getsockname' | 'getpeername'): SocketAddress | undefined {
    if (this.descriptor.closed || this.descriptor.direct) return undefined;
    const name = reactor().addon[call](this.descriptor.fd);
    return typeof name === 'number' ? undefined : name;
  }

  /**
   * Both ends. On a direct descriptor this is the only way to learn them: it gets a number of the process for as long as the
   * question takes (6.8); afterwards `localAddress` and `remoteAddress` know them too.
   *
   * @throws `EMFILE` if no number is left for that
   */
  addresses(options?: OpOptions): Future<Addresses> {
    return ask(
      this.descriptor,
      'getsockname',
      (fd) => {
        const { addon } = reactor();
        const local = this.#local ?? addon.getsockname(fd);
        if (typeof local === 'number') throw socketError(local, 'getsockname');
        const remote = this.#remote ?? addon.getpeername(fd);
        this.#local = local;
        this.#remote = typeof remote === 'number' ? undefined : remote;
        return { local, remote: this.#remote };
      },
      options,
    );
  }

  /**
   * Sends small writes at once (`TCP_NODELAY`), or lets the kernel gather them. Like all that sets an option, it has been done
   * when the call returns, or, on a direct descriptor, before any op that is begun later; its future says whether it failed.
   */
  setNoDelay(noDelay = true): Future<void> {
    return setOptions(this.descriptor, [[IPPROTO_TCP, TCP_NODELAY, noDelay ? 1 : 0]]);
  }

  /**
   * Has the kernel look whether the peer of a silent connection is still there.
   *
   * @param idle milliseconds of silence before the first probe, rounded up to seconds; left out, as it is
   * @param interval milliseconds between probes, rounded up to seconds
   * @param count probes without an answer after which reads fail with `ETIMEDOUT`
   */
  setKeepAlive(
    enable = true,
    idle?: KeepAlive['idle'],
    interval?: KeepAlive['interval'],
    count?: KeepAlive['count'],
  ): Future<void> {
    return setOptions(this.descriptor, keepAliveOptions('keepAlive', enable, { idle, interval, count }));
  }

  /**
   * The type of service of the packets that are sent, in IPv4 (`IP_TOS`) as in IPv6 (`IPV6_TCLASS`).
   *
   * @param value 0 to 255: the DSCP in the upper six bits. The lower two are the kernel's
   */
  setTypeOfService(value: number, options?: OpOptions): Future<void> {
    checkInteger('value', value, 0, 255);
    const { descriptor } = this;
    if (descriptor.closed) return rejected(closedError('setsockopt'));
    if (!descriptor.direct) {
      const domain = getOption(descriptor, SOL_SOCKET, SO_DOMAIN);
      return setOptions(descriptor, typeOfService(domain === AF_INET6, value));
    }
    return flow(async (steps) => {
      const domain = await steps.step(begin(new Operation(getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN))));
      await steps.step(setOptions(descriptor, typeOfService(domain === AF_INET6, value)));
    }, options);
  }

  /**
   * Bytes that the kernel keeps for us of what has arrived: about half of it is for data. What was set comes back doubled, as the
   * kernel counts. @throws `ERR_OURO_UNSUPPORTED` on a direct descriptor, where the op `getsockopt` can be submitted
   */
  get receiveBufferSize(): number {
    return getOption(this.descriptor, SOL_SOCKET, SO_RCVBUF);
  }

  /** Bytes that the kernel takes of what is to be sent, counted likewise. */
  get sendBufferSize(): number {
    return getOption(this.descriptor, SOL_SOCKET, SO_SNDBUF);
  }

  /** Sets the bytes that the kernel keeps of what has arrived, up to `net.core.rmem_max`: it no longer adapts them itself. */
  setReceiveBufferSize(bytes: number): Future<void> {
    return this.#setSize(SO_RCVBUF, bytes);
  }

  /** Sets the bytes that the kernel takes of what is to be sent, up to `net.core.wmem_max`. */
  setSendBufferSize(bytes: number): Future<void> {
    return this.#setSize(SO_SNDBUF, bytes);
  }

  #setSize(name: number, bytes: number): Future<void> {
    checkInteger('bytes', bytes, 1, 0x3fff_ffff);
    return setOptions(this.descriptor, [[SOL_SOCKET, name, bytes]]);
  }

  /** @internal */
  override get taken(): number | Future<number> {
    const { descriptor } = this;
    if (descriptor.closed) return 0;
    return descriptor.direct ? ask(descriptor, 'getsockopt', bytesAcked) : bytesAcked(descriptor.fd);
  }

  /** What the kernel knows of the connection: times, losses, windows, bytes. For a direct descriptor as `addresses`. */
  info(options?: OpOptions): Future<TcpInfo> {
    return ask(this.descriptor, 'getsockopt', tcpInfo, options);
  }

  /**
   * Goes on in TLS: resolves to a `tls.TLSSocket` over this stream when the handshake is done, at once for a connection just made or
   * in the middle of one (STARTTLS), when neither side sends more in the clear. Options are those of `tls.connect`, or with
   * `isServer: true` of `tls.createServer`; for a server pass the same object each time, since what is made of it is made
   * once for each object. The name that the certificate is checked for, `servername`, is by default the host that
   * `connect` was given.
   *
   * The stream is the TLS socket's from then on: destroying that closes it. If the handshake fails, is cancelled or takes
   * longer than `timeout`, the stream is closed.
   *
   * @throws what `node:tls` says: `CERT_HAS_EXPIRED`, `ERR_TLS_CERT_ALTNAME_INVALID`, `ECONNRESET`…
   */
  toTls(options: UpgradeOptions = NO_OPTIONS): Future<TLSSocket> {
    if (typeof options !== 'object' || options === null)
      throw invalidType('options', 'of type object', options);
    if (this.descriptor.closed) return rejected(closedError('read'));
    return flow(async (steps) => {
      const handshake = new Handshake(this.toDuplex());
      return steps.step(handshake.start(options, this.#host));
    }, options);
  }

  /**
   * Closes the connection by a reset: the peer's reads and writes fail with `ECONNRESET`, what has been sent and has not arrived
   * is dropped, and no port is kept in TIME_WAIT. Ops in flight end as with `close`.
   */
  reset(): Future<void> {
    const { descriptor } = this;
    if (descriptor.closed) return this.close();
    const lingering = setOptions(descriptor, [[SOL_SOCKET, SO_LINGER, RESET]]);
    // Queued behind that.
    const closing = this.close();
    return flow(async () => {
      await Promise.allSettled([lingering]);
      await closing;
    });
  }
}
