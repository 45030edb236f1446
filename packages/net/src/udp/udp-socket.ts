import { ECANCELED } from '@ouro/native/abi';
import { batch } from '@ouro/runtime';
import {
  asBytes,
  type Bytes,
  begin,
  bound,
  checkBytes,
  closedError,
  type Future,
  flow,
  invalidType,
  NO_OPTIONS,
  Operation,
  type OpOptions,
  placeOfOpening,
  reactor,
  refusal,
  rejected,
  type Steps,
  type SystemError,
} from '@ouro/runtime/driver';
import { type Endpoint, endpoint, type SocketAddress, shown } from '../address.ts';
import { socketError } from '../errors.ts';
import { connectEndpoint } from '../op/connect.ts';
import { type ReceivedDatagram, recvfrom } from '../op/recvfrom.ts';
import { checkDestination, type Destination, type Family, sockaddrOf } from '../peers.ts';
import { openedSocket, UDP_SOCKET } from '../socket/opened-socket.ts';
import { Wait } from '../socket/wait.ts';
import { type Bound, bindTo } from './bind.ts';
import type { Datagram, LeasedDatagram } from './datagram.ts';
import { DatagramIterator, type UdpReceiveOptions } from './datagram-iterator.ts';
import { DatagramReceiver } from './datagram-receiver.ts';
import { lookUp } from './lookup.ts';
import { splits } from './segments.ts';
import {
  type DatagramData,
  isSingle,
  type Outgoing,
  outgoing,
  type Plan,
  type Planned,
  sendAll,
  single,
  type UdpMessage,
  type UdpSendOptions,
} from './sending.ts';
import { allLent, allOwned, into, nextLent, nextOwned } from './takes.ts';
import { type Binding, binding, type UdpBindOptions } from './udp-options.ts';
import { UdpSettings } from './udp-settings.ts';

/** Bytes of the `struct sockaddr` whose family is AF_UNSPEC: to connect to it is to disconnect. */
const UNSPECIFIED_BYTES = 16;

/**
 * A UDP socket: sends datagrams, and is an async iterable of those that arrive. Every method that does I/O returns a future.
 *
 * A buffer that is handed in belongs to the op until its future has settled: do not change or read it before.
 */
export class UdpSocket extends UdpSettings implements AsyncIterable<Datagram> {
  protected override readonly family: Family;
  /** Whether the kernel puts datagrams together: `gro` was asked for, and it can (5.0). */
  readonly gro: boolean;
  readonly #options: Binding;
  #address: SocketAddress;
  #peer: SocketAddress | undefined;
  #changing = false;
  #receiver: DatagramReceiver | null = null;

  private constructor(
    { fd, family, gro }: Bound,
    address: SocketAddress,
    options: Binding,
    place: string | null,
  ) {
    super(openedSocket(fd, UDP_SOCKET, place));
    this.family = family;
    this.gro = gro;
    this.#address = address;
    this.#options = options;
  }

  /**
   * Makes a socket and binds it.
   *
   * @throws `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`… with `syscall: 'bind'`, `address` and `port`, worded as by `node:dgram`
   */
  static override bind(options: UdpBindOptions = NO_OPTIONS): Future<UdpSocket> {
    const checked = binding(options);
    const place = placeOfOpening(UdpSocket.bind);
    return flow(async (steps) => {
      const bound = await bindTo(steps, checked);
      const address = reactor().addon.getsockname(bound.fd);
      if (typeof address !== 'number') return new UdpSocket(bound, address, checked, place);
      reactor().discard(bound.fd);
      throw socketError(address, 'getsockname');
    }, options);
  }

  /** Where it is bound, the port chosen by the kernel included; of a connected socket the address that it sends from. */
  get address(): SocketAddress {
    if (!this.descriptor.closed) {
      const name = reactor().addon.getsockname(this.descriptor.fd);
      if (typeof name !== 'number') this.#address = name;
    }
    return this.#address;
  }

  /** Whom it is connected to; undefined if to nobody. */
  get remoteAddress(): SocketAddress | undefined {
    return this.#peer;
  }

