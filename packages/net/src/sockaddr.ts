import { AF_INET, AF_INET6, AF_UNIX, UNIX_PATH_MAX } from '@ouro/native/abi';
import { checkInteger, invalidType, outOfRange, reactor } from '@ouro/runtime/driver';
import { addressError, invalidAddress } from './errors.ts';

/** An IP address with a port. */
export interface InetAddress {
  /** A numeric address: `127.0.0.1`, `::1`, `fe80::1%eth0` or, with the number of the interface, `fe80::1%2`. */
  readonly address: string;
  readonly port: number;
  /** Set in results; ignored in arguments. */
  readonly family?: 'IPv4' | 'IPv6';
}

/** An address in the file system, or, if it begins with a zero byte, in the abstract namespace. */
export interface UnixAddress {
  /** Up to 107 bytes, an abstract name 108; in results empty for a socket without a name. */
  readonly path: string;
}

/** Where a socket is: AF_INET, AF_INET6 or AF_UNIX. */
export type Address = InetAddress | UnixAddress;

/** Bytes of the largest `struct sockaddr_*` that an address becomes: `struct sockaddr_un`, 110, rounded up. */
export const SOCKADDR_BYTES = 112;

const SOCKADDR_IN6_BYTES = 28;

/** An address as the kernel takes it. */
export interface Sockaddr {
  readonly family: typeof AF_INET | typeof AF_INET6 | typeof AF_UNIX;
  readonly bytes: Uint8Array;
}

/**
 * Checks an address and turns it into a `struct sockaddr`.
 * @throws TypeError, RangeError for what is none
 */
export function sockaddr(name: string, value: Address): Sockaddr {
  if (typeof value !== 'object' || value === null) throw invalidType(name, 'of type object', value);
  return 'path' in value ? unix(name, value) : inet(name, value);
}

function inet(name: string, { address, port }: InetAddress): Sockaddr {
  if (typeof address !== 'string') throw invalidType(`${name}.address`, 'of type string', address);
  checkInteger(`${name}.port`, port, 0, 65535);
  const out = new Uint8Array(SOCKADDR_IN6_BYTES);
  const length = reactor().addon.sockaddr(address, port, out);
  if (length < 0) throw invalidAddress(address);
  return { family: length === SOCKADDR_IN6_BYTES ? AF_INET6 : AF_INET, bytes: out.subarray(0, length) };
}

function unix(name: string, { path }: UnixAddress): Sockaddr {
  if (typeof path !== 'string') throw invalidType(`${name}.path`, 'of type string', path);
  const text = Buffer.from(path);
  const abstract = text[0] === 0;
  const most = abstract ? UNIX_PATH_MAX : UNIX_PATH_MAX - 1;
  if (text.length === 0 || text.length > most) throw outOfRange(`${name}.path`, `1 to ${most} bytes`, path);
  if (!abstract && text.includes(0)) {
    throw Object.assign(new TypeError(`The argument '${name}.path' must be without null bytes`), {
      code: 'ERR_INVALID_ARG_VALUE',
    });
  }
  // A path ends with a zero byte; an abstract name is all the bytes that there are.
  const bytes = new Uint8Array(2 + text.length + (abstract ? 0 : 1));
  bytes[0] = AF_UNIX;
  bytes.set(text, 2);
  return { family: AF_UNIX, bytes };
}

/** Reads a `struct sockaddr` of `length` bytes that the kernel wrote; undefined if it wrote none. */
export function readSockaddr(bytes: Uint8Array, at: number, length: number): Address | undefined {
  if (length < 2) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, length);
  switch (view.getUint16(0, true)) {
    case AF_INET:
      return {
        address: [4, 5, 6, 7].map((i) => view.getUint8(i)).join('.'),
        port: view.getUint16(2),
        family: 'IPv4',
      };
    case AF_INET6: {
      const scope = view.getUint32(24, true);
      const address = ipv6(view, 8);
      return {
        address: scope === 0 ? address : `${address}%${scope}`,
        port: view.getUint16(2),
        family: 'IPv6',
      };
    }
    case AF_UNIX:
      return { path: unixPath(Buffer.from(bytes.buffer, bytes.byteOffset + at + 2, length - 2)) };
    default:
      return undefined;
  }
}

function unixPath(bytes: Buffer): string {
  const end = bytes[0] === 0 ? -1 : bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

/** An IPv6 address as RFC 5952 writes it. */
function ipv6(view: DataView, at: number): string {
  const groups = Array.from({ length: 8 }, (_, i) => view.getUint16(at + i * 2));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${[12, 13, 14, 15].map((i) => view.getUint8(at + i)).join('.')}`;
  }
  let [longest, from] = [1, -1]; // a single zero group is not shortened
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > longest) [longest, from] = [end - i, i];
  }
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  return from < 0 ? hex(groups) : `${hex(groups.slice(0, from))}::${hex(groups.slice(from + longest))}`;
}

/** The error of a call that has to do with `address`, as Node words it: `bind EADDRINUSE 127.0.0.1:80`. */
export function failedAt(errno: number, syscall: string, address: Address): Error {
  return 'path' in address
    ? addressError(errno, syscall, address.path, 0)
    : addressError(errno, syscall, address.address, address.port);
}
