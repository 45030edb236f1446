import { constants } from 'node:fs';
import { OURO_OP_MKNODAT } from '@ouro/native/abi';
import { checkInteger, nothing, type Op, opKind } from '@ouro/runtime/driver';
import { fileMode } from '../flags.ts';
import { keptPath, type PathLike } from '../path.ts';
import { type AtOptions, PathOp } from './path-op.ts';

const MKNOD = opKind<void>('mknod', { decode: nothing });
const MKFIFO = opKind<void>('mkfifo', { decode: nothing });

/**
 * `mknodat(2)`: makes a file of any type but a directory.
 *
 * @param mode type (`S_IF*` of `fs.constants`, a regular file without) and permissions, before the umask
 * @param dev of a device: its number, as `Stats.rdev` has it
 * @throws `EPERM` (devices are for root), `EEXIST`, `ENOENT`, `EINVAL`…
 */
export function mknodat(path: PathLike, mode: number, dev = 0, options: AtOptions = {}): Op<void> {
  checkInteger('mode', mode, 0, 0xffff_ffff);
  checkInteger('dev', dev, 0, Number.MAX_SAFE_INTEGER);
  const kind = (mode & constants.S_IFMT) === constants.S_IFIFO ? MKFIFO : MKNOD;
  const op = new PathOp(kind, OURO_OP_MKNODAT, keptPath(path), options.dirfd, mode, 0);
  op.off = dev;
  return op;
}

/** `mkfifo(3)`: makes a named pipe. */
export function mkfifoat(path: PathLike, mode: number | string = 0o666, options: AtOptions = {}): Op<void> {
  return mknodat(path, constants.S_IFIFO | (fileMode(mode) & 0o7777), 0, options);
}
