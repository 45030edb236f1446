import { AT_FDCWD } from '@ouro/native/abi';
import {
  checkInteger,
  type Descriptor,
  descriptorOf,
  invalidType,
  Op,
  type OpKind,
  type Target,
} from '@ouro/runtime/driver';
import { placePath, SECOND_PATH } from '../path.ts';

/** What ops on paths take. */
export interface AtOptions {
  /** The directory that a relative path begins at: an open one, not a direct descriptor. @default that of the process */
  readonly dirfd?: Target | undefined;
}

/** Where a relative path begins, as the kernel wants it. */
interface Directory {
  readonly fd: number;
  readonly descriptor: Descriptor | null;
}

const WORKING_DIRECTORY: Directory = { fd: AT_FDCWD, descriptor: null };

/** Checks a directory given as an option. */
export function directoryOf(name: string, dirfd: Target | undefined): Directory {
  if (dirfd === undefined || dirfd === AT_FDCWD) return WORKING_DIRECTORY;
  if (typeof dirfd === 'number') {
    checkInteger(name, dirfd, 0, 0x7fff_ffff);
    return { fd: dirfd, descriptor: null };
  }
  const descriptor = descriptorOf(dirfd);
  // The kernel looks directories up by their numbers in the process.
  if (descriptor.direct) throw invalidType(name, 'a descriptor that is not a direct one', dirfd);
  return { fd: descriptor.fd, descriptor };
}

/** An op on one path, at `addr`. */
export class PathOp<T> extends Op<T> {
  readonly path: string | Buffer;

  /** @param path what `keptPath` made of the argument */
  constructor(
    kind: OpKind<T>,
    opcode: number,
    path: string | Buffer,
    dirfd: Target | undefined,
    len: number,
    opFlags: number,
  ) {
    super(kind, opcode, 0, 0, len, opFlags);
    this.path = path;
    this.detail = { path };
    const { fd, descriptor } = directoryOf('options.dirfd', dirfd);
    this.fd = fd;
    this.descriptor = descriptor;
  }

  /** Whether the path means the same to `node:fs`, which knows no directory but that of the process. */
  get plain(): boolean {
    return this.fd === AT_FDCWD;
  }

  override place(slot: number): void {
    const placed = placePath(slot, this.path);
    this.hold = placed.hold;
    this.addr = placed.address;
  }
}

/** An op on two paths, at `addr` and at `off`. */
export class TwoPathOp<T = void> extends Op<T> {
  readonly path: string | Buffer;
  readonly dest: string | Buffer;

  constructor(
    kind: OpKind<T>,
    opcode: number,
    path: string | Buffer,
    dest: string | Buffer,
    opFlags: number,
  ) {
    super(kind, opcode, 0, 0, 0, opFlags);
    this.path = path;
    this.dest = dest;
    this.fd = AT_FDCWD;
    this.detail = { path, dest };
  }

  override place(slot: number): void {
    const path = placePath(slot, this.path);
    const dest = placePath(slot, this.dest, SECOND_PATH);
    this.hold = path.hold === null ? dest.hold : [path.hold, dest.hold];
    this.addr = path.address;
    this.off = dest.address;
  }
}
