import { IP_TOS, IPPROTO_IP, IPPROTO_IPV6, IPV6_TCLASS } from '@ouro/native/abi';
import {
  begin,
  closedError,
  type Descriptor,
  type DirectDescriptor,
  type Future,
  files,
  flow,
  Operation,
  type OpOptions,
  reactor,
  rejected,
  resolved,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import { setsockopt } from '../op/sockopt.ts';

/** One option of a socket, as setsockopt(2) takes it. */
export type Option = readonly [level: number, name: number, value: number | Uint8Array];

/**
 * Sets options, one after the other: by system calls, which do not wait, or on a direct descriptor, which has no number for
 * them, by ops (`IORING_OP_URING_CMD`, 6.7).
 */
export function setOptions(descriptor: Descriptor, options: readonly Option[]): Future<void> {
  if (descriptor.closed) return rejected(closedError('setsockopt'));
  if (descriptor.direct) {
    // Queued together: whatever is done to the socket from here on comes behind all of them.
    const ops = options.map(([level, name, value]) =>
      begin(new Operation(setsockopt(descriptor, level, name, value))),
    );
    return flow(async () => void (await Promise.all(ops)));
  }
  const { addon } = reactor();
  for (const [level, name, value] of options) {
    const result = addon.setsockopt(descriptor.fd, level, name, value);
    if (result < 0) return rejected(socketError(result, 'setsockopt'));
  }
  return resolved(undefined);
}

/** An option whose value is a number and never negative. Only ordinary descriptors can be asked at once. */
export function getOption(descriptor: Descriptor, level: number, name: number): number {
  if (descriptor.closed) throw closedError('getsockopt');
  if (descriptor.direct) throw directError('getsockopt');
  const result = reactor().addon.getsockopt(descriptor.fd, level, name);
  if (result < 0) throw socketError(result, 'getsockopt');
  return result;
}

/** What has no answer on a direct descriptor, because it is a system call on a number. */
function directError(syscall: string): Error {
  const message = `${syscall} needs a descriptor of the process, and this stream has a direct one: see addresses() and info()`;
  return Object.assign(new Error(message), { code: 'ERR_OURO_UNSUPPORTED', syscall });
}

/**
 * Asks something about a socket by a system call. A direct descriptor gets a number of the process for as long as that takes
 * (`IORING_OP_FIXED_FD_INSTALL`, 6.8).
 *
 * @param question gets the number; what it throws is the future's failure
 */
export function ask<T>(
  descriptor: Descriptor,
  syscall: string,
  question: (fd: number) => T,
  options?: OpOptions,
): Future<T> {
  if (descriptor.closed) return rejected(closedError(syscall));
  return flow(async (steps) => {
    if (!descriptor.direct) return question(descriptor.fd);
    const fd = await steps.step(files().install(descriptor as DirectDescriptor));
    try {
      return question(fd);
    } finally {
      reactor().discard(fd);
    }
  }, options);
}

/** The type of service of all that a socket sends; one of IPv6 may speak IPv4 too. */
export function typeOfService(ipv6: boolean, value: number): Option[] {
  const v4: Option = [IPPROTO_IP, IP_TOS, value];
  return ipv6 ? [[IPPROTO_IPV6, IPV6_TCLASS, value], v4] : [v4];
}

/** Four bytes at `at` in an option of `length`, as a number; 0 where that is not to be had. */
export function optionNumber(fd: number, level: number, name: number, length: number, at: number): number {
  const out = new Uint8Array(length);
  reactor().addon.getsockopt(fd, level, name, out);
  return new DataView(out.buffer).getUint32(at, true);
}

/** The bytes of an option, of up to `length`. */
export function optionBytes(fd: number, level: number, name: number, length: number): Uint8Array {
  const out = new Uint8Array(length);
  const result = reactor().addon.getsockopt(fd, level, name, out);
  if (result < 0) throw socketError(result, 'getsockopt');
  return out;
}
