import { promises as dns, type LookupAddress } from 'node:dns';
import { isIP } from 'node:net';
import type { SocketName as SocketAddress } from '@ouro/native';
import { AF_INET, AF_INET6 } from '@ouro/native/abi';
import { checkInteger, type Future, invalidType, reactor, resolved } from '@ouro/runtime/driver';
import type { UnixAddress } from './sockaddr.ts';
import { Wait } from './socket/wait.ts';

/** One end of a connection. */
export type { SocketAddress };

/** Room for the largest address we use: `struct sockaddr_in6`. */
const SOCKADDR_IN6_BYTES = 28;

/** An address as the kernel takes it. */
export interface Endpoint {
  readonly family: typeof AF_INET | typeof AF_INET6;
  readonly address: string;
  readonly port: number;
  readonly sockaddr: Uint8Array;
}

/** Checks a port as Node does: an integer from 0 to 65535. */
export function checkPort(port: unknown, name = 'options.port'): number {
  if (typeof port !== 'number') throw invalidType(name, 'of type number', port);
  if (!(Number.isInteger(port) && port >= 0 && port <= 65535)) {
    throw Object.assign(new RangeError(`${name} should be >= 0 and < 65536. Received ${String(port)}`), {
      code: 'ERR_SOCKET_BAD_PORT',
    });
  }
  return port;
}

/** Checks a host name or address. The empty one is none, as in Node. */
export function checkHost(host: unknown): string | undefined {
  if (host === undefined || host === '') return undefined;
  if (typeof host !== 'string') throw invalidType('options.host', 'of type string', host);
  return host;
}

/** A numeric address with a port. */
export function endpoint(address: string, port: number): Endpoint {
  const out = new Uint8Array(SOCKADDR_IN6_BYTES);
  const length = reactor().addon.sockaddr(address, port, out);
  if (length < 0) throw new TypeError(`Not a numeric IP address: '${address}'`);
  return {
    family: length === SOCKADDR_IN6_BYTES ? AF_INET6 : AF_INET,
    address,
    port,
    sockaddr: out.subarray(0, length),
  };
}

/** The endpoints of a host, in the order to try them: `node:dns` is asked unless it is an address already. */
export function resolve(host: string, port: number): Future<Endpoint[]> {
  if (isIP(host) !== 0) return resolved([endpoint(host, port)]);
  const endpoints = new Wait<Endpoint[]>();
  dns
    .lookup(host, { all: true })
    .then((found: LookupAddress[]) => endpoints.resolve(found.map(({ address }) => endpoint(address, port))))
    .catch((error: unknown) => endpoints.reject(error));
  return endpoints;
}

/** Checks a backlog. */
export function checkBacklog(backlog: unknown): number {
  checkInteger('options.backlog', backlog, 0, 0x7fff_ffff);
  return backlog;
}

/** The name of a socket, or of its peer; undefined if it has none. */
export function inetName(fd: number, ofPeer: boolean): SocketAddress | undefined {
  const { addon } = reactor();
  const name = ofPeer ? addon.getpeername(fd) : addon.getsockname(fd);
  return typeof name === 'number' ? undefined : name;
}

/** An address for people: `127.0.0.1:80`, `[::1]:80`, `/run/app/socket`. */
export function shown(address: SocketAddress | UnixAddress | undefined): string | undefined {
  if (address === undefined) return undefined;
  if ('path' in address) return address.path === '' ? undefined : address.path;
  const { family, port } = address;
  return family === 'IPv6' ? `[${address.address}]:${port}` : `${address.address}:${port}`;
}
