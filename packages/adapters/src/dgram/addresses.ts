import { networkInterfaces } from 'node:os';
import { AF_INET, AF_INET6, EINVAL } from '@ouro/native/abi';
import type { Family, SocketAddress } from '@ouro/net/driver';
import { reactor } from '@ouro/runtime/driver';

/** Who sent a datagram, as `message` events say it. `dgram.js` adds its size. */
export interface RemoteInfo {
  readonly address: string;
  readonly family: 'IPv4' | 'IPv6';
  readonly port: number;
}

const SOCKADDR_IN6_BYTES = 28;
/** How many addresses are remembered: making a `struct sockaddr` of a text takes longer than queueing a datagram. */
const MOST_KNOWN = 4096;

const known = new Map<string, Uint8Array>();

function make(address: string): Uint8Array | null {
  const out = new Uint8Array(SOCKADDR_IN6_BYTES);
  const length = reactor().addon.sockaddr(address, 0, out);
  if (length < 0) return null;
  const bytes = out.subarray(0, length);
  // Which interface a name stands for may change.
  if (address.includes('%')) return bytes;
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(address, bytes);
  return bytes;
}

/**
 * The `struct sockaddr` of a numeric address of a family, to be used before the next call; EINVAL for what is none. A port is
 * taken for what C makes of it: its last 16 bits.
 */
export function sockaddr(address: string, port: number, family: Family): Uint8Array | number {
  const bytes = known.get(address) ?? make(String(address));
  if (bytes === null || (bytes.length === SOCKADDR_IN6_BYTES ? AF_INET6 : AF_INET) !== family) return EINVAL;
  bytes[2] = port >> 8;
  bytes[3] = port;
  return bytes;
}

/** Names of interfaces. Their numbers are not used again. */
const names = new Map<number, string>();

/** The name of an interface; undefined if there is none of that number any more. */
function interfaceName(scope: number): string | undefined {
  const name = names.get(scope);
  if (name !== undefined) return name;
  for (const [each, addresses] of Object.entries(networkInterfaces()))
    for (const address of addresses ?? []) if (address.family === 'IPv6') names.set(address.scopeid, each);
  return names.get(scope);
}

/** A new object for each datagram: they are the program's. Interfaces have names in it, as libuv has it. */
export function remoteInfo({ address, family, port }: SocketAddress): RemoteInfo {
  const zone = family === 'IPv6' ? address.indexOf('%') : -1;
  if (zone < 0) return { address, family, port };
  const name = interfaceName(Number(address.slice(zone + 1)));
  return { address: name === undefined ? address : `${address.slice(0, zone)}%${name}`, family, port };
}
