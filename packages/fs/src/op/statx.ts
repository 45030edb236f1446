import {
  fstat as fstatInPool,
  lstat as lstatInPool,
  type BigIntStats as NodeBigIntStats,
  stat as statInPool,
} from 'node:fs';
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  EIO,
  IORING_OP_STATX,
  IOSQE_FIXED_FILE,
  OURO_OP_STAT,
  STATX_BASIC_STATS,
  STATX_BTIME,
  STATX_DIO_READ_ALIGN,
  STATX_DIOALIGN,
  STATX_MNT_ID,
  STATX_SUBVOL,
} from '@ouro/native/abi';
import {
  checkInteger,
  type Op,
  type OpKind,
  opKind,
  reactor,
  scratchOffset,
  type Target,
} from '@ouro/runtime/driver';
import { INLINE_PATH, keptPath, type PathLike } from '../path.ts';
import { BigIntStats, Stats, Statx, statxOf } from '../stats.ts';
import { type AtOptions, PathOp } from './path-op.ts';

/** Where in the slot's scratch the kernel puts `struct statx`: behind the path. */
const ANSWER_AT = INLINE_PATH;

/** What becomes of the bytes of a `struct statx`, which begin at `at` and are somebody else's afterwards. */
export type StatShape<T> = (bytes: Buffer, at: number) => T;

/** The kinds of op that make one shape, by what Node calls them. */
export interface StatKinds<T> {
  readonly fstat: OpKind<T>;
  readonly stat: OpKind<T>;
  readonly lstat: OpKind<T>;
}

/** Kinds of op that make something else of a `struct statx` than `Stats`: for `statAs`. To be made once. */
export function statKinds<T>(shape: StatShape<T>): StatKinds<T> {
  const kind = (syscall: string): OpKind<T> =>
    opKind(syscall, { decode: (_result, op, slot) => (op as StatxOp<unknown>).answer(slot, shape) });
  return { fstat: kind('fstat'), stat: kind('stat'), lstat: kind('lstat') };
}

const STATS: StatKinds<Stats> = statKinds((bytes, at) => new Stats(bytes, at));
const BIGINT_STATS: StatKinds<BigIntStats> = statKinds((bytes, at) => new BigIntStats(bytes, at));
const ALL_OF_STATX: StatKinds<Statx> = statKinds((bytes, at) => new Statx(bytes, at));

class StatxOp<T> extends PathOp<T> {
  /** What was found out without the ring. */
  #found: Buffer | null = null;

  override place(slot: number): void {
    super.place(slot);
    this.off = reactor().scratchAddress(slot) + ANSWER_AT;
  }

