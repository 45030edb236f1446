import {
  AF_INET6,
  IP_MULTICAST_LOOP,
  IP_MULTICAST_TTL,
  IP_TTL,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_MULTICAST_HOPS,
  IPV6_MULTICAST_LOOP,
  IPV6_UNICAST_HOPS,
  SK_MEMINFO_DROPS,
  SK_MEMINFO_VARS,
  SO_BROADCAST,
  SO_MEMINFO,
  SO_RCVBUF,
  SO_SNDBUF,
  SOL_SOCKET,
} from '@ouro/native/abi';
import { checkInteger, closedError, reactor } from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import type { Family } from '../peers.ts';
import { SocketHandle } from '../socket/socket-handle.ts';
import { membership, type Setting, sendingInterface, sourceMembership } from './multicast.ts';

const INT_MAX = 0x7fff_ffff;

/** The socket options of a UDP socket, each a system call, named as in `node:dgram` and failing with its words. */
export abstract class UdpSettings extends SocketHandle {
  /** @internal */
  protected abstract readonly family: Family;

  #fd(syscall: string): number {
    if (this.descriptor.closed) throw closedError(syscall);
    return this.descriptor.fd;
  }

  #apply(syscall: string, { level, name, value }: Setting): this {
    const result = reactor().addon.setsockopt(this.#fd(syscall), level, name, value);
    if (result < 0) throw socketError(result, syscall);
    return this;
  }

  /** Sets an int that IPv4 and IPv6 have under two names: a socket of IPv6 has both, for the IPv4 that it does. */
  #setBoth(syscall: string, v4: number, v6: number, value: number): this {
    const { addon } = reactor();
    const fd = this.#fd(syscall);
    let result = 0;
    if (this.family === AF_INET6) {
      result = addon.setsockopt(fd, IPPROTO_IPV6, v6, value);
      addon.setsockopt(fd, IPPROTO_IP, v4, value);
    } else result = addon.setsockopt(fd, IPPROTO_IP, v4, value);
    if (result < 0) throw socketError(result, syscall);
    return this;
  }

  /** Allows sending to broadcast addresses, or not (`SO_BROADCAST`). */
  setBroadcast(flag: boolean): this {
    const result = reactor().addon.setsockopt(
      this.#fd('setBroadcast'),
      SOL_SOCKET,
      SO_BROADCAST,
      flag ? 1 : 0,
    );
    if (result < 0) throw socketError(result, 'setBroadcast');
    return this;
  }

  /** How many routers what is sent may pass, 1 to 255 (`IP_TTL`, `IPV6_UNICAST_HOPS`). */
  setTTL(ttl: number): this {
    checkInteger('ttl', ttl, 1, 255);
    return this.#setBoth('setTTL', IP_TTL, IPV6_UNICAST_HOPS, ttl);
  }

  /** The same of what is sent to a group, 0 to 255; 0 stays on this machine. The kernel's default is 1. */
  setMulticastTTL(ttl: number): this {
    checkInteger('ttl', ttl, 0, 255);
    return this.#setBoth('setMulticastTTL', IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS, ttl);
  }

  /** Whether what is sent to a group reaches the sockets of this machine that are in it: the kernel's default. */
  setMulticastLoopback(flag: boolean): this {
    return this.#setBoth('setMulticastLoopback', IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP, flag ? 1 : 0);
  }

  /**
   * Which interface groups are sent to by: for IPv4 an address of it, for IPv6 any address with its scope (`'::%eth0'`);
   * `'0.0.0.0'` and `'::'` are the system's choice.
   */
  setMulticastInterface(multicastInterface: string): this {
    return this.#apply('setMulticastInterface', sendingInterface(multicastInterface, this.family));
  }

  /**
   * Joins a group: what is sent there arrives here.
   *
   * @param multicastInterface by which: see `setMulticastInterface`. @default the system's choice
   * @throws `ENODEV`, `EINVAL`, `EADDRINUSE`… with `syscall: 'addMembership'`; TypeError for what is no numeric address
   */
  addMembership(multicastAddress: string, multicastInterface?: string): this {
    return this.#apply('addMembership', membership(true, multicastAddress, multicastInterface));
  }

  /** Leaves a group. Closing does so too. */
  dropMembership(multicastAddress: string, multicastInterface?: string): this {
    return this.#apply('dropMembership', membership(false, multicastAddress, multicastInterface));
  }

  /** Joins a group for what one source sends there. */
  addSourceSpecificMembership(
    sourceAddress: string,
    groupAddress: string,
    multicastInterface?: string,
  ): this {
    return this.#apply(
      'addSourceSpecificMembership',
      sourceMembership(true, sourceAddress, groupAddress, multicastInterface),
    );
  }

  /** Leaves it. */
  dropSourceSpecificMembership(
    sourceAddress: string,
    groupAddress: string,
    multicastInterface?: string,
  ): this {
    return this.#apply(
      'dropSourceSpecificMembership',
      sourceMembership(false, sourceAddress, groupAddress, multicastInterface),
    );
  }

  /** Bytes that the kernel keeps of what nobody has received, its own needs included (`SO_RCVBUF`: twice what was asked for). */
  get receiveBufferSize(): number {
    return this.#get('receiveBufferSize', SO_RCVBUF);
  }

  /** Bytes that the kernel keeps of what is on its way out (`SO_SNDBUF`). */
  get sendBufferSize(): number {
    return this.#get('sendBufferSize', SO_SNDBUF);
  }

  #get(syscall: string, name: number): number {
    const result = reactor().addon.getsockopt(this.#fd(syscall), SOL_SOCKET, name);
    if (result < 0) throw socketError(result, syscall);
    return result;
  }

  /** Asks for another size; `net.core.rmem_max` is the limit. */
  setReceiveBufferSize(bytes: number): this {
    return this.#setSize('setReceiveBufferSize', SO_RCVBUF, bytes);
  }

  /** Asks for another size; `net.core.wmem_max` is the limit. */
  setSendBufferSize(bytes: number): this {
    return this.#setSize('setSendBufferSize', SO_SNDBUF, bytes);
  }

  #setSize(syscall: string, name: number, bytes: number): this {
    checkInteger('bytes', bytes, 1, INT_MAX);
    const result = reactor().addon.setsockopt(this.#fd(syscall), SOL_SOCKET, name, bytes);
    if (result < 0) throw socketError(result, syscall);
    return this;
  }

  /**
   * Datagrams that the kernel has dropped because nobody had received those before them, or because they were damaged, since
   * the socket was bound, modulo 2³² (`SO_MEMINFO`, 4.12).
   */
  get dropped(): number {
    const numbers = new Uint32Array(SK_MEMINFO_VARS);
    const room = new Uint8Array(numbers.buffer);
    const result = reactor().addon.getsockopt(this.#fd('dropped'), SOL_SOCKET, SO_MEMINFO, room);
    if (result < 0) throw socketError(result, 'dropped');
    return numbers[SK_MEMINFO_DROPS];
  }
}
