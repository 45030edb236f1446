import {
  AF_INET6,
  EADDRINUSE,
  EADDRNOTAVAIL,
  ENOPROTOOPT,
  IPPROTO_IPV6,
  IPPROTO_UDP,
  IPV6_V6ONLY,
  SO_BROADCAST,
  SO_RCVBUF,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SO_SNDBUF,
  SOCK_DGRAM,
  SOL_SOCKET,
  UDP_GRO,
} from '@ouro/native/abi';
import { reactor, type Steps } from '@ouro/runtime/driver';
import { type Endpoint, endpoint, resolve } from '../address.ts';
import { addressError } from '../errors.ts';
import type { Family } from '../peers.ts';
import type { Binding } from './udp-options.ts';

/** A socket that has been bound. */
export interface Bound {
  readonly fd: number;
  readonly family: Family;
  /** Whether the kernel puts datagrams together. */
  readonly gro: boolean;
}

/** Binds to the first address of the host. */
export async function bindTo(steps: Steps, options: Binding): Promise<Bound> {
  const { host, port } = options;
  const [place] = await steps.step(resolve(host ?? '::', port));
  steps.check();
  if (place === undefined) throw addressError(EADDRNOTAVAIL, 'bind', host ?? '::', port);
  const first = tryBind(place, options);
  if (typeof first !== 'number') return first;
  // Where nobody asked for a certain address, whatever keeps us from IPv6 leads to IPv4, as in Node.
  if (host !== undefined || first === EADDRINUSE || options.ipv6Only)
    throw addressError(first, 'bind', place.address, port);
  const v4 = endpoint('0.0.0.0', port);
  const second = tryBind(v4, options);
  if (typeof second !== 'number') return second;
  throw addressError(second, 'bind', v4.address, port);
}

/** A socket, or the errno that prevented it. */
function tryBind(place: Endpoint, options: Binding): Bound | number {
  const { addon } = reactor();
  const fd = addon.socket(place.family, SOCK_DGRAM, IPPROTO_UDP);
  if (fd < 0) return fd;
  const set = (level: number, name: number, value: number | undefined): number =>
    value === undefined ? 0 : addon.setsockopt(fd, level, name, value);
  const on = (name: number, value: boolean): number => (value ? set(SOL_SOCKET, name, 1) : 0);
  const grouped = options.gro ? set(IPPROTO_UDP, UDP_GRO, 1) : ENOPROTOOPT;
  const failed =
    on(SO_REUSEADDR, options.reuseAddress) ||
    on(SO_REUSEPORT, options.reusePort) ||
    on(SO_BROADCAST, options.broadcast) ||
    set(SOL_SOCKET, SO_RCVBUF, options.receiveBufferSize) ||
    set(SOL_SOCKET, SO_SNDBUF, options.sendBufferSize) ||
    (place.family === AF_INET6 ? set(IPPROTO_IPV6, IPV6_V6ONLY, options.ipv6Only ? 1 : 0) : 0) ||
    addon.bind(fd, place.sockaddr);
  if (failed !== 0) {
    reactor().discard(fd);
    return failed;
  }
  return { fd, family: place.family, gro: grouped === 0 };
}
