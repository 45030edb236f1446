import { AF_UNIX } from '@ouro/native/abi';
import { invalidType, reactor } from '@ouro/runtime/driver';
import { readSockaddr, SOCKADDR_BYTES, sockaddr, type UnixAddress } from '../sockaddr.ts';

/** An address of nothing but the family: binding to it lets the kernel choose an abstract name (unix(7), autobind). */
const AUTOBIND: Uint8Array = Uint8Array.of(AF_UNIX, 0);

/** Where a socket is to be, checked. */
export interface UnixName {
  /** undefined for a name of the kernel's choice. */
  readonly path: string | undefined;
  readonly bytes: Uint8Array;
  /** Whether it is a file. */
  readonly inFiles: boolean;
}

/**
 * Checks `options.path`: up to 107 bytes, a path without zero bytes or, after one at its beginning, an abstract name.
 *
 * @throws TypeError, RangeError
 */
export function checkName(path: unknown): UnixName {
  if (typeof path !== 'string') throw invalidType('options.path', 'of type string', path);
  return { path, bytes: sockaddr('options', { path }).bytes, inFiles: path[0] !== '\0' };
}

/** The same, where there may be none. */
export function checkNameOrNone(path: unknown): UnixName {
  return path === undefined ? { path: undefined, bytes: AUTOBIND, inFiles: false } : checkName(path);
}

/** The name of a socket or of its peer: the empty path for one without; undefined if there is no such end any more. */
export function unixNameOf(fd: number, ofPeer: boolean): UnixAddress | undefined {
  const bytes = new Uint8Array(SOCKADDR_BYTES);
  const length = reactor().addon.rawName(fd, ofPeer, bytes);
  if (length < 0) return undefined;
  const address = readSockaddr(bytes, 0, length);
  return address !== undefined && 'path' in address ? address : undefined;
}