  answer<S>(slot: number, shape: StatShape<S>): S {
    if (this.#found !== null) return shape(this.#found, 0);
    return shape(reactor().scratch(slot).bytes, scratchOffset(slot) + ANSWER_AT);
  }

  override elsewhere(): Promise<number> | null {
    // Ours is done beside the ring, unless the process may open nothing more.
    if (this.opcode === OURO_OP_STAT && reactor().serves(this)) return null;
    const open = (this.opFlags & AT_EMPTY_PATH) !== 0;
    // A direct descriptor means nothing to node:fs.
    if (
      open
        ? (this.flags & IOSQE_FIXED_FILE) !== 0
        : !this.plain || (this.opFlags & ~AT_SYMLINK_NOFOLLOW) !== 0
    )
      return null;
    return new Promise((settle) => {
      const done = (error: NodeJS.ErrnoException | null, stats: NodeBigIntStats): void => {
        if (error === null) this.#found = statxOf(stats);
        settle(error === null ? 0 : (error.errno ?? EIO));
      };
      if (open) fstatInPool(this.fd, { bigint: true }, done);
      else
        ((this.opFlags & AT_SYMLINK_NOFOLLOW) === 0 ? statInPool : lstatInPool)(
          this.path,
          { bigint: true },
          done,
        );
    });
  }
}

/** What is asked for, and how. */
export interface StatxOptions extends AtOptions {
  /** `STATX_*` bits: fields that are not asked for may not be up to date. @default those of `Stats` */
  readonly mask?: number | undefined;
  /** `AT_SYMLINK_NOFOLLOW`, `AT_NO_AUTOMOUNT`, `AT_STATX_FORCE_SYNC`, `AT_STATX_DONT_SYNC`. @default 0 */
  readonly flags?: number | undefined;
  /** Bigints, and times in nanoseconds. @default false */
  readonly bigint?: boolean | undefined;
}

/** What kernels do not know they leave out. */
const EVERYTHING =
  STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID | STATX_DIOALIGN | STATX_SUBVOL | STATX_DIO_READ_ALIGN;
const USUAL = STATX_BASIC_STATS | STATX_BTIME;

function encode<T>(
  { fstat, stat, lstat }: StatKinds<T>,
  target: PathLike | Target,
  mask: number,
  { flags = 0, dirfd }: StatxOptions,
  opcode: number = IORING_OP_STATX,
): Op<T> {
  checkInteger('options.mask', mask, 0, 0x7fff_ffff);
  checkInteger('options.flags', flags, 0, 0x7fff_ffff);
  if (typeof target === 'string' || target instanceof URL || Buffer.isBuffer(target)) {
    const kind = (flags & AT_SYMLINK_NOFOLLOW) === 0 ? stat : lstat;
    return new StatxOp(kind, opcode, keptPath(target), dirfd, mask, flags);
  }
  const op = new StatxOp(fstat, opcode, '', undefined, mask, flags | AT_EMPTY_PATH);
  op.detail = null;
  return op.on(target);
}

/**
 * `statx(2)` (5.6) of a path or of an open file, answered by a kernel thread.
 *
 * @param target a path, or what is open: not a direct descriptor, of which the kernel answers `EBADF`
 * @throws `ENOENT`, `EACCES`, `ENOTDIR`…, called `stat`, `lstat` or `fstat` as in `node:fs`
 */
export function statx(
  target: PathLike | Target,
  options: StatxOptions & { readonly bigint: true },
): Op<BigIntStats>;
export function statx(
  target: PathLike | Target,
  options?: StatxOptions & { readonly bigint?: false | undefined },
): Op<Stats>;
export function statx(target: PathLike | Target, options: StatxOptions): Op<Stats | BigIntStats>;
export function statx(target: PathLike | Target, options: StatxOptions = {}): Op<Stats> | Op<BigIntStats> {
  const { mask = USUAL, bigint } = options;
  return bigint === true ? encode(BIGINT_STATS, target, mask, options) : encode(STATS, target, mask, options);
}

/**
 * The same as an op of our own: in no thread at all where everything is in memory, which the kernel's ring does not find out.
 * Not for chains.
 */
export function statOf(
  target: PathLike | Target,
  options: StatxOptions & { readonly bigint: true },
): Op<BigIntStats>;
export function statOf(
  target: PathLike | Target,
  options?: StatxOptions & { readonly bigint?: false | undefined },
): Op<Stats>;
export function statOf(target: PathLike | Target, options: StatxOptions): Op<Stats | BigIntStats>;
export function statOf(target: PathLike | Target, options: StatxOptions = {}): Op<Stats> | Op<BigIntStats> {
  const { mask = USUAL, bigint } = options;
  if (bigint === true) return encode(BIGINT_STATS, target, mask, options, OURO_OP_STAT);
  return encode(STATS, target, mask, options, OURO_OP_STAT);
}

/**
 * `statOf` with an answer of another shape.
 *
 * @param target a path, or what is open
 * @param flags as of `statx`
 */
export function statAs<T>(shapes: StatKinds<T>, target: PathLike | Target, flags = 0): Op<T> {
  return encode(shapes, target, USUAL, { flags }, OURO_OP_STAT);
}

/** `statx(2)`, with all that it tells. @param options `mask` is everything unless given */
export function statxAll(target: PathLike | Target, options: Omit<StatxOptions, 'bigint'> = {}): Op<Statx> {
  return encode(ALL_OF_STATX, target, options.mask ?? EVERYTHING, options);
}

/** `statx(2)` of an open file (5.6). The kernel answers it from a thread of its own. */
export function fstat(fd: Target): Op<Stats> {
  return statx(fd);
}
