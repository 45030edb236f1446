import { constants } from 'node:fs';
import { posix } from 'node:path';

// d_type of getdents64(2)
const DT_FIFO = 1;
const DT_CHR = 2;
const DT_DIR = 4;
const DT_BLK = 6;
const DT_REG = 8;
const DT_LNK = 10;
const DT_SOCK = 12;

/** The type that a mode says. */
export const typeOf = (mode: number): number => (mode & constants.S_IFMT) >> 12;

/** What a name stands for, as far as its directory says. */
export abstract class Named<P extends string | Buffer> {
  readonly name: P;
  /** @internal `DT_*` */
  readonly type: number;
  /** The path of the directory that it is in. */
  abstract readonly parentPath: P extends string ? string : string | Buffer;

  constructor(name: P, type: number) {
    this.name = name;
    this.type = type;
  }

  isFile(): boolean {
    return this.type === DT_REG;
  }
  isDirectory(): boolean {
    return this.type === DT_DIR;
  }
  isSymbolicLink(): boolean {
    return this.type === DT_LNK;
  }
  isFIFO(): boolean {
    return this.type === DT_FIFO;
  }
  isSocket(): boolean {
    return this.type === DT_SOCK;
  }
  isCharacterDevice(): boolean {
    return this.type === DT_CHR;
  }
  isBlockDevice(): boolean {
    return this.type === DT_BLK;
  }
}

/** A name in a directory: the fields and methods of Node's `fs.Dirent`. */
export class Dirent<P extends string | Buffer = string> extends Named<P> {
  override readonly parentPath: P extends string ? string : string | Buffer;

  constructor(name: P, type: number, parentPath: string | Buffer) {
    super(name, type);
    this.parentPath = (
      typeof name === 'string' ? parentPath.toString() : parentPath
    ) as typeof this.parentPath;
  }
}

const SLASH = 0x2f;

/** A path and a name in it. Bytes if one of them is. */
export function joined(path: string | Buffer, name: string | Buffer): string | Buffer {
  if (typeof path === 'string' && typeof name === 'string') {
    return path === '' || path.endsWith('/') ? path + name : `${path}/${name}`;
  }
  const left = typeof path === 'string' ? Buffer.from(path) : path;
  const right = typeof name === 'string' ? Buffer.from(name) : name;
  if (left.length === 0 || left[left.length - 1] === SLASH) return Buffer.concat([left, right]);
  return Buffer.concat([left, Buffer.of(SLASH), right]);
}

/** What Node makes of a root before it appends to it: `.` is nothing, `a//b/` is `a/b`. */
export function normalized(root: string | Buffer): string | Buffer {
  if (typeof root !== 'string') return root;
  const plain = posix.join(root, '.');
  return plain === '.' ? '' : plain;
}
