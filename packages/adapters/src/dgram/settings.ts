import util from 'node:util';
import {
  AF_INET6,
  EBADF,
  EINVAL,
  IP_MULTICAST_LOOP,
  IP_MULTICAST_TTL,
  IP_TTL,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_MULTICAST_HOPS,
  IPV6_MULTICAST_LOOP,
  IPV6_UNICAST_HOPS,
  SO_BROADCAST,
  SO_RCVBUF,
  SO_SNDBUF,
  SOL_SOCKET,
} from '@ouro/native/abi';
import { type Family, membership, type Setting, sendingInterface, sourceMembership } from '@ouro/net/driver';
import { reactor } from '@ouro/runtime/driver';

const INT_MAX = 0x7fff_ffff;
const MOST_HOPS = 255;

/** What Node says of a failed call of libuv's in an object that it is handed. */
interface Context {
  errno?: number;
  code?: string;
  message?: string;
  syscall?: string;
}

/** Fills in such an object. */
function explain(context: Context, errno: number, syscall: string): undefined {
  const [code, message] = util.getSystemErrorMap().get(errno) ?? ['UNKNOWN', 'unknown error'];
  Object.assign(context, { errno, code, message, syscall });
}

/** The interface of a group, which is of the same version of IP; nothing for the system's choice. @throws for what is of another */
function interfaceOf(group: string, over: unknown): string | undefined {
  if (over === undefined || over === null) return undefined;
  const address = String(over);
  if (group.includes(':') !== address.includes(':')) throw new TypeError(address);
  return address;
}

/** The socket options of a UDP handle, each a system call, with the answers of `udp_wrap.UDP`: 0, or an errno below zero. */
export abstract class UdpSettings {
  protected readonly family: Family;
  protected descriptor = -1;

  protected constructor(family: Family) {
    this.family = family;
  }

  /** Binds a socket that nobody has bound, as libuv does before it joins a group. */
  protected abstract bindAnywhere(): number;

  #set(level: number, name: number, value: number | Uint8Array): number {
    if (this.descriptor < 0) return EBADF;
    return reactor().addon.setsockopt(this.descriptor, level, name, value);
  }

  /** Sets what has a name of its own in each version of IP. */
  #setOf(v4: number, v6: number, value: number): number {
    return this.family === AF_INET6 ? this.#set(IPPROTO_IPV6, v6, value) : this.#set(IPPROTO_IP, v4, value);
  }

  /** What is made of addresses that may be none. */
  #apply(make: () => Setting): number {
    let setting: Setting;
    try {
      setting = make();
    } catch {
      return EINVAL;
    }
    return this.#set(setting.level, setting.name, setting.value);
  }

  #join(make: () => Setting): number {
    const failed = this.descriptor < 0 ? this.bindAnywhere() : 0;
    return failed === 0 ? this.#apply(make) : failed;
  }

  setBroadcast(on: number): number {
    return this.#set(SOL_SOCKET, SO_BROADCAST, on);
  }

  setTTL(ttl: number): number {
    const hops = ttl | 0;
    return hops < 1 || hops > MOST_HOPS ? EINVAL : this.#setOf(IP_TTL, IPV6_UNICAST_HOPS, hops);
  }

  setMulticastTTL(ttl: number): number {
    const hops = ttl | 0;
    return hops < 0 || hops > MOST_HOPS ? EINVAL : this.#setOf(IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS, hops);
  }

  setMulticastLoopback(on: number): number {
    return this.#setOf(IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP, on | 0);
  }

  setMulticastInterface(address: string): number {
    return this.#apply(() => sendingInterface(address, address.includes(':') ? AF_INET6 : this.family));
  }

  addMembership(group: unknown, over: unknown): number {
    return this.#member(true, String(group), over);
  }

  dropMembership(group: unknown, over: unknown): number {
    return this.#member(false, String(group), over);
  }

  #member(join: boolean, group: string, over: unknown): number {
    return this.#join(() => membership(join, group, interfaceOf(group, over)));
  }

  addSourceSpecificMembership(source: string, group: string, over: unknown): number {
    return this.#join(() => sourceMembership(true, source, group, interfaceOf(group, over)));
  }

  dropSourceSpecificMembership(source: string, group: string, over: unknown): number {
    return this.#join(() => sourceMembership(false, source, group, interfaceOf(group, over)));
  }

  /** Sets a size in bytes, or of 0 asks for it; undefined where that fails, which `context` says the reason of. */
  bufferSize(size: number, ofReceiving: boolean, context: Context): number | undefined {
    const name = ofReceiving ? SO_RCVBUF : SO_SNDBUF;
    const syscall = ofReceiving ? 'uv_recv_buffer_size' : 'uv_send_buffer_size';
    if (size > INT_MAX) return explain(context, EINVAL, syscall);
    if (this.descriptor < 0) return explain(context, EBADF, syscall);
    const { addon } = reactor();
    const result =
      size === 0
        ? addon.getsockopt(this.descriptor, SOL_SOCKET, name)
        : addon.setsockopt(this.descriptor, SOL_SOCKET, name, size);
    if (result < 0) return explain(context, result, syscall);
    return size === 0 ? result : size;
  }
}
