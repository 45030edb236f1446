import { IORING_ACCEPT_MULTISHOT, IORING_OP_ACCEPT, SOCK_CLOEXEC } from '@ouro/native/abi';
import {
  checkInteger,
  type DirectDescriptor,
  directKind,
  type Into,
  NO_OPTIONS,
  Op,
  type OpKind,
  openInto,
  opKind,
  type Target,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';

const ACCEPT = opKind<number>('accept', {
  resultIsFd: true,
  error: (errno) => socketError(errno, 'accept'),
  endsWithHandle: true,
});
const ACCEPT_DIRECT = directKind(ACCEPT);

/** How connections are accepted. */
export interface AcceptOptions {
  /** `SOCK_NONBLOCK`, if at all; `SOCK_CLOEXEC` is added to ordinary descriptors. @default 0 */
  readonly flags?: number;
}

/**
 * `accept4(2)` of one connection (5.5). Resolves to its descriptor, which is the caller's to close; with `into` to a direct
 * descriptor (5.15). Cancelling an accept that has succeeded closes it.
 */
export function accept(fd: Target, options?: AcceptOptions & { readonly into?: undefined }): Op<number>;
export function accept(fd: Target, options: AcceptOptions & { readonly into: Into }): Op<DirectDescriptor>;
export function accept(
  fd: Target,
  options: AcceptOptions & { readonly into?: Into | undefined } = NO_OPTIONS,
): Op<number> | Op<DirectDescriptor> {
  const { into } = options;
  if (into === undefined) return accepting(ACCEPT, fd, options, SOCK_CLOEXEC);
  return openInto(accepting(ACCEPT_DIRECT, fd, options, 0), into);
}

/**
 * One accept for all connections to come (5.19), for `stream`: each completion is the descriptor of one, which is the
 * caller's to close. With `into` they are direct descriptors, at places of the kernel's choice.
 */
export function acceptMultishot(
  fd: Target,
  options?: AcceptOptions & { readonly into?: undefined },
): Op<number>;
export function acceptMultishot(
  fd: Target,
  options: AcceptOptions & { readonly into: 'any' },
): Op<DirectDescriptor>;
export function acceptMultishot(
  fd: Target,
  options: AcceptOptions & { readonly into?: 'any' | undefined } = NO_OPTIONS,
): Op<number> | Op<DirectDescriptor> {
  const op =
    options.into === undefined
      ? accept(fd, { ...options, into: undefined })
      : accept(fd, { ...options, into: 'any' });
  op.ioprio = IORING_ACCEPT_MULTISHOT;
  return op;
}

function accepting<T>(kind: OpKind<T>, fd: Target, { flags = 0 }: AcceptOptions, added: number): Op<T> {
  checkInteger('options.flags', flags, 0, 0x7fff_ffff);
  return new Op(kind, IORING_OP_ACCEPT, 0, 0, 0, flags | added).on(fd);
}
