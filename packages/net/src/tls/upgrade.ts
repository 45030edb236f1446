import { EventEmitter } from 'node:events';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import tls, { type ConnectionOptions, type TLSSocket, type TlsOptions } from 'node:tls';
import { awaitFast, cancellation, Deferred, type OpOptions } from '@ouro/runtime/driver';

/** How the end that has connected begins: `tls.connect`'s options without those that say where to connect. */
export interface TlsClientOptions
  extends Omit<ConnectionOptions, 'host' | 'port' | 'path' | 'socket' | 'timeout' | 'lookup'>,
    OpOptions {
  readonly isServer?: false;
  /** Whether our side goes on when the peer has ended his. @default false */
  readonly allowHalfOpen?: boolean | undefined;
}

/** How the end that has accepted answers: `tls.createServer`'s options. */
export interface TlsServerOptions extends TlsOptions, OpOptions {
  readonly isServer: true;
}

/** What `toTls` takes. */
export type UpgradeOptions = TlsClientOptions | TlsServerOptions;

/** A handshake over a Duplex. Cancelled or failed, it destroys that. */
export class Handshake extends Deferred<TLSSocket> {
  readonly #duplex: Duplex;
  #socket: TLSSocket | null = null;
  /** Whether it is done. Who cancels it then has the socket, and closes that if he wants. */
  #done = false;

  constructor(duplex: Duplex) {
    super();
    this.#duplex = duplex;
  }

  /** @param host what the stream was connected to, if that is known: whose certificate is expected */
  start(options: UpgradeOptions, host: string | undefined): this {
    const duplex = this.#duplex;
    // The TLS socket is to end what the peer has ended, unless the program wants otherwise, and looks here for that. But the
    // Duplex itself must not: what the TLS socket still has to write goes there.
    duplex.allowHalfOpen = options.allowHalfOpen === true;
    if (options.isServer === true) this.#startServer(options);
    else this.#startClient(options, host);
    duplex.allowHalfOpen = true;
    return this;
  }

  #startClient(options: TlsClientOptions, host: string | undefined): void {
    const { signal: _signal, scope: _scope, timeout: _timeout, isServer: _isServer, ...rest } = options;
    const named = host === undefined || isIP(host) !== 0 ? {} : { servername: host };
    const socket = tls.connect({
      ...(host === undefined ? {} : { host }),
      ...named,
      ...rest,
      socket: this.#duplex,
    });
    this.#socket = socket;
    const failed = (error: Error): void => this.#fail(error);
    const closed = (): void => this.#fail(hungUp());
    socket.once('error', failed);
    socket.once('close', closed);
    socket.once('secureConnect', () => {
      socket.removeListener('error', failed);
      socket.removeListener('close', closed);
      this.#ready(socket);
    });
  }

  #startServer(options: TlsServerOptions): void {
    const server = new OneConnection(serverFor(options));
    server.accept(
      this.#duplex,
      (socket) => this.#ready(socket),
      (error) => this.#fail(error),
    );
  }

  #ready(socket: TLSSocket): void {
    this.#done = true;
    this.resolve(socket);
  }

  #fail(error: unknown): void {
    if (this.#done) return;
    // Whatever else goes wrong on the way down has been told by this.
    for (const each of [this.#socket, this.#duplex]) {
      each?.on('error', () => {});
      each?.destroy();
    }
    if (this.#duplex.closed) this.reject(error);
    else this.#duplex.once('close', () => this.reject(error));
  }

  override cancel(reason?: unknown): void {
    this.#fail(cancellation(reason));
  }
}
awaitFast(Handshake);

/** As Node words it. */
function hungUp(): Error {
  return Object.assign(
    new Error('Client network socket disconnected before secure TLS connection was established'),
    {
      code: 'ECONNRESET',
    },
  );
}

// Reading keys and making contexts of them takes a millisecond, and sessions are resumed only at the server that gave them:
// so one for each object of options, not for each connection.
const servers = new WeakMap<TlsServerOptions, tls.Server>();

function serverFor(options: TlsServerOptions): tls.Server {
  let server = servers.get(options);
  if (server === undefined) {
    const { signal: _signal, scope: _scope, timeout: _timeout, isServer: _isServer, ...rest } = options;
    server = tls.createServer(rest);
    servers.set(options, server);
  }
  return server;
}

/**
 * A `tls.Server` as one connection sees it: all is that server's but the events, so that it can be told which connection
 * is ready.
 */
class OneConnection {
  readonly #server: tls.Server;

  constructor(server: tls.Server) {
    const [onConnection] = server.listeners('connection');
    const one = Object.create(server) as tls.Server;
    EventEmitter.call(one);
    one.on('connection', onConnection as (socket: unknown) => void);
    this.#server = one;
  }

  accept(duplex: Duplex, ready: (socket: TLSSocket) => void, failed: (error: Error) => void): void {
    this.#server.once('secureConnection', ready);
    this.#server.once('tlsClientError', failed);
    this.#server.emit('connection', duplex);
  }
}
