import { inspect } from 'node:util';
import { XATTR_CREATE, XATTR_REPLACE } from '@ouro/native/abi';
import { type Bytes, type Future, type Op, type OpOptions, submit, type Target } from '@ouro/runtime/driver';
import {
  fgetxattr,
  flistxattr,
  fremovexattr,
  fsetxattr,
  getxattr as getOp,
  lgetxattr,
  listxattr as listOp,
  llistxattr,
  lremovexattr,
  lsetxattr,
  removexattr as removeOp,
  setxattr as setOp,
} from '../op/xattr.ts';
import type { PathLike } from '../path.ts';

// Extended attributes: small values that a file has beside its contents, under names such as 'user.origin'. Node has nothing of the
// kind.

/** Whose attributes are meant. */
export interface AttributeOptions extends OpOptions {
  /** False: those of a symbolic link itself. @default true */
  readonly followSymlinks?: boolean | undefined;
}

/** How an attribute is set. */
export interface SetAttributeOptions extends OpOptions {
  /** `'create'`: `EEXIST` if it is there; `'replace'`: `ENODATA` if it is not. @default either */
  readonly flag?: 'create' | 'replace' | undefined;
}

function setFlags(flag: unknown): number {
  if (flag === undefined) return 0;
  if (flag === 'create') return XATTR_CREATE;
  if (flag === 'replace') return XATTR_REPLACE;
  throw Object.assign(
    new TypeError(
      `The property 'options.flag' must be one of: 'create', 'replace'. Received ${inspect(flag)}`,
    ),
    { code: 'ERR_INVALID_ARG_VALUE' },
  );
}

const isLink = (options: AttributeOptions | undefined): boolean => options?.followSymlinks === false;

/** The value of an attribute. @throws `ENODATA` (there is none of that name), `ENOTSUP`… */
export function getxattr(path: PathLike, name: string, options?: AttributeOptions): Future<Buffer> {
  return submit(isLink(options) ? lgetxattr(path, name) : getOp(path, name), options);
}

/**
 * Sets an attribute.
 *
 * @param value up to 64 KiB, by many file systems less; a string is written as UTF-8
 * @throws `ENOTSUP` (no such name space), `ENOSPC`, `E2BIG`, `ERANGE` (the name is too long), `EPERM`…
 */
export function setxattr(
  path: PathLike,
  name: string,
  value: Bytes | string,
  options?: SetAttributeOptions & AttributeOptions,
): Future<void> {
  const flags = setFlags(options?.flag);
  const op = isLink(options) ? lsetxattr(path, name, value, flags) : setOp(path, name, value, flags);
  return submit(op, options);
}

/** The names of all attributes, in no order. */
export function listxattr(path: PathLike, options?: AttributeOptions): Future<string[]> {
  return submit(isLink(options) ? llistxattr(path) : listOp(path), options);
}

/** Removes an attribute. @throws `ENODATA` (there is none of that name)… */
export function removexattr(path: PathLike, name: string, options?: AttributeOptions): Future<void> {
  return submit(isLink(options) ? lremovexattr(path, name) : removeOp(path, name), options);
}

/** The same of an open file: what `File` has for it. */
export const ofFile: {
  readonly get: (fd: Target, name: string) => Op<Buffer>;
  readonly set: (fd: Target, name: string, value: Bytes | string, options?: SetAttributeOptions) => Op<void>;
  readonly list: (fd: Target) => Op<string[]>;
  readonly remove: (fd: Target, name: string) => Op<void>;
} = {
  get: (fd, name) => fgetxattr(fd, name),
  set: (fd, name, value, options) => fsetxattr(fd, name, value, setFlags(options?.flag)),
  list: flistxattr,
  remove: fremovexattr,
};
