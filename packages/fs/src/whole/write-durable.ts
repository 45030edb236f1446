import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import {
  AT_EACCESS,
  AT_SYMLINK_NOFOLLOW,
  EINVAL,
  EISDIR,
  ELOOP,
  ENOENT,
  RENAME_NOREPLACE,
} from '@ouro/native/abi';
import {
  begin,
  close,
  type Pinned,
  type Steps,
  type SystemError,
  submit,
  systemError,
} from '@ouro/runtime/driver';
import { faccessat, fchmod, fchown } from '../op/mode.ts';
import { renameat, unlinkat } from '../op/names.ts';
import { openat, openFd } from '../op/open.ts';
import { readlinkat } from '../op/readlink.ts';
import { statOf } from '../op/statx.ts';
import { fsync } from '../op/sync.ts';
import { write, writing } from '../op/transfer.ts';
import type { Stats } from '../stats.ts';

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_TRUNC, O_WRONLY, W_OK } = constants;

const SLASH = 0x2f;
const HERE: Buffer = Buffer.from('.');
/** Links that the kernel follows in a row. */
const MOST_LINKS = 40;
/** Bytes of the longest name. */
const MOST_NAME = 255;
const PERMISSIONS = 0o7777;
/** Set-user-id and set-group-id: a right that another owner must not inherit. */
const SET_IDS = 0o6000;

const codeOf = (error: unknown): string | undefined => (error as Partial<SystemError>).code;

/** Checks that a file is replaced as a whole. @throws TypeError with `code: 'ERR_INVALID_ARG_VALUE'` */
export function checkReplaces(flags: number): void {
  const wanted = O_CREAT | O_TRUNC;
  if ((flags & wanted) === wanted && (flags & O_APPEND) === 0) return;
  throw Object.assign(
    new TypeError(
      "The property 'options.flag' must be 'w' or 'wx' where 'options.durable' is true: the file is replaced",
    ),
    { code: 'ERR_INVALID_ARG_VALUE' },
  );
}

/** Where a file is: a directory, and its name there. */
interface Place {
  readonly directory: Buffer;
  readonly name: Buffer;
}

function placeOf(path: Buffer): Place {
  const at = path.lastIndexOf(SLASH);
  if (at < 0) return { directory: HERE, name: path };
  return { directory: path.subarray(0, Math.max(1, at)), name: path.subarray(at + 1) };
}

/** `path`, or where it leads to if it is a symbolic link: what it leads to is replaced, and the link stays. */
async function followed(steps: Steps, path: Buffer): Promise<Buffer> {
  let at = path;
  for (let links = 0; links <= MOST_LINKS; links++) {
    let says: Buffer;
    try {
      says = await steps.step(submit(readlinkat(at)));
    } catch (error) {
      // No link, or nothing: EINVAL, ENOENT. What else there is will come again.
      steps.check();
      if (codeOf(error) === 'EINVAL' || codeOf(error) === 'ENOENT') return at;
      throw error;
    }
    at = says[0] === SLASH ? says : Buffer.concat([placeOf(at).directory, Buffer.from('/'), says]);
  }
  throw systemError(ELOOP, 'open');
}

/** `.NAME.RANDOM.tmp`, as much of the name as fits. */
function temporaryName(name: Buffer): Buffer {
  const end = `.${randomBytes(8).toString('hex')}.tmp`;
  return Buffer.concat([Buffer.from('.'), name.subarray(0, MOST_NAME - 1 - end.length), Buffer.from(end)]);
}

/** What is there, which has to be a regular file that may be written; null if there is nothing. */
async function replaced(steps: Steps, dirfd: number, name: Buffer): Promise<Stats | null> {
  let found: Stats;
  try {
    found = await steps.step(submit(statOf(name, { dirfd, flags: AT_SYMLINK_NOFOLLOW })));
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    return null;
  }
  if (found.isDirectory()) throw systemError(EISDIR, 'open');
  if (!found.isFile()) {
    throw systemError(EINVAL, 'open', null, 'only a regular file can be replaced');
  }
  // Replacing it takes no right to write it; but whoever took that away does not expect it to change.
  await steps.step(submit(faccessat(name, W_OK, { dirfd, flags: AT_EACCESS | AT_SYMLINK_NOFOLLOW })));
  return found;
}

