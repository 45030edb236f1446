import { checkInteger, invalidType, type OpOptions, outOfRange } from '@ouro/runtime/driver';
import { checkHost, checkPort } from '../address.ts';
import { refuseMisplaced } from '../socket/misplaced.ts';
import { MOST_DATAGRAM } from './datagram-buffers.ts';

const INT_MAX = 0x7fff_ffff;
const MOST_BUFFERS = 32_768;
/** Buffers of a socket that has its own because of their size. */
const DEFAULT_BUFFERS = 64;

/** Where and how to bind. */
export interface UdpBindOptions extends OpOptions {
  /** Name or address. @default '::' (which takes IPv4 as well), or '0.0.0.0' where there is no IPv6 */
  readonly host?: string | undefined;
  /** 0 lets the kernel choose: see `UdpSocket.address`. @default 0 */
  readonly port?: number | undefined;
  /** Let other sockets of this option have the address too, as multicast wants it (`SO_REUSEADDR`). @default false */
  readonly reuseAddress?: boolean | undefined;
  /** Let several sockets have this port, the kernel spreading senders over them (`SO_REUSEPORT`). @default false */
  readonly reusePort?: boolean | undefined;
  /** On an IPv6 address, take no IPv4. @default false */
  readonly ipv6Only?: boolean | undefined;
  /** Allow sending to broadcast addresses (`SO_BROADCAST`). @default false */
  readonly broadcast?: boolean | undefined;
  /** `SO_RCVBUF`: what the kernel keeps of what nobody has received. It doubles it for its own needs. */
  readonly receiveBufferSize?: number | undefined;
  /** `SO_SNDBUF` */
  readonly sendBufferSize?: number | undefined;
  /**
   * Let the kernel put datagrams of one sender together (`UDP_GRO`, 5.0), which saves most of the work for each. Loops get them
   * one by one all the same; leases and `recv` say their `segmentSize`. @default false
   */
  readonly gro?: boolean | undefined;
  /** Bytes of the longest datagram that loops get in full: longer ones are cut. @default 65535 */
  readonly maxDatagramSize?: number | undefined;
  /**
   * Buffers of the socket's own for loops over it: a power of two. That many datagrams are taken from the kernel at once, and may be
   * lent. @default those of the thread, shared; 64 for a socket that lends, or has a `maxDatagramSize`
   */
  readonly receiveBuffers?: number | undefined;
}

/** The same, checked. */
export interface Binding {
  readonly host: string | undefined;
  readonly port: number;
  readonly reuseAddress: boolean;
  readonly reusePort: boolean;
  readonly ipv6Only: boolean;
  readonly broadcast: boolean;
  readonly receiveBufferSize: number | undefined;
  readonly sendBufferSize: number | undefined;
  readonly gro: boolean;
  readonly maxSize: number;
  /** 0 for those of the thread. */
  readonly buffers: number;
}

/** @throws TypeError, RangeError for options that make no sense */
export function binding(options: UdpBindOptions): Binding {
  if (typeof options !== 'object' || options === null)
    throw invalidType('options', 'of type object', options);
  refuseMisplaced(options, {
    address: "it is 'host'",
    fd: 'there is no way to take one over',
    path: 'UnixDatagram.bind has one',
    idleTimeout: "limit each wait, 'socket.datagrams({ timeout })'",
    mode: 'a port has no permissions',
  });
  const { maxDatagramSize, receiveBuffers } = options;
  const maxSize = maxDatagramSize ?? MOST_DATAGRAM;
  checkInteger('options.maxDatagramSize', maxSize, 1, MOST_DATAGRAM);
  const gro = flag('gro', options.gro);
  if (gro && maxSize < MOST_DATAGRAM)
    throw outOfRange('options.maxDatagramSize', `${MOST_DATAGRAM} with options.gro`, maxSize);
  const buffers = receiveBuffers ?? (maxDatagramSize === undefined ? 0 : DEFAULT_BUFFERS);
  if (receiveBuffers !== undefined) {
    checkInteger('options.receiveBuffers', receiveBuffers, 1, MOST_BUFFERS);
    if ((receiveBuffers & (receiveBuffers - 1)) !== 0)
      throw outOfRange('options.receiveBuffers', 'a power of two', receiveBuffers);
  }
  return {
    host: checkHost(options.host),
    port: checkPort(options.port ?? 0),
    reuseAddress: flag('reuseAddress', options.reuseAddress),
    reusePort: flag('reusePort', options.reusePort),
    ipv6Only: flag('ipv6Only', options.ipv6Only),
    broadcast: flag('broadcast', options.broadcast),
    receiveBufferSize: size('receiveBufferSize', options.receiveBufferSize),
    sendBufferSize: size('sendBufferSize', options.sendBufferSize),
    gro,
    maxSize,
    buffers,
  };
}

function flag(name: string, value: unknown): boolean {
  if (value === undefined) return false;
  if (typeof value !== 'boolean') throw invalidType(`options.${name}`, 'of type boolean', value);
  return value;
}

function size(name: string, value: number | undefined): number | undefined {
  if (value !== undefined) checkInteger(`options.${name}`, value, 1, INT_MAX);
  return value;
}
