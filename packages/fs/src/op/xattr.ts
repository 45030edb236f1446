import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  IORING_OP_FGETXATTR,
  IORING_OP_FSETXATTR,
  IORING_OP_GETXATTR,
  IORING_OP_SETXATTR,
  OURO_OP_LGETXATTR,
  OURO_OP_LISTXATTR,
  OURO_OP_LSETXATTR,
  OURO_OP_REMOVEXATTR,
  XATTR_LIST_MAX,
  XATTR_SIZE_MAX,
} from '@ouro/native/abi';
import {
  Bounce,
  type Bytes,
  checkBytes,
  checkInteger,
  invalidType,
  nothing,
  Op,
  type OpKind,
  opKind,
  pinned,
  type Target,
} from '@ouro/runtime/driver';
import { checkPath, keptPath, type PathLike, placePath, SECOND_PATH } from '../path.ts';
import { answerMemory, filled, type Memory, onFile } from './own.ts';

// Extended attributes, small values under names such as 'user.origin'. Getting and setting is the kernel's since 5.19, and refused on
// kernels without: Node has nothing of the kind. Those of links themselves, lists of names and removing are ops of our own.

const SETXATTR = opKind<void>('setxattr', { decode: nothing });
const FSETXATTR = opKind<void>('fsetxattr', { decode: nothing });
const GETXATTR = opKind<number>('getxattr', { decode: copyBack });
const FGETXATTR = opKind<number>('fgetxattr', { decode: copyBack });
const LSETXATTR = opKind<void>('lsetxattr', { decode: nothing });
const REMOVEXATTR = opKind<void>('removexattr', { decode: nothing });
const LREMOVEXATTR = opKind<void>('lremovexattr', { decode: nothing });
const FREMOVEXATTR = opKind<void>('fremovexattr', { decode: nothing });
const LISTXATTR = opKind<string[]>('listxattr', { decode: names });
const LLISTXATTR = opKind<string[]>('llistxattr', { decode: names });
const FLISTXATTR = opKind<string[]>('flistxattr', { decode: names });
const LGETXATTR = opKind<number>('lgetxattr', { decode: copyBack });
const LGETXATTR_VALUE = opKind<Buffer>('lgetxattr', { decode: value });
const GETXATTR_VALUE = opKind<Buffer>('getxattr', { decode: value });
const FGETXATTR_VALUE = opKind<Buffer>('fgetxattr', { decode: value });

const MOST = 0xffff_ffff;

const NO_MEMORY: Memory = { address: 0, length: 0, hold: null };

/** An op on an attribute: its name at `addr`, its value's memory at `off` with `len` bytes, the file at `fd` or `addr3`. */
class XAttr<T> extends Op<T> {
  readonly #name: string;
  readonly #path: string | Buffer | null;
  /** What the kernel reads the value from or writes it to. */
  readonly memory: unknown;

