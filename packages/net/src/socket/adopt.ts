import { SO_ACCEPTCONN, SO_DOMAIN, SO_TYPE, SOL_SOCKET } from '@ouro/native/abi';
import { checkInteger, reactor } from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';

/** What kind of socket a descriptor has to be. */
export interface SocketKind {
  /** `AF_*` that will do. */
  readonly families: readonly number[];
  /** `SOCK_*`. */
  readonly type: number;
  /** Whether it listens. */
  readonly listens: boolean;
}

/**
 * Checks a descriptor that came from elsewhere, and makes it one that this thread closes when it ends.
 *
 * @throws TypeError, RangeError for what is no number; `EBADF`, `ENOTSOCK`; `ERR_INVALID_FD_TYPE` for another kind of socket
 */
export function adoptSocket(fd: number, { families, type, listens }: SocketKind): number {
  checkInteger('fd', fd, 0, 0x7fff_ffff);
  const { addon } = reactor();
  const asked = [SO_DOMAIN, SO_TYPE, SO_ACCEPTCONN].map((name) => {
    const value = addon.getsockopt(fd, SOL_SOCKET, name);
    if (value < 0) throw socketError(value, 'getsockopt');
    return value;
  });
  if (!families.includes(asked[0]) || asked[1] !== type || (asked[2] !== 0) !== listens) {
    throw Object.assign(new TypeError(`Descriptor ${fd} is another kind of socket`), {
      code: 'ERR_INVALID_FD_TYPE',
    });
  }
  addon.own(fd);
  return fd;
}
