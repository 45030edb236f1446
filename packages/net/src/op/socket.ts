import { IORING_OP_BIND, IORING_OP_LISTEN, IORING_OP_SOCKET, SOCK_CLOEXEC } from '@ouro/native/abi';
import {
  checkInteger,
  type DirectDescriptor,
  directKind,
  type Into,
  NO_OPTIONS,
  nothing,
  Op,
  openInto,
  opKind,
  reactor,
  scratchOffset,
  type Target,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import { type Address, failedAt, sockaddr } from '../sockaddr.ts';

const INT_MAX = 0x7fff_ffff;

const SOCKET = opKind<number>('socket', {
  resultIsFd: true,
  error: (errno) => socketError(errno, 'socket'),
});

const SOCKET_DIRECT = directKind(SOCKET);

class Socket extends Op<number> {
  override elsewhere(): Promise<number> {
    return Promise.resolve(reactor().addon.socket(this.fd, this.off, this.len));
  }
}

/**
 * `socket(2)` through the ring (5.19), with a system call on kernels without the op. Close what it resolves to
 * (`close` of `@ouro/runtime/driver`), or make it a handle's.
 *
 * @param domain `AF_*`
 * @param type `SOCK_*`; `SOCK_CLOEXEC` is added. With `SOCK_NONBLOCK` other ops fail with `EAGAIN` instead of waiting
 * @param protocol 0 for the usual one
 */
export function socket(domain: number, type: number, protocol?: number): Op<number>;
/** `socket(2)` into the table of direct descriptors (5.19); refused on kernels without the op. */
export function socket(
  domain: number,
  type: number,
  protocol: number | undefined,
  options: { readonly into: Into },
): Op<DirectDescriptor>;
export function socket(
  domain: number,
  type: number,
  protocol = 0,
  options: { readonly into?: Into } = NO_OPTIONS,
): Op<number> | Op<DirectDescriptor> {
  checkInteger('domain', domain, 0, INT_MAX);
  checkInteger('type', type, 0, INT_MAX);
  checkInteger('protocol', protocol, 0, INT_MAX);
  const { into } = options;
  if (into === undefined) {
    const op = new Socket(SOCKET, IORING_OP_SOCKET, type | SOCK_CLOEXEC, 0, protocol);
    op.fd = domain;
    return op;
  }
  const op = new Op(SOCKET_DIRECT, IORING_OP_SOCKET, type & ~SOCK_CLOEXEC, 0, protocol);
  op.fd = domain;
  return openInto(op, into);
}

const BIND = opKind<void>('bind', {
  decode: nothing,
  error: (errno, op) => failedAt(errno, 'bind', op.hold as Address),
});

/** The address lies in the slot's scratch. */
class Bind extends Op<void> {
  readonly #sockaddr: Uint8Array;

  constructor(address: Address) {
    const { bytes } = sockaddr('address', address);
    super(BIND, IORING_OP_BIND, bytes.length);
    this.#sockaddr = bytes;
    this.hold = address;
  }

  override place(slot: number): void {
    const r = reactor();
    r.scratch(slot).bytes.set(this.#sockaddr, scratchOffset(slot));
    this.addr = r.scratchAddress(slot);
  }

  override elsewhere(): Promise<number> | null {
    if (this.descriptor?.direct === true) return null;
    return Promise.resolve(reactor().addon.bind(this.fd, this.#sockaddr));
  }
}

/**
 * `bind(2)` through the ring (6.11), with a system call on kernels without the op, unless the socket is a direct
 * descriptor.
 *
 * @param address port 0 lets the kernel choose one
 * @throws TypeError, RangeError for what is no address. `EADDRINUSE`, `EACCES`… carry `address` and `port`
 */
export function bind(fd: Target, address: Address): Op<void> {
  return new Bind(address).on(fd);
}

const LISTEN = opKind<void>('listen', {
  decode: nothing,
  error: (errno) => socketError(errno, 'listen'),
});

class Listen extends Op<void> {
  override elsewhere(): Promise<number> | null {
    if (this.descriptor?.direct === true) return null;
    return Promise.resolve(reactor().addon.listen(this.fd, this.len));
  }
}

/**
 * `listen(2)` through the ring (6.11), with a system call on kernels without the op, unless the socket is a direct
 * descriptor.
 *
 * @param backlog connections that the kernel keeps for us; limited by `net.core.somaxconn`
 */
export function listen(fd: Target, backlog: number): Op<void> {
  checkInteger('backlog', backlog, 0, INT_MAX);
  return new Listen(LISTEN, IORING_OP_LISTEN, 0, 0, backlog).on(fd);
}
