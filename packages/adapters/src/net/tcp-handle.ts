import {
  AF_INET,
  AF_INET6,
  EADDRINUSE,
  EBADF,
  EINVAL,
  IPPROTO_IPV6,
  IPPROTO_TCP,
  IPV6_V6ONLY,
  SO_KEEPALIVE,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOCK_STREAM,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_NODELAY,
} from '@ouro/native/abi';
import { reactor } from '@ouro/runtime/driver';
import { soon } from '../timers.ts';
import { EndpointHandle } from './endpoint-handle.ts';
import type { Internals } from './internals.ts';
import { fillName, type Name } from './names.ts';
import type { Request } from './stream-handle.ts';

const SOCKADDR_IN6_BYTES = 28;
/** `UV_TCP_IPV6ONLY`, `UV_TCP_REUSEPORT` */
const ONLY_IPV6 = 1;
const REUSE_PORT = 2;
/** What libuv asks for beside the delay. */
const KEEP_ALIVE_INTERVAL_S = 1;
const KEEP_ALIVE_PROBES = 10;

/** A `struct sockaddr`, or an errno. */
function sockaddr(address: string, port: number | undefined): Uint8Array | number {
  const out = new Uint8Array(SOCKADDR_IN6_BYTES);
  const length = reactor().addon.sockaddr(address, (port ?? 0) & 0xffff, out);
  return length < 0 ? EINVAL : out.subarray(0, length);
}

/** `tcp_wrap.TCP` over the ring. */
export class TcpHandle extends EndpointHandle {
  /** Told by `listen` or `connect`: as in libuv, an address in use is no matter of `bind`. */
  #delayed = 0;
  #noDelay = false;
  #keepAlive: number | null = null;

  constructor(node: Internals, server: boolean, triggerAsyncId?: number) {
    super(node, server ? 'TCPSERVERWRAP' : 'TCPWRAP', triggerAsyncId);
  }

  /** Over a connection, which is its own from here on. */
  static over(node: Internals, fd: number, triggerAsyncId?: number): TcpHandle {
    const handle = new TcpHandle(node, false, triggerAsyncId);
    handle.use(fd);
    return handle;
  }

  protected override over(fd: number): TcpHandle {
    return TcpHandle.over(this.node, fd, this.scope.asyncId);
  }

  #socket(family: number): number {
    if (this.descriptor >= 0) return this.descriptor;
    const { addon } = reactor();
    const fd = addon.socket(family, SOCK_STREAM, IPPROTO_TCP);
    if (fd < 0) return fd;
    this.use(fd);
    if (this.#noDelay) this.setNoDelay(true);
    if (this.#keepAlive !== null) this.setKeepAlive(true, this.#keepAlive);
    return fd;
  }

  bind(address: string, port: number | undefined, flags = 0): number {
    if (this.closing) return EBADF;
    const bytes = sockaddr(address, port);
    if (typeof bytes === 'number') return bytes;
    const family = bytes.length === SOCKADDR_IN6_BYTES ? AF_INET6 : AF_INET;
    if ((flags & ONLY_IPV6) !== 0 && family === AF_INET) return EINVAL;
    const fd = this.#socket(family);
    if (fd < 0) return fd;
    const { addon } = reactor();
    const options: [level: number, name: number, value: number][] = [[SOL_SOCKET, SO_REUSEADDR, 1]];
    if ((flags & REUSE_PORT) !== 0) options.push([SOL_SOCKET, SO_REUSEPORT, 1]);
    if (family === AF_INET6) options.push([IPPROTO_IPV6, IPV6_V6ONLY, (flags & ONLY_IPV6) !== 0 ? 1 : 0]);
    for (const [level, name, value] of options) {
      const failed = addon.setsockopt(fd, level, name, value);
      if (failed < 0) return failed;
    }
    const result = addon.bind(fd, bytes);
    if (result !== EADDRINUSE) return result;
    this.#delayed = result;
    return 0;
  }

  bind6(address: string, port: number | undefined, flags = 0): number {
    return this.bind(address, port, flags);
  }

  listen(backlog: number): number {
    if (this.#delayed !== 0) return this.#delayed;
    if (this.closing) return EBADF;
    const fd = this.#socket(AF_INET);
    return fd < 0 ? fd : this.listenOn(fd, backlog);
  }

  connect(request: Request, address: string, port: number): number {
    if (this.closing) return EBADF;
    const bytes = sockaddr(address, port);
    if (typeof bytes === 'number') return bytes;
    if (this.#delayed !== 0) {
      const errno = this.#delayed;
      soon(() => this.connectEnded(request, errno));
      return 0;
    }
    const fd = this.#socket(bytes.length === SOCKADDR_IN6_BYTES ? AF_INET6 : AF_INET);
    return fd < 0 ? fd : this.connectTo(request, fd, bytes);
  }

  connect6(request: Request, address: string, port: number): number {
    return this.connect(request, address, port);
  }

  getsockname(out: Name): number {
    return this.descriptor < 0 ? EBADF : fillName(out, reactor().addon.getsockname(this.descriptor));
  }

  getpeername(out: Name): number {
    return this.descriptor < 0 ? EBADF : fillName(out, reactor().addon.getpeername(this.descriptor));
  }

  setNoDelay(enable: boolean): number {
    this.#noDelay = enable;
    if (this.descriptor < 0) return 0;
    return reactor().addon.setsockopt(this.descriptor, IPPROTO_TCP, TCP_NODELAY, enable ? 1 : 0);
  }

  setKeepAlive(enable: boolean, delay: number): number {
    this.#keepAlive = enable ? delay : null;
    const fd = this.descriptor;
    if (fd < 0) return 0;
    const { addon } = reactor();
    const failed = addon.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, enable ? 1 : 0);
    if (failed < 0 || !enable) return failed;
    if (!(delay > 0)) return delay === 0 ? EINVAL : failed;
    return (
      addon.setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, delay) ||
      addon.setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_ALIVE_INTERVAL_S) ||
      addon.setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_ALIVE_PROBES)
    );
  }
}
