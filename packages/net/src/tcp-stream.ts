import {
  AF_INET6,
  IPPROTO_TCP,
  SHUT_RD,
  SHUT_RDWR,
  SHUT_WR,
  SOCK_STREAM,
  TCP_NODELAY,
} from '@ouro/native/abi';
import {
  abortedBefore,
  bound,
  type Bytes,
  checkBytes,
  close,
  closedError,
  type Future,
  flow,
  InFlight,
  invalidType,
  type OpOptions,
  reactor,
  rejected,
  resolved,
  type Steps,
  type Transfer,
} from '@ouro/runtime/driver';
import { checkHost, checkPort, type Endpoint, resolve, type SocketAddress } from './address.ts';
import { connectError, socketError } from './errors.ts';
import { connect } from './op/connect.ts';
import { recv } from './op/recv.ts';
import { Send, SendQueue } from './op/send.ts';
import { shutdown } from './op/shutdown.ts';
import { Receiver } from './receiver.ts';

/** Where and how to connect. */
export interface ConnectOptions extends OpOptions {
  /** Name or address; a name's addresses are tried one after the other. @default 'localhost' */
  readonly host?: string | undefined;
  readonly port: number;
  /** Send small writes at once (`TCP_NODELAY`). @default false */
  readonly noDelay?: boolean | undefined;
}

const CLOSED = -1;
/** Which direction of a connection. */
export type Direction = 'read' | 'write' | 'both';
const WAYS: Readonly<Record<Direction, number>> = { read: SHUT_RD, write: SHUT_WR, both: SHUT_RDWR };

/**
 * A TCP connection. Every method that does I/O returns a future.
 *
 * A buffer that is handed in belongs to the op until its future has settled: do not change or read it before.
 */
export class TcpStream implements AsyncDisposable, AsyncIterable<Buffer> {
  readonly #ops: InFlight = new InFlight();
  readonly #sends: SendQueue = new SendQueue();
  #fd: number;
  #receiver: Receiver | null = null;
  #reading: Transfer | null = null;
  #closing: Future<void> | undefined;
  #refed = true;
  #local: SocketAddress | undefined;
  #remote: SocketAddress | undefined;

  /** @internal Takes the descriptor of a connected socket over. */
  constructor(fd: number, remote?: SocketAddress) {
    this.#fd = fd;
    this.#remote = remote;
  }

  /**
   * Connects to `host` and `port`.
   *
   * @throws `ECONNREFUSED`, `EHOSTUNREACH`, `ETIMEDOUT`… with `syscall: 'connect'`, `address` and `port`, worded as by
   *   `node:net`; what `node:dns` says for a name that is none; an `AggregateError` if there were several addresses
   *   and all failed
   */
  static connect(options: ConnectOptions): Future<TcpStream> {
    if (typeof options !== 'object' || options === null) throw invalidType('options', 'of type object', options);
    const { host: given = 'localhost', noDelay = false } = options;
    const host = checkHost(given);
    const port = checkPort(options.port);
    return flow(async (steps) => {
      const endpoints = await resolve(host, port);
      const errors: unknown[] = [];
      for (const to of endpoints) {
        try {
          const stream = await connectTo(steps, to);
          if (noDelay) stream.setNoDelay(true);
          return stream;
        } catch (error) {
          steps.check();
          errors.push(error);
        }
      }
      throw errors.length === 1 ? errors[0] : new AggregateError(errors, `connect to ${host}:${port} failed`);
    }, options);
  }

  /** The descriptor; -1 once closed. It stays this stream's: do not close it. */
  get fd(): number {
    return this.#fd;
  }

  /** Our end; undefined if the stream was closed before anybody asked. */
  get localAddress(): SocketAddress | undefined {
    this.#local ??= this.#name('getsockname');
    return this.#local;
  }

  /** The peer's end; undefined if the connection was gone before anybody asked. */
  get remoteAddress(): SocketAddress | undefined {
    this.#remote ??= this.#name('getpeername');
    return this.#remote;
  }

