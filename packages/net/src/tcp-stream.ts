import {
  AF_INET6,
  ECANCELED,
  EPIPE,
  IPPROTO_TCP,
  SHUT_RD,
  SHUT_RDWR,
  SHUT_WR,
  SOCK_STREAM,
  TCP_NODELAY,
} from '@ouro/native/abi';
import {
  addressOf,
  asBytes,
  type Bytes,
  begin,
  bound,
  checkBytes,
  close,
  closedError,
  type Descriptor,
  type Future,
  flow,
  invalidType,
  lengthOf,
  Operation,
  type OpOptions,
  OrdinaryDescriptor,
  reactor,
  refusal,
  rejected,
  resolved,
  type Steps,
  type SystemError,
  Transfer,
  UNSTABLE,
} from '@ouro/runtime/driver';
import { checkHost, checkPort, type Endpoint, resolve, type SocketAddress } from './address.ts';
import { busyError, connectError, connectErrors, socketError } from './errors.ts';
import { connectEndpoint } from './op/connect.ts';
import { recvAt } from './op/recv.ts';
import { shutdown } from './op/shutdown.ts';
import { Receiver } from './receiver.ts';
import { Send, SendQueue } from './send-queue.ts';
import { Wait } from './wait.ts';

/** Where and how to connect. */
export interface ConnectOptions extends OpOptions {
  /** Name or address; a name's addresses are tried one after the other. @default 'localhost' */
  readonly host?: string | undefined;
  readonly port: number;
  /** Send small writes at once (`TCP_NODELAY`). @default false */
  readonly noDelay?: boolean | undefined;
}

/** Which direction of a connection. */
export type Direction = 'read' | 'write' | 'both';
const WAYS: Readonly<Record<Direction, number>> = { read: SHUT_RD, write: SHUT_WR, both: SHUT_RDWR };

/**
 * A TCP connection. Every method that does I/O returns a future.
 *
 * A buffer that is handed in belongs to the op until its future has settled: do not change or read it before.
 */
export class TcpStream implements AsyncDisposable, AsyncIterable<Buffer> {
  /** @internal What ops, chains and batches refer to. */
  readonly descriptor: Descriptor;
  readonly #sends: SendQueue = new SendQueue();
  #receiver: Receiver | null = null;
  #reading: Transfer | null = null;
  #local: SocketAddress | undefined;
  #remote: SocketAddress | undefined;

  /** @internal Takes the descriptor of a connected socket over. */
  constructor(fd: number, remote?: SocketAddress) {
    this.descriptor = new OrdinaryDescriptor(fd);
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
    if (typeof options !== 'object' || options === null)
      throw invalidType('options', 'of type object', options);
    const { noDelay = false } = options;
    const host = checkHost(options.host) ?? 'localhost';
    const port = checkPort(options.port);
    return flow(async (steps) => {
      const endpoints = await steps.step(resolve(host, port));
      steps.check();
      const errors: SystemError[] = [];
      for (const to of endpoints) {
        try {
          return await connectTo(steps, to, noDelay);
        } catch (error) {
          steps.check();
          errors.push(error as SystemError);
        }
      }
      throw errors.length === 1 ? errors[0] : connectErrors(errors, host, port);
    }, options);
  }

  /** The descriptor; -1 once closed. It stays this stream's: do not close it. */
  get fd(): number {
    return this.descriptor.fd;
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
    if (this.descriptor.closed) return undefined;
    const name = reactor().addon[call](this.descriptor.fd);
    return typeof name === 'number' ? undefined : name;
  }

