import { type BigIntStats, fstat as fstatInPool, lstat as lstatInPool, stat as statInPool } from 'node:fs';
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  EIO,
  IORING_OP_STATX,
  IOSQE_FIXED_FILE,
  STATX_BASIC_STATS,
  STATX_BTIME,
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
import { Stats, statxOf } from '../stats.ts';
import { type AtOptions, PathOp } from './path-op.ts';

/** Where in the slot's scratch the kernel puts `struct statx`: behind the path. */
const ANSWER_AT = INLINE_PATH;

const FSTAT = statKind('fstat');
const STAT = statKind('stat');
const LSTAT = statKind('lstat');

function statKind(syscall: string): OpKind<Stats> {
  return opKind(syscall, { decode: (_result, op, slot) => (op as Statx).answer(slot) });
}

class Statx extends PathOp<Stats> {
  /** What was found out without the ring. */
  #found: Buffer | null = null;

  override place(slot: number): void {
    super.place(slot);
    this.off = reactor().scratchAddress(slot) + ANSWER_AT;
  }

  answer(slot: number): Stats {
    if (this.#found !== null) return new Stats(this.#found, 0);
    return new Stats(reactor().scratch(slot).bytes, scratchOffset(slot) + ANSWER_AT);
  }

  override elsewhere(): Promise<number> | null {
    const open = this.kind === FSTAT && this.path === '';
    // A direct descriptor means nothing to node:fs.
    if (
      open
        ? (this.flags & IOSQE_FIXED_FILE) !== 0
        : !this.plain || (this.opFlags & ~AT_SYMLINK_NOFOLLOW) !== 0
    )
      return null;
    return new Promise((settle) => {
      const done = (error: NodeJS.ErrnoException | null, stats: BigIntStats): void => {
        if (error === null) this.#found = statxOf(stats);
        settle(error === null ? 0 : (error.errno ?? EIO));
      };
      if (open) fstatInPool(this.fd, { bigint: true }, done);
      else (this.kind === LSTAT ? lstatInPool : statInPool)(this.path, { bigint: true }, done);
    });
  }
}

/** What is asked for, and how. */
export interface StatxOptions extends AtOptions {
  /** `STATX_*` bits: fields that are not asked for may not be up to date. @default all */
  readonly mask?: number | undefined;
  /** `AT_SYMLINK_NOFOLLOW`, `AT_NO_AUTOMOUNT`, `AT_STATX_FORCE_SYNC`, `AT_STATX_DONT_SYNC`. @default 0 */
  readonly flags?: number | undefined;
}

const ALL = STATX_BASIC_STATS | STATX_BTIME;

/**
 * `statx(2)` (5.6) of a path or of an open file, answered by a kernel thread.
 *
 * @param target a path, or what is open: not a direct descriptor, of which the kernel answers `EBADF`
 * @throws `ENOENT`, `EACCES`, `ENOTDIR`…, called `stat`, `lstat` or `fstat` as in `node:fs`
 */
export function statx(target: PathLike | Target, options: StatxOptions = {}): Op<Stats> {
  const { mask = ALL, flags = 0, dirfd } = options;
  checkInteger('options.mask', mask, 0, 0x7fff_ffff);
  checkInteger('options.flags', flags, 0, 0x7fff_ffff);
  if (typeof target === 'string' || target instanceof URL || Buffer.isBuffer(target)) {
    const kind = (flags & AT_SYMLINK_NOFOLLOW) === 0 ? STAT : LSTAT;
    return new Statx(kind, IORING_OP_STATX, keptPath(target), dirfd, mask, flags);
  }
  const op = new Statx(FSTAT, IORING_OP_STATX, '', undefined, mask, flags | AT_EMPTY_PATH);
  op.detail = null;
  return op.on(target);
}

/** `statx(2)` of an open file (5.6). The kernel answers it from a thread of its own. */
export function fstat(fd: Target): Op<Stats> {
  return statx(fd);
}
