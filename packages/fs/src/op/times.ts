import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  OURO_OP_UTIMENSAT,
  UTIME_NOW,
  UTIME_OMIT,
} from '@ouro/native/abi';
import {
  invalidType,
  nothing,
  type Op,
  type OpKind,
  opKind,
  outOfRange,
  reactor,
  scratchOffset,
  type Target,
} from '@ouro/runtime/driver';
import { INLINE_PATH, keptPath, type PathLike } from '../path.ts';
import { type AtFlags, checkFlags } from './mode.ts';
import { onFile } from './own.ts';
import { PathOp } from './path-op.ts';

const UTIME = opKind<void>('utime', { decode: nothing });
const LUTIME = opKind<void>('lutime', { decode: nothing });
const FUTIME = opKind<void>('futime', { decode: nothing });

/**
 * A time for a file: a Date, seconds since 1970 (to microseconds; a numeric string as well; less than 0 is now, as in Node), nanoseconds
 * since 1970 as a bigint, `'now'`, or null to leave the time as it is.
 */
export type FileTime = Date | number | string | bigint | 'now' | null;

/** `struct timespec`. */
interface Timespec {
  readonly seconds: number;
  readonly nanoseconds: number;
}

const NANOSECONDS = 1_000_000_000n;

/** Checks a time and puts it as the kernel wants it. */
export function fileTime(time: unknown, name: string): Timespec {
  if (time === null) return { seconds: 0, nanoseconds: UTIME_OMIT };
  if (time === 'now') return { seconds: 0, nanoseconds: UTIME_NOW };
  if (typeof time === 'bigint') {
    const rest = ((time % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
    return timespec(Number((time - rest) / NANOSECONDS), Number(rest), name, time);
  }
  if (time instanceof Date) {
    const ms = time.getTime();
    if (Number.isNaN(ms)) throw invalidTime(name, time);
    const seconds = Math.floor(ms / 1000);
    return timespec(seconds, (ms - seconds * 1000) * 1_000_000, name, time);
  }
  // `==` of a string and its number: '12' and ' 12 ', but not '12px'.
  const number = typeof time === 'string' && time !== '' ? Number(time) : time;
  if (typeof number !== 'number' || !Number.isFinite(number)) throw invalidTime(name, time);
  if (number < 0 && typeof time === 'number') return fileTime(new Date(), name);
  const seconds = Math.floor(number);
  const micro = Math.round((number - seconds) * 1e6);
  return micro === 1e6 ? timespec(seconds + 1, 0, name, time) : timespec(seconds, micro * 1000, name, time);
}

/** (What is more than the file system can keep becomes the most that it can; what is more than the kernel's field would be any time.) */
function timespec(seconds: number, nanoseconds: number, name: string, time: unknown): Timespec {
  if (Number.isSafeInteger(seconds)) return { seconds, nanoseconds };
  throw outOfRange(name, `>= -${Number.MAX_SAFE_INTEGER} && <= ${Number.MAX_SAFE_INTEGER} seconds`, time);
}

function invalidTime(name: string, time: unknown): TypeError {
  return invalidType(name, 'an instance of Date, or a time in seconds or nanoseconds', time);
}

const TWO_32 = 4_294_967_296;
/** Bytes of both times. */
const TIMES_BYTES = 32;

class Utimes extends PathOp<void> {
  readonly #times: readonly [Timespec, Timespec];

  constructor(
    kind: OpKind<void>,
    path: string | Buffer,
    dirfd: Target | undefined,
    atime: unknown,
    mtime: unknown,
    flags: number,
  ) {
    super(kind, OURO_OP_UTIMENSAT, path, dirfd, 0, flags);
    this.#times = [fileTime(atime, 'atime'), fileTime(mtime, 'mtime')];
  }

  override place(slot: number): void {
    super.place(slot);
    const r = reactor();
    const { words } = r.scratch(slot);
    let at = (scratchOffset(slot) + INLINE_PATH) >> 2;
    words.fill(0, at, at + TIMES_BYTES / 4);
    for (const { seconds, nanoseconds } of this.#times) {
      words[at] = seconds;
      words[at + 1] = Math.floor(seconds / TWO_32);
      words[at + 2] = nanoseconds;
      at += TIMES_BYTES / 8;
    }
    this.off = r.scratchAddress(slot) + INLINE_PATH;
  }
}

/**
 * `utimensat(2)`: sets the times of the last access and the last change of contents.
 *
 * @param options `flags`: `AT_SYMLINK_NOFOLLOW` for those of a link itself
 * @throws `EPERM`, `EACCES`, `ENOENT`, `EROFS`…
 */
export function utimensat(path: PathLike, atime: FileTime, mtime: FileTime, options: AtFlags = {}): Op<void> {
  const flags = checkFlags(options.flags ?? 0);
  const kind = (flags & AT_SYMLINK_NOFOLLOW) === 0 ? UTIME : LUTIME;
  return new Utimes(kind, keptPath(path), options.dirfd, atime, mtime, flags);
}

/** `futimens(3)`: `utimensat` of an open file. */
export function futimens(fd: Target, atime: FileTime, mtime: FileTime): Op<void> {
  const op: Op<void> = new Utimes(FUTIME, '', undefined, atime, mtime, AT_EMPTY_PATH);
  op.detail = null;
  return onFile(op, fd);
}
