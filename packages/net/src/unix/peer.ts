import { SO_PASSCRED, SO_PEERCRED, SO_PEERPIDFD, SOL_SOCKET } from '@ouro/native/abi';
import { closedError, type Descriptor, reactor } from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import { type Credentials, readCredentials } from '../op/control.ts';

const UCRED_BYTES = 12;

/** Who made the other end of a connection (`SO_PEERCRED`). */
export function peerCredentials(descriptor: Descriptor): Credentials {
  if (descriptor.closed) throw closedError('getsockopt');
  const bytes = Buffer.alloc(UCRED_BYTES);
  const result = reactor().addon.getsockopt(descriptor.fd, SOL_SOCKET, SO_PEERCRED, bytes);
  if (result < 0) throw socketError(result, 'getsockopt');
  return readCredentials(bytes);
}

/** A descriptor of the process that made the other end (`SO_PEERPIDFD`, 6.5). */
export function peerPidfd(descriptor: Descriptor): number {
  if (descriptor.closed) throw closedError('getsockopt');
  const result = reactor().addon.getsockopt(descriptor.fd, SOL_SOCKET, SO_PEERPIDFD);
  if (result < 0) throw socketError(result, 'getsockopt');
  return result;
}

/** Has the kernel say of each message who sent it (`SO_PASSCRED`). */
export function passCredentials(descriptor: Descriptor, enable: boolean): void {
  if (descriptor.closed) throw closedError('setsockopt');
  const result = reactor().addon.setsockopt(descriptor.fd, SOL_SOCKET, SO_PASSCRED, enable ? 1 : 0);
  if (result < 0) throw socketError(result, 'setsockopt');
}
