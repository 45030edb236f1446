import {
  AF_INET,
  AF_INET6,
  EAFNOSUPPORT,
  EBADF,
  EBUSY,
  EDESTADDRREQ,
  EINVAL,
  EISCONN,
  ENOTCONN,
  IPPROTO_IPV6,
  IPPROTO_UDP,
  IPV6_V6ONLY,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOCK_DGRAM,
  SOL_SOCKET,
} from '@ouro/native/abi';
import type { SocketAddress } from '@ouro/net/driver';
import { type Bytes, reactor } from '@ouro/runtime/driver';
import { Closing } from '../net/closing.ts';
import { fillName, type Name } from '../net/names.ts';
import { Scope } from '../net/scope.ts';
import { callBack } from '../net/ticks.ts';
import { tally } from '../stats.ts';
import { soon } from '../timers.ts';
import { type RemoteInfo, remoteInfo, sockaddr } from './addresses.ts';
import type { NativeUdp } from './internals.ts';
import { type DatagramListener, Receiver } from './receiver.ts';
import { Sender, type Sent, sendQueued } from './sender.ts';
import { UdpSettings } from './settings.ts';

/** `UV_UDP_IPV6ONLY`, `UV_UDP_REUSEADDR`, `UV_UDP_REUSEPORT` */
const ONLY_IPV6 = 1;
const REUSE_ADDRESS = 4;
const REUSE_PORT = 64;

/** Bytes of the `struct sockaddr` whose family is AF_UNSPEC: to connect to it is to disconnect. */
const UNSPECIFIED_BYTES = 16;

/** A request object of Node's: `SendWrap`. */
interface SendRequest {
  oncomplete?: (this: SendRequest, status: number, bytes: number | undefined) => void;
}

type OnMessage = (
  this: UdpHandle,
  nread: number,
  handle: UdpHandle,
  data: Buffer | undefined,
  from: RemoteInfo | undefined,
) => void;

const sends = tally('dgram', 'send');
const receives = tally('dgram', 'receive');

/** Tells whoever sends, where it belongs. */
function told(request: SendRequest, scope: Scope): Sent {
  return (status, bytes) => {
    const { oncomplete } = request;
    try {
      if (oncomplete !== undefined) scope.run(oncomplete, request, status, status < 0 ? undefined : bytes);
    } finally {
      scope.end();
    }
  };
}

/**
 * What `dgram.Socket` finds in the place of Node's own `UDP`: the same methods and fields, the same reports through `onmessage` and
 * `req.oncomplete`; the datagrams go over the ring.
 */
export class UdpHandle extends UdpSettings implements DatagramListener {
  /** Set by `dgram.js`. */
  onmessage: OnMessage | undefined = undefined;
  onerror: unknown = undefined;
  readonly #scope: Scope;
  /** What it stands in the place of, as long as it is not certain that it does. */
  #native: NativeUdp | null;
  #refed = true;
  #closing = false;
  #connected = false;
  #receiver: Receiver | null = null;
  #sender: Sender | null = null;
  #onceClosed: (() => void) | null = null;

  constructor(native: NativeUdp, ofIPv6: boolean, scope: Scope) {
    super(ofIPv6 ? AF_INET6 : AF_INET);
    this.#native = native;
    this.#scope = scope;
    this.#refed = native.hasRef();
  }

  get fd(): number {
    return this.descriptor < 0 ? EBADF : this.descriptor;
  }

  /** Gives back what it stands in the place of, and is of no use from here on; null once it is bound. */
  giveBack(): NativeUdp | null {
    const native = this.#native;
    if (native === null) return null;
    this.#native = null;
    if (this.descriptor >= 0) reactor().discard(this.descriptor);
    this.descriptor = -1;
    if (!this.#refed) native.unref();
    this.#scope.end();
    return native;
  }

  /** Where it is not given back before, it has a descriptor already. */
  open(): number {
    return EBUSY;
  }

  getAsyncId(): number {
    return this.#scope.asyncId;
  }

  getProviderType(): number {
    return 0;
  }

  ref(): void {
    this.#refed = true;
    this.#receiver?.setRef(true);
  }

  unref(): void {
    this.#refed = false;
    this.#receiver?.setRef(false);
  }

  hasRef(): boolean {
    return this.#refed && !this.#closing;
  }

  #socket(): number {
    if (this.descriptor >= 0) return this.descriptor;
    const fd = reactor().addon.socket(this.family, SOCK_DGRAM, IPPROTO_UDP);
    if (fd >= 0) this.descriptor = fd;
    return fd;
  }

