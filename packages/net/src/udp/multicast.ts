import { isIP } from 'node:net';
import {
  AF_INET6,
  IP_ADD_MEMBERSHIP,
  IP_ADD_SOURCE_MEMBERSHIP,
  IP_DROP_MEMBERSHIP,
  IP_DROP_SOURCE_MEMBERSHIP,
  IP_MULTICAST_IF,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_ADD_MEMBERSHIP,
  IPV6_DROP_MEMBERSHIP,
  IPV6_MULTICAST_IF,
  MCAST_JOIN_SOURCE_GROUP,
  MCAST_LEAVE_SOURCE_GROUP,
} from '@ouro/native/abi';
import { invalidType } from '@ouro/runtime/driver';
import { endpoint } from '../address.ts';
import type { Family } from '../peers.ts';

/** One call of setsockopt. */
export interface Setting {
  readonly level: number;
  readonly name: number;
  readonly value: Uint8Array;
}

// struct sockaddr_in, struct sockaddr_in6
const V4_AT = 4;
const V4_BYTES = 4;
const V6_AT = 8;
const V6_BYTES = 16;
const SCOPE_AT = 24;
const SCOPE_BYTES = 4;
/** `struct sockaddr_storage` */
const STORAGE_BYTES = 128;
/** `struct group_source_req`: the interface, and behind padding the two addresses. */
const GROUP_AT = 8;
const SOURCE_AT = GROUP_AT + STORAGE_BYTES;
const GROUP_SOURCE_BYTES = SOURCE_AT + STORAGE_BYTES;

/** The `struct sockaddr` of a numeric address. @throws TypeError if it is none */
function sockaddr(name: string, address: unknown): Uint8Array {
  if (typeof address !== 'string') throw invalidType(name, 'of type string', address);
  if (isIP(address) === 0)
    throw Object.assign(new TypeError(`Invalid IP address: ${address}`), { code: 'ERR_INVALID_IP_ADDRESS' });
  return endpoint(address, 0).sockaddr;
}

const isV6 = (address: Uint8Array): boolean => address[0] === AF_INET6;
const v4 = (address: Uint8Array): Uint8Array => address.subarray(V4_AT, V4_AT + V4_BYTES);
const v6 = (address: Uint8Array): Uint8Array => address.subarray(V6_AT, V6_AT + V6_BYTES);

/** The index of an interface, as an IPv6 address says it behind the `%`; 0 for the usual one. */
const scope = (address: Uint8Array | null): Uint8Array =>
  address !== null && isV6(address)
    ? address.subarray(SCOPE_AT, SCOPE_AT + SCOPE_BYTES)
    : new Uint8Array(SCOPE_BYTES);

const through = (address: string | undefined): Uint8Array | null =>
  address === undefined ? null : sockaddr('multicastInterface', address);

/** An interface's IPv4 address; all zeros for the usual one. */
const v4Interface = (address: Uint8Array | null): Uint8Array =>
  address !== null && !isV6(address) ? v4(address) : new Uint8Array(V4_BYTES);

/** To join or to leave a group: `struct ip_mreq`, `struct ipv6_mreq`. */
export function membership(join: boolean, group: string, multicastInterface: string | undefined): Setting {
  const address = sockaddr('multicastAddress', group);
  const over = through(multicastInterface);
  return isV6(address)
    ? {
        level: IPPROTO_IPV6,
        name: join ? IPV6_ADD_MEMBERSHIP : IPV6_DROP_MEMBERSHIP,
        value: Buffer.concat([v6(address), scope(over)]),
      }
    : {
        level: IPPROTO_IP,
        name: join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP,
        value: Buffer.concat([v4(address), v4Interface(over)]),
      };
}

/** The same for what one source sends: `struct ip_mreq_source`, `struct group_source_req`. */
export function sourceMembership(
  join: boolean,
  from: string,
  group: string,
  multicastInterface: string | undefined,
): Setting {
  const source = sockaddr('sourceAddress', from);
  const address = sockaddr('groupAddress', group);
  const over = through(multicastInterface);
  if (!isV6(address)) {
    return {
      level: IPPROTO_IP,
      name: join ? IP_ADD_SOURCE_MEMBERSHIP : IP_DROP_SOURCE_MEMBERSHIP,
      value: Buffer.concat([v4(address), v4Interface(over), v4(source)]),
    };
  }
  const value = Buffer.alloc(GROUP_SOURCE_BYTES);
  value.set(scope(over), 0);
  value.set(address, GROUP_AT);
  value.set(source, SOURCE_AT);
  return {
    level: IPPROTO_IPV6,
    name: join ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP,
    value,
  };
}

/** Which interface groups are sent to by: its address, of IPv6 what stands behind the `%`. */
export function sendingInterface(multicastInterface: string, family: Family): Setting {
  const address = sockaddr('multicastInterface', multicastInterface);
  return family === AF_INET6 && isV6(address)
    ? { level: IPPROTO_IPV6, name: IPV6_MULTICAST_IF, value: scope(address) }
    : { level: IPPROTO_IP, name: IP_MULTICAST_IF, value: v4Interface(address) };
}