  /**
   * Receives into `buffer` what has arrived, waiting for it if need be.
   *
   * @returns bytes received; 0 at the end of the stream
   * @throws `ECONNRESET` and the like with `syscall: 'read'`; `ERR_INVALID_STATE` if a read or a loop is waiting: which
   *   of the two would get the bytes? TypeError if the buffer is detached or, then as a rejection, if it has shrunk to
   *   nothing meanwhile
   */
  read(buffer: Bytes, options?: OpOptions): Future<number> {
    checkBytes('buffer', buffer);
    if (this.descriptor.closed) return rejected(closedError('read'));
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    const address = addressOf(buffer);
    if (lengthOf(buffer) === 0) return resolved(0);
    if (this.#reading?.inFlight === true) return rejected(busyError());
    // Memory that scripts can take away is only written to when the bytes are there: so none are lost with it.
    if (this.#receiver?.active || address === UNSTABLE)
      return bound(this.#receive().read(buffer), options, this.descriptor.refed);
    this.#reading = begin(new Transfer(recvAt(this.descriptor, buffer, address), 'short', 'socket'), options);
    return this.#reading;
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
    asBytes(bytes); // throws if detached
    const { descriptor } = this;
    if (!descriptor.closed && this.#sends.ended) {
      return rejected(refusal(options) ?? socketError(EPIPE, 'write'));
    }
    return begin(make(this.#sends, descriptor, bytes), options);
  }

  /**
   * What arrives, in chunks that belong to the caller, until the peer ends the stream. While the loop's body is slow
   * no more than 256 KiB and what one turn brings are held; then the peer is slowed down by TCP itself.
   *
   * Leaving the loop early leaves the stream open, with nothing lost: `read` or another loop goes on there.
   */
  [Symbol.asyncIterator](): AsyncIterator<Buffer, undefined> {
    const begun = !this.descriptor.closed;
    let left = false;
    return {
      next: (): Promise<IteratorResult<Buffer, undefined>> => {
        if (!begun) return rejected(closedError('read'));
        if (this.descriptor.closed || left) return resolved({ done: true, value: undefined });
        if (this.#reading?.inFlight === true) return rejected(busyError());
        try {
          return this.#receive().next();
        } catch (error) {
          return rejected(error); // no memory for the buffers
        }
      },
      return: async (): Promise<IteratorResult<Buffer, undefined>> => {
        left = true;
        const receiver = this.#receiver;
        if (receiver !== null) await new Promise<void>((stopped) => receiver.stop(stopped));
        return { done: true, value: undefined };
      },
    };
  }

  #receive(): Receiver {
    this.#receiver ??= new Receiver(this.descriptor.fd, this.descriptor.refed);
    return this.#receiver;
  }

  /** Bytes that have arrived and wait to be read by this stream's loop. */
  get buffered(): number {
    return this.#receiver?.buffered ?? 0;
  }

  /**
   * Ends one direction. After `'write'`, the default, the peer sees the end of the stream once all that was sent has
   * arrived, and its answer can still be read. Sends that were asked for before are done first; those asked for
   * afterwards fail with `EPIPE`.
   *
   * @throws `ENOTCONN` with `syscall: 'shutdown'` if the connection is gone already
   */
  shutdown(how: Direction = 'write', options?: OpOptions): Future<void> {
    if (!Object.hasOwn(WAYS, how)) throw invalidType('how', "'read', 'write' or 'both'", how);
    const { descriptor } = this;
    if (descriptor.closed) return rejected(closedError('shutdown'));
    if (how === 'read') return begin(new Operation(shutdown(descriptor, SHUT_RD)), options);
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    this.#sends.end();
    return flow(async (steps) => {
      try {
        const sent = new Wait<void>();
        this.#sends.whenIdle(() => sent.resolve());
        await steps.step(sent);
        if (descriptor.closed) throw socketError(ECANCELED, 'shutdown');
        await steps.step(begin(new Operation(shutdown(descriptor, WAYS[how]))));
      } catch (error) {
        if (steps.cancelled) this.#sends.reopen();
        throw error;
      }
    }, options);
  }

  /** Sends small writes at once (`TCP_NODELAY`), or lets the kernel gather them. */
  setNoDelay(noDelay = true): this {
    if (this.descriptor.closed) throw closedError('setsockopt');
    const result = reactor().addon.setsockopt(this.descriptor.fd, IPPROTO_TCP, TCP_NODELAY, noDelay ? 1 : 0);
    if (result < 0) throw socketError(result, 'setsockopt');
    return this;
  }

  /** Cancels all reads and writes in flight; the stream stays open, and a loop over it goes on. */
  cancel(reason?: unknown): void {
    this.descriptor.cancel(reason);
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
    this.descriptor.setRef(refed);
    this.#receiver?.setRef(refed);
    return this;
  }

  /**
   * Closes the connection. Ops in flight are cancelled: a loop over the stream ends, a `read` or `write` fails with
   * `ECANCELED`; ops begun from here on fail with `EBADF`. What a finished `writeAll` has handed to the kernel is
   * still sent. Closing twice is one closing.
   */
  close(): Future<void> {
    const { descriptor } = this;
    const receiver = this.#receiver;
    this.#sends.clear();
    if (receiver === null || receiver.idle) {
      receiver?.close(() => {});
      return descriptor.close();
    }
    return descriptor.close(() => new Promise<void>((stopped) => receiver.close(stopped)));
  }

  [Symbol.asyncDispose](): Future<void> {
    return this.close();
  }
}

async function connectTo(steps: Steps, to: Endpoint, noDelay: boolean): Promise<TcpStream> {
  const { addon } = reactor();
  const fd = addon.socket(to.family, SOCK_STREAM, IPPROTO_TCP);
  if (fd < 0) throw connectError(fd, to.address, to.port);
  try {
    if (noDelay) addon.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    await steps.step(begin(new Operation(connectEndpoint(fd, to))));
  } catch (error) {
    await close(fd);
    throw error;
  }
  const { address, port, family } = to;
  return new TcpStream(fd, { address, port, family: family === AF_INET6 ? 'IPv6' : 'IPv4' });
}