  /**
   * Connects: sends go there without a destination, only what comes from there is received, and what the network says of the
   * peer (`ECONNREFUSED`, `EHOSTUNREACH`…) fails the next receive or send, whichever comes first; that send has not been
   * done then.
   *
   * @throws `ENETUNREACH`… with `syscall: 'connect'`; `ERR_SOCKET_DGRAM_IS_CONNECTED`; what `node:dns` says for a name that is
   *   none; TypeError, RangeError for what is no destination
   */
  connect(to: Destination, options?: OpOptions): Future<void> {
    checkDestination('to', to);
    if (this.descriptor.closed) return rejected(closedError('connect'));
    if (this.#peer !== undefined || this.#changing) return rejected(connectedError());
    const { address, port } = to;
    return this.#change(async (steps) => {
      const sockaddr = sockaddrOf(to, this.family) ?? (await steps.step(lookUp(to, this.family)));
      steps.check();
      await this.#connect(steps, { family: this.family, address, port, sockaddr });
      const name = this.descriptor.closed ? 0 : reactor().addon.getpeername(this.descriptor.fd);
      this.#peer = typeof name === 'number' ? undefined : name;
    }, options);
  }

  /**
   * Undoes `connect`. The port stays.
   *
   * @throws `ERR_SOCKET_DGRAM_NOT_CONNECTED`
   */
  disconnect(options?: OpOptions): Future<void> {
    if (this.descriptor.closed) return rejected(closedError('disconnect'));
    if (this.#peer === undefined || this.#changing) return rejected(notConnectedError());
    const before = this.address;
    return this.#change(async (steps) => {
      const sockaddr = new Uint8Array(UNSPECIFIED_BYTES);
      try {
        await this.#connect(steps, { family: this.family, address: '', port: 0, sockaddr });
      } catch (error) {
        const { errno } = error as SystemError;
        throw typeof errno === 'number' && !steps.cancelled ? socketError(errno, 'disconnect') : error;
      }
      this.#peer = undefined;
      this.#keepPort(before.port);
    }, options);
  }

  #change(body: (steps: Steps) => Promise<void>, options: OpOptions | undefined): Future<void> {
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    this.#changing = true;
    return flow(
      async (steps) => {
        try {
          await body(steps);
        } finally {
          this.#changing = false;
        }
      },
      options,
      this.descriptor.refed,
    );
  }

  #connect(steps: Steps, to: Endpoint): Future<void> {
    return steps.step(begin(new Operation(connectEndpoint(this.descriptor, to))));
  }

  /** The kernel takes a port that it has chosen itself away when a socket is disconnected. */
  #keepPort(port: number): void {
    if (this.descriptor.closed || this.address.port !== 0) return;
    const { sockaddr } = endpoint(this.#address.address, port);
    reactor().addon.bind(this.descriptor.fd, sockaddr); // else it gets another one when it sends
  }

  /**
   * Sends a datagram.
   *
   * @param data bytes, text, or an array of bytes that make one datagram
   * @param to where to; on a connected socket, nothing
   * @returns bytes sent: all of them
   * @throws `EMSGSIZE` for more than 65,507 bytes, `ECONNREFUSED`, `ENETUNREACH`… with `syscall: 'send'`, `address` and `port`, worded as
   *   by `node:dgram`; `ERR_SOCKET_DGRAM_IS_CONNECTED`, `ERR_SOCKET_DGRAM_NOT_CONNECTED`; what `node:dns` says for a name that is none;
   *   TypeError, RangeError for what cannot be sent. Of several segments the error says `bytesTransferred`
   */
  send(data: DatagramData, to?: Destination, options?: UdpSendOptions): Future<number> {
    const message = outgoing('', data, to, options?.segmentSize);
    const plan = this.#plan(message);
    if (plan instanceof Error) return rejected(refusal(options) ?? plan);
    if (plan !== null && isSingle(message))
      return begin(new Operation(single(this.descriptor, plan)), options);
    return flow(
      async (steps) => {
        const ready = plan ?? this.#found(message, await steps.step(this.#lookUp(message)));
        const [outcome] = await sendAll(steps, this.descriptor, [ready], this.#splits());
        if (outcome.status === 'rejected') throw outcome.reason;
        return outcome.value;
      },
      options,
      this.descriptor.refed,
    );
  }

  /**
   * Sends many datagrams, with one system call for as many as the submission queue takes (`RunOptions.entries`). They are
   * handed to the kernel in order.
   *
   * @returns for each message, as `Promise.allSettled` has it: bytes sent, or its error
   * @throws as `send`, for what cannot be sent at all; `EBADF` if the socket is closed
   */
  sendMany(messages: readonly UdpMessage[], options?: OpOptions): Future<PromiseSettledResult<number>[]> {
    if (!Array.isArray(messages)) throw invalidType('messages', 'an instance of Array', messages);
    const all = [...(messages as readonly (UdpMessage | undefined)[])].map((each, i) => {
      if (typeof each !== 'object' || each === null)
        throw invalidType(`messages[${i}]`, 'of type object', each);
      return outgoing(`messages[${i}].`, each.data, each.to, each.segmentSize);
    });
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    if (this.descriptor.closed) return rejected(closedError('send'));
    const plans = all.map((message) => this.#plan(message));
    if (plans.every(isDatagram))
      return batch(
        plans.map((plan) => single(this.descriptor, plan)),
        { ...options, settle: true },
      );
    return flow(
      async (steps) => {
        const ready = await steps.step(this.#lookUpAll(plans, all));
        steps.check();
        return await sendAll(steps, this.descriptor, ready, this.#splits());
      },
      options,
      this.descriptor.refed,
    );
  }

  #splits(): boolean {
    return !this.descriptor.closed && splits(this.descriptor.fd);
  }

  /** How a message goes out; null if its destination has to be looked up first. */
  #plan(message: Outgoing): Plan | null {
    if (this.descriptor.closed) return closedError('send');
    const { to } = message;
    const peer = this.#peer;
    if (to === undefined) {
      return peer === undefined ? notConnectedError() : { message, to: peer, sockaddr: null };
    }
    if (peer !== undefined) return connectedError();
    const sockaddr = sockaddrOf(to, this.family);
    return sockaddr === null ? null : { message, to, sockaddr };
  }

  #lookUp({ to }: Outgoing): Future<Uint8Array> {
    return to === undefined ? rejected(notConnectedError()) : lookUp(to, this.family);
  }

  #found(message: Outgoing, sockaddr: Uint8Array): Plan {
    return this.descriptor.closed ? socketError(ECANCELED, 'send') : { message, to: message.to, sockaddr };
  }

  /** Looks up the destinations that are names, each once. */
  #lookUpAll(plans: readonly (Plan | null)[], messages: readonly Outgoing[]): Future<Plan[]> {
    const asked = new Map<string, Future<Uint8Array>>();
    const plan = async (message: Outgoing): Promise<Plan> => {
      const name = `${message.to?.port} ${message.to?.address}`;
      const looking = asked.get(name) ?? this.#lookUp(message);
      asked.set(name, looking);
      try {
        return this.#found(message, await looking);
      } catch (error) {
        return error as Error;
      }
    };
    const all = new Wait<Plan[]>();
    Promise.all(plans.map((each, i) => each ?? plan(messages[i]))).then((ready) => all.resolve(ready));
    return all;
  }

  /**
   * Receives a datagram into `buffer`, waiting for one if need be. Several may wait, beside a loop too: each gets another one.
   *
   * @throws `ECONNREFUSED` and the like of a connected socket, with `syscall: 'recvmsg'`, worded as by `node:dgram`; TypeError if the buffer is
   *   detached
   */
  recv(buffer: Bytes, options?: OpOptions): Future<ReceivedDatagram> {
    checkBytes('buffer', buffer);
    if (this.descriptor.closed) return rejected(closedError('recvmsg'));
    const receiver = this.#receiver;
    if (receiver?.active !== true)
      return begin(new Operation(recvfrom(this.descriptor, buffer, this.gro, this.#peer)), options);
    asBytes(buffer); // throws if detached
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    return bound(receiver.wait(into(buffer), false), options, this.descriptor.refed);
  }

  /**
   * Datagrams that arrive, each in memory of the caller's. While the loop's body is slow no more than 256 KiB and what one turn brings
   * are held: the kernel keeps as much as `receiveBufferSize` says, and drops the rest (`dropped`).
   *
   * An error (`ECONNREFUSED` of a connected socket) is thrown, and another loop goes on behind it. Leaving the loop leaves the
   * socket open, with nothing lost.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Datagram, undefined> {
    return new DatagramIterator(() => this.#receive(false), nextOwned, undefined);
  }

  /** The same, with options. */
  datagrams(
    options?: UdpReceiveOptions & { readonly lease?: false },
  ): AsyncIterableIterator<Datagram, undefined>;
  datagrams(
    options: UdpReceiveOptions & { readonly lease: true },
  ): AsyncIterableIterator<LeasedDatagram, undefined>;
  datagrams(options?: UdpReceiveOptions): AsyncIterableIterator<Datagram, undefined> {
    const lease = leases(options);
    return new DatagramIterator(() => this.#receive(lease), lease ? nextLent : nextOwned, options);
  }

  /** The same, all that one turn of the loop has brought at once. */
  batches(
    options?: UdpReceiveOptions & { readonly lease?: false },
  ): AsyncIterableIterator<Datagram[], undefined>;
  batches(
    options: UdpReceiveOptions & { readonly lease: true },
  ): AsyncIterableIterator<LeasedDatagram[], undefined>;
  batches(options?: UdpReceiveOptions): AsyncIterableIterator<Datagram[], undefined> {
    const lease = leases(options);
    return new DatagramIterator<Datagram[]>(() => this.#receive(lease), lease ? allLent : allOwned, options);
  }

  /** @internal */
  protected override get known(): Readonly<Record<string, unknown>> {
    return { address: shown(this.address), remote: shown(this.#peer), buffered: this.buffered };
  }

  /** @internal */
  override get receiver(): DatagramReceiver | null {
    return this.#receiver;
  }

  /** Null once it is closed. */
  #receive(lease: boolean): DatagramReceiver | null {
    if (this.descriptor.closed) return null;
    this.#receiver ??= new DatagramReceiver({
      descriptor: this.descriptor,
      maxSize: this.#options.maxSize,
      buffers: this.#options.buffers,
      peer: () => this.#peer,
    });
    if (lease) this.#receiver.lend();
    return this.#receiver;
  }

  /** Datagrams that have arrived and wait to be taken by a loop over this socket. */
  get buffered(): number {
    return this.#receiver?.waiting ?? 0;
  }

  /**
   * Closes the socket. Ops in flight are cancelled: a loop over it ends, a `recv` or `send` fails with `ECANCELED`; ops begun
   * from here on fail with `EBADF`. Leases that are out stay valid. Closing twice is one closing.
   */
  override close(): Future<void> {
    void this.address; // the last one
    return super.close();
  }
}

function leases(options: UdpReceiveOptions | undefined): boolean {
  if (options === undefined) return false;
  refusal(options); // throws for what is no option; what it refuses the first wait says
  const lease: unknown = options.lease ?? false;
  if (typeof lease !== 'boolean') throw invalidType('options.lease', 'of type boolean', lease);
  return lease;
}

function isDatagram(plan: Plan | null): plan is Planned {
  return plan !== null && !(plan instanceof Error) && isSingle(plan.message);
}

/** A destination for a socket that has one, or a second connection: as `node:dgram` says it. */
function connectedError(): Error {
  return Object.assign(new Error('Already connected'), { code: 'ERR_SOCKET_DGRAM_IS_CONNECTED' });
}

/** Neither a destination nor a connection: as `node:dgram` says it. */
function notConnectedError(): Error {
  return Object.assign(new Error('Not connected'), { code: 'ERR_SOCKET_DGRAM_NOT_CONNECTED' });
}
