import { addon } from '@ouro/native';
import {
  IORING_OP_FGETXATTR,
  IORING_OP_FSETXATTR,
  IORING_OP_GETXATTR,
  IORING_OP_SETXATTR,
  XATTR_SIZE_MAX,
} from '@ouro/native/abi';
import {
  addressOf,
  Bounce,
  type Bytes,
  checkBytes,
  checkInteger,
  invalidType,
  lengthOf,
  nothing,
  Op,
  type OpKind,
  opKind,
  type Pinned,
  pinned,
  type Target,
  UNSTABLE,
} from '@ouro/runtime/driver';
import { checkPath, keptPath, type PathLike, placePath, SECOND_PATH } from '../path.ts';

// Extended attributes, small values under names such as 'user.origin'. All of it since 5.19; on kernels without, it is
// refused: Node has nothing of the kind.

const SETXATTR = opKind<void>('setxattr', { decode: nothing });
const FSETXATTR = opKind<void>('fsetxattr', { decode: nothing });
const GETXATTR = opKind<number>('getxattr', { decode: copyBack });
const FGETXATTR = opKind<number>('fgetxattr', { decode: copyBack });
const GETXATTR_VALUE = opKind<Buffer>('getxattr', { decode: value });
const FGETXATTR_VALUE = opKind<Buffer>('fgetxattr', { decode: value });

const MOST = 0xffff_ffff;

/** Where the value is, or goes. */
type Value = Pick<Pinned, 'address' | 'length' | 'hold'>;

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
    value: Value,
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
function given(data: Bytes | string): Value {
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
 * @throws `EOPNOTSUPP` (no such name space, or none at all here), `ENOSPC`, `E2BIG`, `ERANGE` (the name is too long)
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

/** The caller's memory, for the kernel to fill. */
function filled(buffer: Bytes): Value {
  checkBytes('buffer', buffer);
  const address = addressOf(buffer);
  if (address !== UNSTABLE) return { address, length: lengthOf(buffer), hold: buffer };
  const bounce = Bounce.toFill(buffer);
  return { address: bounce.address, length: bounce.bytes.length, hold: bounce };
}

/** Memory that takes any value there can be: asking for the size first would be a second op, and a race. */
function anyValue(): Value {
  const memory = Buffer.allocUnsafeSlow(XATTR_SIZE_MAX);
  return { address: addon().addressOf(memory), length: XATTR_SIZE_MAX, hold: memory };
}

/**
 * `getxattr(2)`: an attribute of the file that a path, symbolic links followed, leads to.
 *
 * @param buffer takes the value and belongs to the op until that is done; the result is the number of bytes then, or how
 *   many it would take, if the buffer has none. Without one the result is a Buffer of its own.
 * @throws `ENODATA` (no such attribute), `ERANGE` (the buffer is too short), `EOPNOTSUPP`
 */
export function getxattr(path: PathLike, name: string, buffer: Bytes): Op<number>;
export function getxattr(path: PathLike, name: string): Op<Buffer>;
export function getxattr(path: PathLike, name: string, buffer?: Bytes): Op<number> | Op<Buffer> {
  return buffer === undefined
    ? new XAttr(GETXATTR_VALUE, IORING_OP_GETXATTR, name, path, anyValue(), 0)
    : new XAttr(GETXATTR, IORING_OP_GETXATTR, name, path, filled(buffer), 0);
}

/** `fgetxattr(2)`: `getxattr` of an open file. */
export function fgetxattr(fd: Target, name: string, buffer: Bytes): Op<number>;
export function fgetxattr(fd: Target, name: string): Op<Buffer>;
export function fgetxattr(fd: Target, name: string, buffer?: Bytes): Op<number> | Op<Buffer> {
  return buffer === undefined
    ? new XAttr(FGETXATTR_VALUE, IORING_OP_FGETXATTR, name, null, anyValue(), 0).on(fd)
    : new XAttr(FGETXATTR, IORING_OP_FGETXATTR, name, null, filled(buffer), 0).on(fd);
}
