import { isIP } from 'node:net';
import { AF_INET, AF_INET6 } from '@ouro/native/abi';
import { checkInteger, invalidType } from '@ouro/runtime/driver';
import { endpoint, type SocketAddress } from './address.ts';
import { invalidAddress } from './errors.ts';
import { readSockaddr } from './sockaddr.ts';

/** Bytes of the largest name of an IP socket, `struct sockaddr_in6`. */
export const NAME_BYTES = 28;

/** Where a datagram goes: a name or an address, and a port. */
export interface Destination {
  /** A numeric address, or a host name, which `node:dns` is asked for. */
  readonly address: string;
  readonly port: number;
}

/** IP version of a socket. */
export type Family = typeof AF_INET | typeof AF_INET6;

/** How many peers are remembered. A server of more makes their addresses anew. */
const MOST_PEERS = 4096;

/**
 * Addresses of those who have sent something, by their `struct sockaddr`: making one takes longer than the rest of a
 * small datagram. Frozen, because many datagrams share one.
 */
const peers = new Map<number | string, SocketAddress>();
/** The way back: what an answer goes to has been made of a `struct sockaddr` just now. */
const sockaddrs = new WeakMap<object, Uint8Array>();

const NOBODY: SocketAddress = Object.freeze({ address: '', port: 0, family: 'IPv4' });

/** The address that a `struct sockaddr` of `length` bytes says. */
export function peerAt(bytes: Buffer, at: number, length: number): SocketAddress {
  if (length < 8) return NOBODY; // no socket of the internet leaves it out
  const v4 = bytes.readUInt16LE(at) === AF_INET;
  // An IPv4 address and its port fit the 53 bits of a number.
  const key = v4
    ? bytes.readUInt32BE(at + 4) * 65_536 + bytes.readUInt16BE(at + 2)
    : bytes.toString('latin1', at + 2, at + length);
  const known = peers.get(key);
  if (known !== undefined) return known;
  const name = readSockaddr(bytes, at, length);
  if (name === undefined || 'path' in name) return NOBODY;
  const { address, port } = name;
  const peer: SocketAddress = Object.freeze({ address, port, family: v4 ? 'IPv4' : 'IPv6' });
  if (peers.size >= MOST_PEERS) peers.clear();
  peers.set(key, peer);
  sockaddrs.set(peer, Uint8Array.prototype.slice.call(bytes, at, at + length));
  return peer;
}

let lastAddress = '';
let lastPort = -1;
let lastFamily: Family = AF_INET;
let lastSockaddr: Uint8Array = new Uint8Array(0);

/** Checks where to send to. @throws TypeError, RangeError for what is no destination */
export function checkDestination(name: string, to: unknown): asserts to is Destination {
  if (typeof to !== 'object' || to === null) throw invalidType(name, 'of type object', to);
  const { address, port } = to as Partial<Destination>;
  if (typeof address !== 'string') throw invalidType(`${name}.address`, 'of type string', address);
  if (address === '') throw invalidAddress(address);
  checkInteger(`${name}.port`, port, 1, 65_535);
}

/**
 * The `struct sockaddr` of a destination for a socket of `family`; null for a host name. An IPv4 address becomes one of
 * IPv6 (`::ffff:a.b.c.d`) for a socket of that.
 */
export function sockaddrOf(to: Destination, family: Family): Uint8Array | null {
  const known = sockaddrs.get(to);
  if (known !== undefined && known[0] === family) return known;
  const { address, port } = to;
  if (address === lastAddress && port === lastPort && family === lastFamily) return lastSockaddr;
  const version = isIP(address);
  if (version === 0) return null;
  const mapped = family === AF_INET6 && version === 4;
  lastSockaddr = endpoint(mapped ? `::ffff:${address}` : address, port).sockaddr;
  lastAddress = address;
  lastPort = port;
  lastFamily = family;
  return lastSockaddr;
}
