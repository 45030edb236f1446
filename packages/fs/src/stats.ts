import { constants, type BigIntStats as NodeBigIntStats } from 'node:fs';
import { STATX_BASIC_STATS, STATX_BTIME } from '@ouro/native/abi';

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

/** What kind of file it is. */
abstract class Kind<N extends number | bigint> {
  /** Type and permissions. */
  abstract readonly mode: N;

  #is(type: number): boolean {
    return (Number(this.mode) & S_IFMT) === type;
  }
  isFile(): boolean {
    return this.#is(S_IFREG);
  }
  isDirectory(): boolean {
    return this.#is(S_IFDIR);
  }
  isSymbolicLink(): boolean {
    return this.#is(S_IFLNK);
  }
  isFIFO(): boolean {
    return this.#is(S_IFIFO);
  }
  isSocket(): boolean {
    return this.#is(S_IFSOCK);
  }
  isCharacterDevice(): boolean {
    return this.#is(S_IFCHR);
  }
  isBlockDevice(): boolean {
    return this.#is(S_IFBLK);
  }
}

/** What is known about a file: the fields and methods of Node's `fs.Stats`. Times are milliseconds since 1970. */
export class Stats extends Kind<number> {
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
    super();
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
}

/** `struct statx_timestamp` in nanoseconds. */
const timeNs = (bytes: Buffer, at: number): bigint =>
  bytes.readBigInt64LE(at) * 1_000_000_000n + BigInt(bytes.readUInt32LE(at + 8));

/** The same with bigints: the fields and methods of Node's `fs.BigIntStats`. Times ending in `Ns` are nanoseconds since 1970. */
export class BigIntStats extends Kind<bigint> {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly mode: bigint;
  readonly nlink: bigint;
  readonly uid: bigint;
  readonly gid: bigint;
  readonly rdev: bigint;
  /** Bytes. */
  readonly size: bigint;
  readonly blksize: bigint;
  /** Of 512 bytes each. */
  readonly blocks: bigint;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly birthtimeNs: bigint;

  /** @internal @param bytes holds a `struct statx` (`statx(2)`) from byte `at` on */
  constructor(bytes: Buffer, at: number) {
    super();
    this.blksize = BigInt(bytes.readUInt32LE(at + 4));
    this.nlink = BigInt(bytes.readUInt32LE(at + 16));
    this.uid = BigInt(bytes.readUInt32LE(at + 20));
    this.gid = BigInt(bytes.readUInt32LE(at + 24));
    this.mode = BigInt(bytes.readUInt16LE(at + 28));
    this.ino = bytes.readBigUInt64LE(at + 32);
    this.size = bytes.readBigUInt64LE(at + 40);
    this.blocks = bytes.readBigUInt64LE(at + 48);
    this.atimeNs = timeNs(bytes, at + 64);
    this.birthtimeNs = timeNs(bytes, at + 80);
    this.ctimeNs = timeNs(bytes, at + 96);
    this.mtimeNs = timeNs(bytes, at + 112);
    this.rdev = BigInt(device(bytes.readUInt32LE(at + 128), bytes.readUInt32LE(at + 132)));
    this.dev = BigInt(device(bytes.readUInt32LE(at + 136), bytes.readUInt32LE(at + 140)));
  }

  get atimeMs(): bigint {
    return this.atimeNs / 1_000_000n;
  }
  get mtimeMs(): bigint {
    return this.mtimeNs / 1_000_000n;
  }
  get ctimeMs(): bigint {
    return this.ctimeNs / 1_000_000n;
  }
  get birthtimeMs(): bigint {
    return this.birthtimeNs / 1_000_000n;
  }
  get atime(): Date {
    return date(Number(this.atimeMs));
  }
  get mtime(): Date {
    return date(Number(this.mtimeMs));
  }
  get ctime(): Date {
    return date(Number(this.ctimeMs));
  }
  get birthtime(): Date {
    return date(Number(this.birthtimeMs));
  }
}

/** All that `statx(2)` tells. Fields that the kernel or the file system does not know are 0: `mask` says which are true. */
export class Statx extends BigIntStats {
  /** `STATX_*` bits of what was filled in. */
  readonly mask: number;
  /** `STATX_ATTR_*` bits: compressed, immutable, append-only, a mount point, … */
  readonly attributes: bigint;
  /** Which of these the file system knows. */
  readonly attributesMask: bigint;
  /** Of the mount that it was found in: with `STATX_MNT_ID` (5.8) or, never used twice, `STATX_MNT_ID_UNIQUE` (6.8). */
  readonly mountId: bigint;
  /** What memory for direct I/O has to be aligned to, in bytes; 0 where there is none (`STATX_DIOALIGN`, 6.1). */
  readonly dioMemAlign: number;
  /** What positions and lengths of direct I/O have to be aligned to. */
  readonly dioOffsetAlign: number;
  /** Of a subvolume of btrfs or bcachefs (`STATX_SUBVOL`, 6.10). */
  readonly subvolume: bigint;
  /** What direct reads have to be aligned to, if that is less (`STATX_DIO_READ_ALIGN`, 6.14). */
  readonly dioReadOffsetAlign: number;

  /** @internal */
  constructor(bytes: Buffer, at: number) {
    super(bytes, at);
    this.mask = bytes.readUInt32LE(at);
    this.attributes = bytes.readBigUInt64LE(at + 8);
    this.attributesMask = bytes.readBigUInt64LE(at + 56);
    this.mountId = bytes.readBigUInt64LE(at + 144);
    this.dioMemAlign = bytes.readUInt32LE(at + 152);
    this.dioOffsetAlign = bytes.readUInt32LE(at + 156);
    this.subvolume = bytes.readBigUInt64LE(at + 160);
    this.dioReadOffsetAlign = bytes.readUInt32LE(at + 180);
  }
}

/** `makedev` backwards. */
const major = (device: bigint): number =>
  Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xffff_f000n));
const minor = (device: bigint): number => Number((device & 0xffn) | ((device >> 12n) & 0xffff_ff00n));

/** A `struct statx` of what Node found out, as the kernel would have written it: the fields that `Stats` reads. */
export function statxOf(stats: NodeBigIntStats): Buffer {
  const bytes = Buffer.alloc(256);
  bytes.writeUInt32LE(STATX_BASIC_STATS | STATX_BTIME, 0);
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
