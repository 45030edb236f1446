import { AT_SYMLINK_NOFOLLOW, EINVAL, EISDIR, ENOENT, EPERM } from '@ouro/native/abi';
import { sleep } from '@ouro/runtime';
import {
  checkInteger,
  type Future,
  flow,
  invalidType,
  type OpOptions,
  type Steps,
  type SystemError,
  submit,
  systemError,
  type Target,
} from '@ouro/runtime/driver';
import { unlinkat } from '../op/names.ts';
import { statOf } from '../op/statx.ts';
import { keptPath, type PathLike } from '../path.ts';
import { Removal } from './removal.ts';

/** How something is removed. */
export interface RmOptions extends OpOptions {
  /** Directories too, with all that is in them. @default false */
  readonly recursive?: boolean | undefined;
  /** Does not mind if it is not there. @default false */
  readonly force?: boolean | undefined;
  /**
   * How often it is begun again after `EBUSY`, `EMFILE`, `ENFILE`, `ENOTEMPTY` or `EPERM`, as somebody may be at the same files.
   * @default 0
   */
  readonly maxRetries?: number | undefined;
  /** Milliseconds before the first of those; each further one waits that much longer. @default 100 */
  readonly retryDelay?: number | undefined;
}

const RETRIED: ReadonlySet<unknown> = new Set(['EBUSY', 'EMFILE', 'ENFILE', 'ENOTEMPTY', 'EPERM']);
/** Paths that end in `.` or `..`. */
const DOTS = /(?:^|\/)\.{1,2}\/*$/;
const DEFAULT_DELAY_MS = 100;

interface Checked {
  readonly recursive: boolean;
  readonly force: boolean;
  readonly maxRetries: number;
  readonly retryDelay: number;
}

function checkBoolean(name: string, value: unknown): boolean {
  if (value !== undefined && typeof value !== 'boolean') {
    throw invalidType(`options.${name}`, 'of type boolean', value);
  }
  return value === true;
}

function checked(options: RmOptions | undefined): Checked {
  const given: unknown = options ?? {};
  if (typeof given !== 'object' || given === null) throw invalidType('options', 'of type object', options);
  const { recursive, force, maxRetries = 0, retryDelay = DEFAULT_DELAY_MS } = given as RmOptions;
  checkInteger('options.maxRetries', maxRetries, 0, 0xffff_ffff);
  checkInteger('options.retryDelay', retryDelay, 0, 0x7fff_ffff);
  return {
    recursive: checkBoolean('recursive', recursive),
    force: checkBoolean('force', force),
    maxRetries,
    retryDelay,
  };
}

/** What all the ways to it come to. @internal */
export function rmAt(dirfd: Target | undefined, path: string | Buffer, options?: RmOptions): Future<void> {
  const how = checked(options);
  return flow(async (steps) => {
    for (let retries = 1; ; retries++) {
      try {
        await removeOnce(steps, dirfd, path, how);
        return;
      } catch (error) {
        const { code } = error as SystemError;
        if (retries > how.maxRetries || steps.cancelled || !RETRIED.has(code)) throw error;
        await steps.step(sleep(how.retryDelay * retries));
      }
    }
  }, options);
}

async function removeOnce(
  steps: Steps,
  dirfd: Target | undefined,
  path: string | Buffer,
  { recursive, force }: Checked,
): Promise<void> {
  steps.check();
  try {
    await steps.step(submit(unlinkat(path, { dirfd })));
  } catch (error) {
    const { errno } = error as SystemError;
    if (typeof errno !== 'number') throw error;
    if (errno === ENOENT && force) return;
    // What it is says which error is the right one.
    const stats = await found(steps, dirfd, path, force);
    if (stats === null) return;
    // A name with a slash behind it that is a link to a directory is none.
    if (!stats.isDirectory()) throw error;
    if (!recursive) throw isDirectory(path);
    // It may not be removed from where it is (EACCES, EROFS): nothing in it is either.
    if (errno !== EISDIR && errno !== EPERM) throw systemError(errno, 'rmdir', { path });
    // Nothing can have that name removed: not what is in it either.
    if (DOTS.test(path.toString())) throw systemError(EINVAL, 'rmdir', { path });
    await steps.step(new Removal(dirfd, path).begin());
  }
}

async function found(
  steps: Steps,
  dirfd: Target | undefined,
  path: string | Buffer,
  force: boolean,
): Promise<{ isDirectory(): boolean } | null> {
  try {
    return await steps.step(submit(statOf(path, { dirfd, flags: AT_SYMLINK_NOFOLLOW })));
  } catch (error) {
    if (force && (error as SystemError).errno === ENOENT) return null;
    throw error;
  }
}

/** As Node says it. */
function isDirectory(path: string | Buffer): Error {
  const error = new Error(`Path is a directory: rm returned EISDIR (is a directory) ${path}`);
  error.name = 'SystemError';
  return Object.assign(error, { code: 'ERR_FS_EISDIR', errno: -EISDIR, syscall: 'rm', path });
}

/**
 * Removes a file, a link, or with `recursive` a directory with all that is in it. Links in it are removed, never followed: each directory
 * is opened relative to the one that it is in and must be one, so that nobody who swaps one for a link meanwhile leads us elsewhere.
 * 64 directories are open at most, however deep the tree is. Cancelled, it stops after the thousand names that it is at.
 *
 * @throws `ENOENT` unless `force`, `ERR_FS_EISDIR` for a directory without `recursive`, `EACCES`, `EPERM`, `EBUSY`…
 */
export function rm(path: PathLike, options?: RmOptions): Future<void> {
  return rmAt(undefined, keptPath(path), options);
}