  #name(call: 'getsockname' | 'getpeername'): SocketAddress | undefined {
    if (this.#fd === CLOSED) return undefined;
    const name = reactor().addon[call](this.#fd);
    return typeof name === 'number' ? undefined : name;
  }

  /**
   * Receives into `buffer` what has arrived, waiting for it if need be.
   *
   * @returns bytes received; 0 at the end of the stream
   * @throws `ECONNRESET` and the like with `syscall: 'read'`; `ERR_INVALID_STATE` if another read is waiting: which of
   *   the two would get the bytes?
   */
  read(buffer: Bytes, options?: OpOptions): Future<number> {
    checkBytes('buffer', buffer);
    if (this.#fd === CLOSED) return rejected(closedError('read'));
    const aborted = abortedBefore(options);
    if (aborted !== undefined) return rejected(aborted);
    if (buffer.byteLength === 0) return resolved(0);
    if (this.#reading?.inFlight === true) {
      return rejected(Object.assign(new Error('Another read of this stream is waiting'), { code: 'ERR_INVALID_STATE' }));
    }
    if (this.#receiver?.active) return bound(this.#receiver.read(buffer), options);
    const op = recv(this.#fd, buffer).in(this.#ops);
    if (!this.#refed) op.setRef(false);
    this.#reading = op;
    return bound(op, options);
  }

  /**
   * Sends some of `data`: as much as the socket takes at once.
   *
   * @returns bytes sent, at least 1
   * @throws `EPIPE`, `ECONNRESET`… with `syscall: 'write'`
   */
  write(data: Bytes | string, options?: OpOptions): Future<number> {
    return this.#send(data, options, Send.part);
  }

  /**
   * Sends all of `data`. Sends are done in the order in which they were asked for, awaited or not.
   *
   * @returns bytes sent: all of them. An error or a cancellation on the way carries `bytesTransferred`.
   */
  writeAll(data: Bytes | string, options?: OpOptions): Future<number> {
    return this.#send(data, options, Send.whole);
  }

  #send(data: Bytes | string, options: OpOptions | undefined, make: typeof Send.whole): Future<number> {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    checkBytes('data', bytes);
    if (this.#fd === CLOSED) return rejected(closedError('write'));
    const aborted = abortedBefore(options);
    if (aborted !== undefined) return rejected(aborted);
    const send = make(this.#sends, this.#fd, bytes).in(this.#ops);
    if (!this.#refed) send.setRef(false);
    if (bytes.byteLength === 0) send.nothing();
    else this.#sends.add(send);
    return bound(send, options);
  }

  /**
   * What arrives, in chunks that belong to the caller, until the peer ends the stream. While the loop's body is slow
   * no more than 256 KiB and what one turn brings are held; then the peer is slowed down by TCP itself.
   *
   * Leaving the loop early leaves the stream open, with nothing lost: `read` or another loop goes on there.
   */
  [Symbol.asyncIterator](): AsyncIterator<Buffer, undefined> {
    const fd = this.#fd;
    return {
      next: (): Promise<IteratorResult<Buffer, undefined>> => {
        if (this.#fd === CLOSED) {
          return fd === CLOSED ? rejected(closedError('read')) : resolved({ done: true, value: undefined });
        }
        return this.#receive().next();
      },
      return: async (): Promise<IteratorResult<Buffer, undefined>> => {
        const receiver = this.#receiver;
        if (receiver !== null) await new Promise<void>((stopped) => receiver.stop(stopped));
        return { done: true, value: undefined };
      },
    };
  }

  #receive(): Receiver {
    this.#receiver ??= new Receiver(this.#fd, this.#refed);
    return this.#receiver;
  }

  /** Bytes that have arrived and wait to be read by this stream's loop. */
  get buffered(): number {
    return this.#receiver?.buffered ?? 0;
  }

  /**
   * Ends one direction. After `'write'`, the default, the peer sees the end of the stream once all that was sent has
   * arrived, and its answer can still be read. Sends that were asked for before are done first.
   */
  shutdown(how: Direction = 'write'): Future<void> {
    if (!Object.hasOwn(WAYS, how)) throw invalidType('how', "'read', 'write' or 'both'", how);
    if (this.#fd === CLOSED) return rejected(closedError('shutdown'));
    if (how === 'read' || this.#sends.idle) return shutdown(this.#fd, WAYS[how]).in(this.#ops);
    return flow(async (steps) => {
      await new Promise<void>((idle) => this.#sends.whenIdle(idle));
      if (this.#fd === CLOSED) throw closedError('shutdown');
      await steps.step(shutdown(this.#fd, WAYS[how]).in(this.#ops));
    });
  }

  /** Sends small writes at once (`TCP_NODELAY`), or lets the kernel gather them. */
  setNoDelay(noDelay = true): this {
    if (this.#fd === CLOSED) throw closedError('setsockopt');
    const result = reactor().addon.setsockopt(this.#fd, IPPROTO_TCP, TCP_NODELAY, noDelay ? 1 : 0);
    if (result < 0) throw socketError(result, 'setsockopt');
    return this;
  }

  /** Lets ops of this stream keep the process alive: the default. */
  ref(): this {
    return this.#setRef(true);
  }

  /** Lets the process end although ops of this stream are in flight. */
  unref(): this {
    return this.#setRef(false);
  }

  #setRef(refed: boolean): this {
    this.#refed = refed;
    this.#ops.setRef(refed);
    this.#receiver?.setRef(refed);
    return this;
  }

  /**
   * Closes the connection. Ops in flight are cancelled: a loop over the stream ends, a `read` or `write` fails with
   * `ECANCELED`; ops begun from here on fail with `EBADF`. What a finished `writeAll` has handed to the kernel is
   * still sent. Closing twice is one closing.
   */
  close(): Future<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  #close(): Future<void> {
    const fd = this.#fd;
    this.#fd = CLOSED;
    const receiver = this.#receiver;
    if (this.#ops.empty && (receiver === null || receiver.idle)) {
      receiver?.close(() => {});
      return close(fd);
    }
    return flow(async () => {
      this.#sends.clear();
      this.#ops.cancelEnding();
      if (receiver !== null) await new Promise<void>((stopped) => receiver.close(stopped));
      await new Promise<void>((drained) => this.#ops.whenEmpty(drained));
      await close(fd);
    });
  }

  [Symbol.asyncDispose](): Future<void> {
    return this.close();
  }
}

async function connectTo(steps: Steps, to: Endpoint): Promise<TcpStream> {
  const { addon } = reactor();
  const fd = addon.socket(to.family, SOCK_STREAM, IPPROTO_TCP);
  if (fd < 0) throw connectError(fd, to.address, to.port);
  try {
    await steps.step(connect(fd, to));
  } catch (error) {
    await close(fd);
    throw error;
  }
  const { address, port, family } = to;
  return new TcpStream(fd, { address, port, family: family === AF_INET6 ? 'IPv6' : 'IPv4' });
}