  constructor(
    kind: OpKind<T>,
    opcode: number,
    name: unknown,
    path: PathLike | null,
    value: Memory,
    opFlags: number,
  ) {
    super(kind, opcode, value.address, 0, Math.min(value.length, MOST), opFlags);
    if (typeof name !== 'string') throw invalidType('name', 'of type string', name);
    checkPath(name, 'name'); // no zero byte in it
    this.#name = name;
    this.#path = path === null ? null : keptPath(path);
    this.memory = value.hold;
    this.hold = value.hold;
    if (this.#path !== null) this.detail = { path: this.#path };
  }

  override place(slot: number): void {
    const name = placePath(slot, this.#name, SECOND_PATH);
    this.addr = name.address;
    if (this.#path === null) this.hold = name.hold === null ? this.memory : [this.memory, name.hold];
    else {
      const path = placePath(slot, this.#path);
      this.addr3 = path.address;
      this.hold = [this.memory, name.hold, path.hold];
    }
  }
}

/** A value's bytes for the kernel to read. */
function given(data: Bytes | string): Memory {
  if (typeof data === 'string') return pinned(Buffer.from(data));
  checkBytes('value', data);
  return pinned(data);
}

function checkFlags(flags: number): number {
  checkInteger('flags', flags, 0, 0x7fff_ffff);
  return flags;
}

/**
 * `setxattr(2)`: sets an attribute of the file that a path, symbolic links followed, leads to.
 *
 * @param value up to 64 KiB; it belongs to the op until that is done. A string is written as UTF-8.
 * @param flags `XATTR_CREATE` (`EEXIST` if it is there), `XATTR_REPLACE` (`ENODATA` if it is not)
 * @throws `ENOTSUP` (no such name space, or none at all here), `ENOSPC`, `E2BIG`, `ERANGE` (the name is too long)
 */
export function setxattr(path: PathLike, name: string, value: Bytes | string, flags = 0): Op<void> {
  return new XAttr(SETXATTR, IORING_OP_SETXATTR, name, path, given(value), checkFlags(flags));
}

/** `fsetxattr(2)`: `setxattr` of an open file. */
export function fsetxattr(fd: Target, name: string, value: Bytes | string, flags = 0): Op<void> {
  return new XAttr(FSETXATTR, IORING_OP_FSETXATTR, name, null, given(value), checkFlags(flags)).on(fd);
}

function copyBack(count: number, op: Op<unknown>): number {
  // Of a buffer of no bytes the kernel tells how many it would take.
  const { memory } = op as XAttr<unknown>;
  if (memory instanceof Bounce && op.len > 0) memory.copyBack(count);
  return count;
}

function value(count: number, op: Op<unknown>): Buffer {
  return Buffer.from(((op as XAttr<unknown>).memory as Buffer).subarray(0, count));
}

/**
 * `getxattr(2)`: an attribute of the file that a path, symbolic links followed, leads to.
 *
 * @param buffer takes the value and belongs to the op until that is done; the result is the number of bytes then, or how
 *   many it would take, if the buffer has none. Without one the result is a Buffer of its own.
 * @throws `ENODATA` (no such attribute), `ERANGE` (the buffer is too short), `ENOTSUP`
 */
export function getxattr(path: PathLike, name: string, buffer: Bytes): Op<number>;
export function getxattr(path: PathLike, name: string): Op<Buffer>;
export function getxattr(path: PathLike, name: string, buffer?: Bytes): Op<number> | Op<Buffer> {
  return buffer === undefined
    ? new XAttr(GETXATTR_VALUE, IORING_OP_GETXATTR, name, path, answerMemory(XATTR_SIZE_MAX), 0)
    : new XAttr(GETXATTR, IORING_OP_GETXATTR, name, path, filled(buffer), 0);
}

/** `fgetxattr(2)`: `getxattr` of an open file. */
export function fgetxattr(fd: Target, name: string, buffer: Bytes): Op<number>;
export function fgetxattr(fd: Target, name: string): Op<Buffer>;
export function fgetxattr(fd: Target, name: string, buffer?: Bytes): Op<number> | Op<Buffer> {
  return buffer === undefined
    ? new XAttr(FGETXATTR_VALUE, IORING_OP_FGETXATTR, name, null, answerMemory(XATTR_SIZE_MAX), 0).on(fd)
    : new XAttr(FGETXATTR, IORING_OP_FGETXATTR, name, null, filled(buffer), 0).on(fd);
}

/** `lsetxattr(2)`: `setxattr` of a symbolic link itself, which has attributes of some name spaces only (`trusted.`, `security.`). */
export function lsetxattr(path: PathLike, name: string, value: Bytes | string, flags = 0): Op<void> {
  return new XAttr(LSETXATTR, OURO_OP_LSETXATTR, name, path, given(value), checkFlags(flags));
}

/** `lgetxattr(2)`: `getxattr` of a symbolic link itself. */
export function lgetxattr(path: PathLike, name: string, buffer: Bytes): Op<number>;
export function lgetxattr(path: PathLike, name: string): Op<Buffer>;
export function lgetxattr(path: PathLike, name: string, buffer?: Bytes): Op<number> | Op<Buffer> {
  return buffer === undefined
    ? new XAttr(LGETXATTR_VALUE, OURO_OP_LGETXATTR, name, path, answerMemory(XATTR_SIZE_MAX), 0)
    : new XAttr(LGETXATTR, OURO_OP_LGETXATTR, name, path, filled(buffer), 0);
}

function remove(kind: OpKind<void>, name: string, path: PathLike | null, flags: number): Op<void> {
  return new XAttr(kind, OURO_OP_REMOVEXATTR, name, path, NO_MEMORY, flags);
}

/** `removexattr(2)`: removes an attribute. @throws `ENODATA` (no such attribute), `ENOTSUP`, `EPERM` */
export function removexattr(path: PathLike, name: string): Op<void> {
  return remove(REMOVEXATTR, name, path, 0);
}

/** `lremovexattr(2)`: `removexattr` of a symbolic link itself. */
export function lremovexattr(path: PathLike, name: string): Op<void> {
  return remove(LREMOVEXATTR, name, path, AT_SYMLINK_NOFOLLOW);
}

/** `fremovexattr(2)`: `removexattr` of an open file. */
export function fremovexattr(fd: Target, name: string): Op<void> {
  return onFile(remove(FREMOVEXATTR, name, null, AT_EMPTY_PATH), fd);
}

function names(count: number, op: Op<unknown>): string[] {
  // Each ends with a zero byte.
  return value(count, op).toString().split('\0').slice(0, -1);
}

function list(kind: OpKind<string[]>, path: PathLike | null, flags: number): Op<string[]> {
  return new XAttr(kind, OURO_OP_LISTXATTR, '', path, answerMemory(XATTR_LIST_MAX), flags);
}

/** `listxattr(2)`: the names of all attributes of a file, in no order. @throws `ENOENT`, `ENOTSUP`… */
export function listxattr(path: PathLike): Op<string[]> {
  return list(LISTXATTR, path, 0);
}

/** `llistxattr(2)`: `listxattr` of a symbolic link itself. */
export function llistxattr(path: PathLike): Op<string[]> {
  return list(LLISTXATTR, path, AT_SYMLINK_NOFOLLOW);
}

/** `flistxattr(2)`: `listxattr` of an open file. */
export function flistxattr(fd: Target): Op<string[]> {
  return onFile(list(FLISTXATTR, null, AT_EMPTY_PATH), fd);
}
