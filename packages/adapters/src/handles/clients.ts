import net from 'node:net';
import type { Duplex } from 'node:stream';
import type tls from 'node:tls';
import { Socket } from '../net/face.ts';

/** What undici hands to a connector. */
export interface UndiciConnectOptions {
  readonly hostname: string;
  readonly host?: string;
  readonly protocol: string;
  readonly port: string;
  readonly servername?: string;
  readonly localAddress?: string | null;
  readonly httpSocket?: net.Socket;
}

/** How it is answered. */
export type UndiciCallback = (...args: [Error, null] | [null, net.Socket | tls.TLSSocket]) => void;

/** As undici's `buildConnector` has them. */
export interface ConnectorOptions {
  /** Milliseconds that a connect may take. @default 10000 */
  readonly timeout?: number;
  /** Unix socket to connect to in the place of what the URL names. */
  readonly socketPath?: string;
  /** @default true */
  readonly keepAlive?: boolean;
  /** Milliseconds. @default 60000 */
  readonly keepAliveInitialDelay?: number;
  /** Options of `tls.connect`, for `https:`. */
  readonly tls?: tls.ConnectionOptions;
}

const HTTPS_PORT = 443;
const HTTP_PORT = 80;

/**
 * The option `connect` of undici's `Client`, `Pool` and `Agent`: connections on the ring. Those of TLS go over a socket of Node's, as
 * with the register hook.
 */
export function undiciConnect(
  options: ConnectorOptions = {},
): (to: UndiciConnectOptions, callback: UndiciCallback) => void {
  const { timeout = 10_000, socketPath, keepAlive = true, keepAliveInitialDelay = 60_000 } = options;
  return (to, callback) => {
    const secure = to.protocol === 'https:';
    const port = Number(to.port) || (secure ? HTTPS_PORT : HTTP_PORT);
    const target =
      socketPath !== undefined
        ? { path: socketPath }
        : { host: to.hostname, port, ...(to.localAddress ? { localAddress: to.localAddress } : {}) };
    let socket: net.Socket | tls.TLSSocket;
    let done = false;
    const settle = (error: Error | null): void => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      if (error === null) callback(null, socket);
      else callback(error, null);
    };
    const timer = setTimeout(() => {
      const error = Object.assign(new Error(`Connect Timeout Error (timeout: ${timeout}ms)`), {
        name: 'ConnectTimeoutError',
        code: 'UND_ERR_CONNECT_TIMEOUT',
      });
      socket?.destroy(error);
      settle(error);
    }, timeout);
    if (timeout === 0) clearTimeout(timer);
    const begin = (made: net.Socket | tls.TLSSocket, event: string): void => {
      socket = made;
      if (keepAlive) socket.setKeepAlive(true, keepAliveInitialDelay);
      socket.setNoDelay(true);
      socket.once(event, () => settle(null));
      socket.on('error', settle);
    };
    if (!secure) {
      begin(new Socket({ highWaterMark: 65_536 } as net.SocketConstructorOpts).connect(target), 'connect');
      return;
    }
    const servername = to.servername ?? (net.isIP(to.hostname) === 0 ? to.hostname : undefined);
    const secureOptions: tls.ConnectionOptions = {
      ...options.tls,
      ...target,
      ...(servername === undefined ? {} : { servername }),
      ...(to.httpSocket === undefined ? {} : { socket: to.httpSocket }),
    };
    import('node:tls').then(({ connect }) => begin(connect(secureOptions), 'secureConnect'), settle);
  };
}

/** The option `stream` of pg's `Client` and `Pool`: connections on the ring. */
export function pgStream(): net.Socket {
  return new Socket();
}

/** What mysql2 knows of where to connect to. */
export interface Mysql2StreamOptions {
  readonly config: { readonly host?: string; readonly port?: number | string; readonly socketPath?: string };
}

/** The option `stream` of mysql2's connections and pools. */
export function mysql2Stream({ config }: Mysql2StreamOptions): Duplex {
  const { host = 'localhost', port = 3306, socketPath } = config;
  return new Socket().connect(socketPath === undefined ? { host, port: Number(port) } : { path: socketPath });
}

/** What ioredis constructs a connector with. */
export interface RedisConnectorOptions {
  readonly host?: string;
  readonly port?: number;
  readonly path?: string;
  readonly family?: number;
  readonly tls?: unknown;
}

/**
 * The option `Connector` of ioredis: connections on the ring.
 *
 * @remarks For `tls` and sentinels use ioredis' own.
 */
export class RedisConnector {
  /** ioredis asks for it. */
  firstError?: Error;
  protected connecting = false;
  protected stream: net.Socket | undefined;
  readonly #options: RedisConnectorOptions;

  constructor(options: RedisConnectorOptions) {
    this.#options = options;
  }

  /** @internal Asked by ioredis before it takes note of a close. */
  check(_info: unknown): boolean {
    return true;
  }

  /** Connects; ioredis listens for the socket's events itself. */
  connect(_emitError?: unknown): Promise<net.Socket> {
    const { path, host = 'localhost', port = 6379, family } = this.#options;
    this.connecting = true;
    this.stream = new Socket();
    this.stream.connect(
      path !== undefined && path !== '' ? { path } : { host, port, ...(family ? { family } : {}) },
    );
    return Promise.resolve(this.stream);
  }

  /** Ends the connection. */
  disconnect(): void {
    this.connecting = false;
    this.stream?.end();
  }
}