  bind(address: string, port: number | undefined, flags = 0): number {
    if (this.#closing) return EBADF;
    if ((flags & ONLY_IPV6) !== 0 && this.family !== AF_INET6) return EINVAL;
    const name = sockaddr(address, Number(port ?? 0) >>> 0, this.family);
    if (typeof name === 'number') return name;
    const fd = this.#socket();
    if (fd < 0) return fd;
    const { addon } = reactor();
    const set = (flag: number, level: number, option: number): number =>
      (flags & flag) === 0 ? 0 : addon.setsockopt(fd, level, option, 1);
    const result =
      set(REUSE_ADDRESS, SOL_SOCKET, SO_REUSEADDR) ||
      set(REUSE_PORT, SOL_SOCKET, SO_REUSEPORT) ||
      set(ONLY_IPV6, IPPROTO_IPV6, IPV6_V6ONLY) ||
      addon.bind(fd, name);
    if (result === 0) {
      this.#native?.close();
      this.#native = null;
    }
    return result === EAFNOSUPPORT ? EINVAL : result;
  }

  bind6(address: string, port: number | undefined, flags = 0): number {
    return this.bind(address, port, flags);
  }

  protected override bindAnywhere(): number {
    return this.bind(this.family === AF_INET6 ? '::' : '0.0.0.0', 0, REUSE_ADDRESS);
  }

  /** What has been sent before goes where it was to go. */
  #connect(name: Uint8Array): number {
    sendQueued();
    return reactor().addon.connect(this.descriptor, name);
  }

  connect(address: string, port: number): number {
    if (this.#closing) return EBADF;
    if (this.#connected) return EISCONN;
    const failed = this.descriptor < 0 ? this.bindAnywhere() : 0;
    if (failed < 0) return failed;
    const name = sockaddr(address, port, this.family);
    if (typeof name === 'number') return name;
    const result = this.#connect(name);
    this.#connected = result === 0;
    return result;
  }

  connect6(address: string, port: number): number {
    return this.connect(address, port);
  }

  disconnect(): number {
    if (this.descriptor < 0) return EBADF;
    if (!this.#connected) return ENOTCONN;
    const result = this.#connect(new Uint8Array(UNSPECIFIED_BYTES));
    this.#connected = result !== 0;
    return result;
  }

  getsockname(out: Name): number {
    return this.descriptor < 0 ? EBADF : fillName(out, reactor().addon.getsockname(this.descriptor));
  }

  getpeername(out: Name): number {
    return this.descriptor < 0 ? EBADF : fillName(out, reactor().addon.getpeername(this.descriptor));
  }

  /** `(request, list, count, port, address, hasCallback)`, or of a connected socket `(request, list, count, hasCallback)`. */
  send(request: SendRequest, list: readonly Bytes[], _count: number, ...rest: readonly unknown[]): number {
    if (this.descriptor < 0 || this.#closing) return EBADF;
    const toPeer = rest.length === 1;
    if (toPeer !== this.#connected) return toPeer ? EDESTADDRREQ : EISCONN;
    const to = toPeer ? null : sockaddr(rest[1] as string, rest[0] as number, this.family);
    if (typeof to === 'number') return to;
    sends.ours++;
    this.#sender ??= new Sender(this.descriptor);
    if (rest[toPeer ? 0 : 2] !== true) return this.#sender.send(list, to, null);
    const scope = new Scope('UDPSENDWRAP', this.#scope.asyncId);
    const result = this.#sender.send(list, to, told(request, scope));
    // Nobody is called back of what is over already.
    if (result !== 0) scope.end();
    return result;
  }

  send6(request: SendRequest, list: readonly Bytes[], count: number, ...rest: readonly unknown[]): number {
    return this.send(request, list, count, ...rest);
  }

  getSendQueueSize(): number {
    return this.#sender?.bytes ?? 0;
  }

  getSendQueueCount(): number {
    return this.#sender?.count ?? 0;
  }

  recvStart(): number {
    if (this.#closing) return EBADF;
    const failed = this.descriptor < 0 ? this.bindAnywhere() : 0;
    if (failed < 0) return failed;
    this.#receiver ??= new Receiver(this.descriptor, this.#refed, this);
    this.#receiver.start();
    return 0;
  }

  recvStop(): number {
    this.#receiver?.pause();
    return 0;
  }

  /** @internal */
  datagram(data: Buffer, from: SocketAddress): void {
    receives.ours++;
    const { onmessage } = this;
    if (onmessage !== undefined) this.#scope.run(onmessage, this, data.length, this, data, remoteInfo(from));
  }

  /** @internal */
  receiveFailed(errno: number): void {
    const { onmessage } = this;
    if (onmessage !== undefined) this.#scope.run(onmessage, this, errno, this, undefined, undefined);
  }

  /** Calls `then` when it is closed. */
  onceClosed(then: () => void): void {
    this.#onceClosed = then;
  }

  close(then?: () => void): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#native?.close();
    this.#native = null;
    const done = (): void => this.#afterClose(then);
    const fd = this.descriptor;
    this.descriptor = -1;
    if (fd < 0) {
      soon(done);
      return;
    }
    let waiting = 2;
    const part = (): void => {
      waiting--;
      if (waiting === 0) callBack(done);
    };
    this.#sender?.close();
    if (this.#receiver === null) part();
    else this.#receiver.close(part);
    Closing.begin(fd, part);
    try {
      // The port is free when this returns, as with libuv.
      reactor().settle();
    } catch {
      // The kernel takes nothing now: it does so at the end of the turn.
    }
  }

  #afterClose(then: (() => void) | undefined): void {
    this.#onceClosed?.();
    try {
      if (typeof then === 'function') this.#scope.run(then, this);
    } finally {
      this.#scope.end();
    }
  }
}