/** Gives the new file the owner and the permissions of the old one, as far as the process may. */
async function inherit(steps: Steps, fd: number, old: Stats): Promise<void> {
  const own = await steps.step(submit(statOf(fd)));
  let mode = old.mode & PERMISSIONS;
  if (own.uid !== old.uid || own.gid !== old.gid) {
    try {
      await steps.step(submit(fchown(fd, old.uid, old.gid)));
    } catch (error) {
      if (codeOf(error) !== 'EPERM') throw error;
      mode &= ~SET_IDS;
    }
  }
  await steps.step(submit(fchmod(fd, mode)));
}

/**
 * Replaces a file so that it is wholly old or wholly new whatever happens, and new for good when this is done: a temporary beside
 * it is written, brought to the device (`fsync`), given its name, and the directory brought to the device. The temporary
 * is removed if any of that fails or is cancelled; only a process that is killed leaves it behind.
 *
 * Not linked ops: an `fsync` that fails does not break a chain, and the name would go to what may not be there after a crash.
 */
export async function writeDurably(
  steps: Steps,
  path: string | Buffer,
  source: Pinned,
  flags: number,
  mode: number,
): Promise<void> {
  try {
    const plain = typeof path === 'string' ? Buffer.from(path) : path;
    if (plain.length === 0) throw systemError(ENOENT, 'open');
    const exclusive = (flags & O_EXCL) !== 0;
    const { directory, name } = placeOf(exclusive ? plain : await followed(steps, plain));
    if (name.length === 0) throw systemError(EISDIR, 'open');
    steps.check();
    const dirfd = await steps.step(openFd(directory, O_RDONLY | O_DIRECTORY, 0));
    try {
      await replaceIn(steps, dirfd, name, source, exclusive, mode);
      // No step: it is there, and a cancellation would only keep it from being there for good.
      await submit(fsync(dirfd));
    } finally {
      await close(dirfd);
    }
  } catch (error) {
    const { errno, syscall, path: named } = error as Partial<SystemError>;
    const onPath = named !== undefined || syscall === 'open';
    if (errno === undefined || syscall === undefined || !onPath) throw error;
    // As the caller knows it, not by a name that we have made.
    const words = /^\w+: (.*?), \w+/.exec((error as Error).message)?.[1];
    throw systemError(errno, syscall, { path }, words);
  }
}

async function replaceIn(
  steps: Steps,
  dirfd: number,
  name: Buffer,
  source: Pinned,
  exclusive: boolean,
  mode: number,
): Promise<void> {
  const old = exclusive ? null : await replaced(steps, dirfd, name);
  steps.check();
  const temporary = temporaryName(name);
  const bits = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
  // Nobody else may read what the old one's permissions may forbid.
  try {
    const fd = await steps.step(submit(openat(temporary, bits, old === null ? mode : 0o600, { dirfd })));
    try {
      steps.check();
      if (source.length > 0) await steps.step(begin(writing(write(fd, source, 0))));
      if (old !== null) await inherit(steps, fd, old);
      await steps.step(submit(fsync(fd)));
    } finally {
      await close(fd);
    }
    steps.check();
    const how = { oldDirfd: dirfd, newDirfd: dirfd, flags: exclusive ? RENAME_NOREPLACE : 0 };
    await submit(renameat(temporary, name, how));
  } catch (error) {
    // (Also where its creation was quicker than a cancellation. Somebody else's it can only be where ours was not made.)
    if (codeOf(error) !== 'EEXIST' || exclusive) await submit(unlinkat(temporary, { dirfd })).catch(() => {});
    throw error;
  }
}
