import { EBADF, SCM_MAX_FD } from '@ouro/native/abi';
import {
  checkInteger,
  type Descriptor,
  descriptorOf,
  invalidType,
  outOfRange,
  reactor,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';

/**
 * What can be passed: a number, or what has one. `File`, `TcpStream`, `TcpListener`, `UnixStream`… of ouro, or anything of
 * Node's with a number as `fd`, such as a `FileHandle`.
 */
export type Passable = number | { readonly fd: number } | { readonly descriptor: Descriptor };

/** Checks a list of what is to be passed, and copies it. */
export function checkPassable(descriptors: unknown): readonly number[] {
  const list: unknown[] = Array.isArray(descriptors) ? [...descriptors] : [descriptors];
  if (list.length < 1 || list.length > SCM_MAX_FD) {
    throw outOfRange('descriptors.length', `>= 1 && <= ${SCM_MAX_FD}`, list.length);
  }
  return list.map((each, i) => numberOf(`descriptors[${i}]`, each));
}

/** The number; -1 for what has been closed. */
function numberOf(name: string, value: unknown): number {
  if (typeof value === 'number') {
    checkInteger(name, value, 0, 0x7fff_ffff);
    return value;
  }
  if (typeof value === 'object' && value !== null) {
    if ('descriptor' in value) {
      const { fd, direct } = descriptorOf(value as { readonly descriptor: Descriptor });
      if (!direct) return fd;
    } else if (
      'fd' in value &&
      typeof value.fd === 'number' &&
      !('direct' in value && value.direct === true)
    ) {
      checkInteger(`${name}.fd`, value.fd, -1, 0x7fff_ffff);
      return value.fd;
    }
  }
  throw invalidType(name, 'of type number or something with an ordinary descriptor', value);
}

/**
 * Descriptors of our own for the same open files: the kernel looks at the numbers when it sends, and by then a number may have been
 * closed and given out anew. They are to be closed when the send is over.
 *
 * @throws `EBADF`, `EMFILE` with the system call's name
 */
export function duplicates(fds: readonly number[]): readonly number[] {
  const { addon } = reactor();
  const made: number[] = [];
  for (const fd of fds) {
    const copy = fd < 0 ? EBADF : addon.duplicate(fd);
    if (copy < 0) {
      giveUp(made);
      throw socketError(copy, 'sendmsg');
    }
    made.push(copy);
  }
  return made;
}

/** Closes what `duplicates` has made. */
export function giveUp(fds: readonly number[]): void {
  for (const fd of fds) reactor().discard(fd);
}
