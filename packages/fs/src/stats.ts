import { type BigIntStats, constants } from 'node:fs';

const { S_IFMT, S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK } = constants;

/** Linux's `makedev`: how `dev` and `rdev` are put together from major and minor. */
function device(major: number, minor: number): number {
  const low = ((major & 0xfff) << 8) | (minor & 0xff);
  const high = Math.floor(minor / 256) * 2 ** 20 + Math.floor(major / 4096) * 2 ** 44;
  return high + low;
}

const quad = (bytes: Buffer, at: number): number =>
  bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;

/** `struct statx_timestamp`: seconds (64 bits, signed) and nanoseconds, as milliseconds. */
const timeMs = (bytes: Buffer, at: number): number =>
  (bytes.readUInt32LE(at) + bytes.readInt32LE(at + 4) * 2 ** 32) * 1000 + bytes.readUInt32LE(at + 8) / 1e6;

/** Rounded as Node does it, where a Date alone would cut off. */
const date = (ms: number): Date => new Date(Math.round(ms));

/** What is known about a file: the fields and methods of Node's `fs.Stats`. Times are milliseconds since 1970. */
export class Stats {
  readonly dev: number;
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  /** Bytes. */
  readonly size: number;
  readonly blksize: number;
  /** Of 512 bytes each. */
  readonly blocks: number;
  readonly atimeMs: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
  readonly birthtimeMs: number;

  /** @internal @param bytes holds a `struct statx` (`statx(2)`) from byte `at` on */
  constructor(bytes: Buffer, at: number) {
    this.blksize = bytes.readUInt32LE(at + 4);
    this.nlink = bytes.readUInt32LE(at + 16);
    this.uid = bytes.readUInt32LE(at + 20);
    this.gid = bytes.readUInt32LE(at + 24);
    this.mode = bytes.readUInt16LE(at + 28);
    this.ino = quad(bytes, at + 32);
    this.size = quad(bytes, at + 40);
    this.blocks = quad(bytes, at + 48);
    this.atimeMs = timeMs(bytes, at + 64);
    this.birthtimeMs = timeMs(bytes, at + 80);
    this.ctimeMs = timeMs(bytes, at + 96);
    this.mtimeMs = timeMs(bytes, at + 112);
    this.rdev = device(bytes.readUInt32LE(at + 128), bytes.readUInt32LE(at + 132));
    this.dev = device(bytes.readUInt32LE(at + 136), bytes.readUInt32LE(at + 140));
  }

  get atime(): Date {
    return date(this.atimeMs);
  }
  get mtime(): Date {
    return date(this.mtimeMs);
  }
  get ctime(): Date {
    return date(this.ctimeMs);
  }
  get birthtime(): Date {
    return date(this.birthtimeMs);
  }

  isFile(): boolean {
    return (this.mode & S_IFMT) === S_IFREG;
  }
  isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }
  isSymbolicLink(): boolean {
    return (this.mode & S_IFMT) === S_IFLNK;
  }
  isFIFO(): boolean {
    return (this.mode & S_IFMT) === S_IFIFO;
  }
  isSocket(): boolean {
    return (this.mode & S_IFMT) === S_IFSOCK;
  }
  isCharacterDevice(): boolean {
    return (this.mode & S_IFMT) === S_IFCHR;
  }
  isBlockDevice(): boolean {
    return (this.mode & S_IFMT) === S_IFBLK;
  }
}

/** `makedev` backwards. */
const major = (device: bigint): number =>
  Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xffff_f000n));
const minor = (device: bigint): number => Number((device & 0xffn) | ((device >> 12n) & 0xffff_ff00n));

/** A `struct statx` of what Node found out, as the kernel would have written it: the fields that `Stats` reads. */
export function statxOf(stats: BigIntStats): Buffer {
  const bytes = Buffer.alloc(256);
  bytes.writeUInt32LE(Number(stats.blksize), 4);
  bytes.writeUInt32LE(Number(stats.nlink), 16);
  bytes.writeUInt32LE(Number(stats.uid), 20);
  bytes.writeUInt32LE(Number(stats.gid), 24);
  bytes.writeUInt16LE(Number(stats.mode), 28);
  bytes.writeBigUInt64LE(stats.ino, 32);
  bytes.writeBigUInt64LE(stats.size, 40);
  bytes.writeBigUInt64LE(stats.blocks, 48);
  const time = (ns: bigint, at: number): void => {
    const rest = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    bytes.writeBigInt64LE((ns - rest) / 1_000_000_000n, at);
    bytes.writeUInt32LE(Number(rest), at + 8);
  };
  time(stats.atimeNs, 64);
  time(stats.birthtimeNs, 80);
  time(stats.ctimeNs, 96);
  time(stats.mtimeNs, 112);
  bytes.writeUInt32LE(major(stats.rdev), 128);
  bytes.writeUInt32LE(minor(stats.rdev), 132);
  bytes.writeUInt32LE(major(stats.dev), 136);
  bytes.writeUInt32LE(minor(stats.dev), 140);
  return bytes;
}
