import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  OURO_OP_FACCESSAT,
  OURO_OP_FCHMODAT,
  OURO_OP_FCHOWNAT,
} from '@ouro/native/abi';
import { checkInteger, nothing, Op, opKind, outOfRange, type Target } from '@ouro/runtime/driver';
import { fileMode } from '../flags.ts';
import { keptPath, type PathLike } from '../path.ts';
import { onFile } from './own.ts';
import { type AtOptions, PathOp } from './path-op.ts';

// Who may do what with a file.

const CHMOD = opKind<void>('chmod', { decode: nothing });
const FCHMOD = opKind<void>('fchmod', { decode: nothing });
const CHOWN = opKind<void>('chown', { decode: nothing });
const LCHOWN = opKind<void>('lchown', { decode: nothing });
const FCHOWN = opKind<void>('fchown', { decode: nothing });
const ACCESS = opKind<void>('access', { decode: nothing });

/** What ops on files and links take. */
export interface AtFlags extends AtOptions {
  /** Bits of the system call, such as `AT_SYMLINK_NOFOLLOW`. @default 0 */
  readonly flags?: number | undefined;
}

export function checkFlags(flags: number): number {
  checkInteger('options.flags', flags, 0, 0x7fff_ffff);
  if ((flags & AT_EMPTY_PATH) !== 0) throw outOfRange('options.flags', 'without AT_EMPTY_PATH', flags);
  return flags;
}

/**
 * `fchmodat(2)`: sets permission bits.
 *
 * @param mode as a number or an octal string
 * @throws `EPERM`, `ENOENT`, `EROFS`…; `ENOTSUP` for a link with `AT_SYMLINK_NOFOLLOW`
 */
export function fchmodat(path: PathLike, mode: number | string, options: AtFlags = {}): Op<void> {
  const bits = fileMode(mode);
  const flags = checkFlags(options.flags ?? 0);
  return new PathOp(CHMOD, OURO_OP_FCHMODAT, keptPath(path), options.dirfd, bits, flags);
}

/** `fchmod(2)`: `fchmodat` of an open file. */
export function fchmod(fd: Target, mode: number | string): Op<void> {
  return onFile(new Op(FCHMOD, OURO_OP_FCHMODAT, 0, 0, fileMode(mode), AT_EMPTY_PATH), fd);
}

const MOST_ID = 0xffff_ffff;

/** -1 leaves what is there. */
function checkId(name: string, id: number): number {
  checkInteger(name, id, -1, MOST_ID);
  return id;
}

/**
 * `fchownat(2)`: sets owner and group; -1 leaves one as it is.
 *
 * @throws `EPERM`, `ENOENT`, `EROFS`…
 */
export function fchownat(path: PathLike, uid: number, gid: number, options: AtFlags = {}): Op<void> {
  const flags = checkFlags(options.flags ?? 0);
  const kind = (flags & AT_SYMLINK_NOFOLLOW) === 0 ? CHOWN : LCHOWN;
  const owner = checkId('uid', uid);
  const op = new PathOp(kind, OURO_OP_FCHOWNAT, keptPath(path), options.dirfd, owner, flags);
  op.off = checkId('gid', gid);
  return op;
}

/** `fchown(2)`: `fchownat` of an open file. */
export function fchown(fd: Target, uid: number, gid: number): Op<void> {
  const owner = checkId('uid', uid);
  return onFile(new Op(FCHOWN, OURO_OP_FCHOWNAT, checkId('gid', gid), 0, owner, AT_EMPTY_PATH), fd);
}

const MOST_ACCESS = 7;

/**
 * `faccessat(2)`: whether the process may read, write or execute a file, by its real ids (`AT_EACCESS`: by those in force).
 *
 * @param mode `R_OK`, `W_OK`, `X_OK` of `fs.constants` together, or `F_OK`: whether it is there @default F_OK
 * @throws `EACCES`, `ENOENT`, `EROFS`…
 */
export function faccessat(path: PathLike, mode = 0, options: AtFlags = {}): Op<void> {
  checkInteger('mode', mode, 0, MOST_ACCESS);
  const flags = checkFlags(options.flags ?? 0);
  return new PathOp(ACCESS, OURO_OP_FACCESSAT, keptPath(path), options.dirfd, mode, flags);
}
