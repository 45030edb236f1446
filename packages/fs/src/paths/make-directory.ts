import { EEXIST, ENOENT, ENOTDIR, EROFS } from '@ouro/native/abi';
import {
  type Future,
  flow,
  invalidType,
  type OpOptions,
  type Steps,
  submit,
  systemError,
  type Target,
} from '@ouro/runtime/driver';
import { fileMode } from '../flags.ts';
import { mkdirat } from '../op/names.ts';
import { statOf } from '../op/statx.ts';
import { keptPath, type PathLike } from '../path.ts';

/** How a directory is made. */
export interface MkdirOptions extends OpOptions {
  /** Permission bits, before the umask. @default 0o777 */
  readonly mode?: number | string | undefined;
  /** Makes the directories that lead there too, and does not mind if it is there. @default false */
  readonly recursive?: boolean | undefined;
}

type Recursive = MkdirOptions & { readonly recursive: true };
type Plain = MkdirOptions & { readonly recursive?: false | undefined };

/**
 * Makes a directory, in one that is there; with `recursive` those that lead there as well. Cancelling that leaves what has been made.
 *
 * @returns with `recursive`: the path of the first directory that was made, undefined if there was nothing to make
 * @throws `EEXIST` (with `recursive`: it is there, and no directory), `ENOENT`, `ENOTDIR`, `EACCES`…; with `recursive` `path` is the directory
 *   that could not be made
 */
export function mkdir(path: PathLike, options: Recursive): Future<string | undefined>;
export function mkdir(path: PathLike, options?: Plain | number | string): Future<void>;
export function mkdir(
  path: PathLike,
  options?: MkdirOptions | number | string,
): Future<string | undefined> | Future<void>;
export function mkdir(
  path: PathLike,
  options?: MkdirOptions | number | string,
): Future<string | undefined> | Future<void> {
  const given = mkdirOptions(options);
  const kept = keptPath(path);
  const mode = fileMode(given.mode ?? 0o777);
  if (given.recursive !== true) return submit(mkdirat(kept, mode), given);
  return flow(async (steps) => (await makeAll(steps, kept, mode))?.toString(), given);
}

/** Checks the options of `mkdir`, which may be a mode alone. */
export function mkdirOptions(options: MkdirOptions | number | string | undefined): MkdirOptions {
  if (typeof options === 'number' || typeof options === 'string') return { mode: options };
  const given: unknown = options ?? {};
  if (typeof given !== 'object' || given === null) {
    throw invalidType('options', 'an instance of Object', options);
  }
  const { recursive } = given as MkdirOptions;
  if (recursive !== undefined && typeof recursive !== 'boolean') {
    throw invalidType('options.recursive', 'of type boolean', recursive);
  }
  return given;
}

/**
 * Makes a directory and those that lead there: first the last one, and only if its parent is missing that, and so on. So one that is
 * there costs one attempt, and one that may not be looked into on the way is none to stumble over.
 *
 * @param dirfd where a relative path begins
 * @returns the first one that was made
 */
export async function makeAll(
  steps: Steps,
  path: string | Buffer,
  mode: number,
  dirfd?: Target,
): Promise<string | Buffer | undefined> {
  // Mostly it is there, which costs no thread to know.
  if (await isThere(steps, path, dirfd)) return undefined;
  let first: string | Buffer | undefined;
  let descending = false;
  const missing = [path];
  for (let at = missing.pop(); at !== undefined; at = missing.pop()) {
    steps.check();
    try {
      await steps.step(submit(mkdirat(at, mode, { dirfd })));
      first ??= at;
      descending = true;
    } catch (error) {
      const { errno } = error as { errno?: unknown };
      const parent = errno === ENOENT && !descending ? parentOf(at) : null;
      if (parent !== null) missing.push(at, parent);
      else if (errno === EEXIST || errno === EROFS) {
        await mustBeDirectory(steps, at, errno, missing.length > 0, dirfd);
        descending = true;
      } else throw error;
    }
  }
  return first;
}

async function isThere(steps: Steps, path: string | Buffer, dirfd: Target | undefined): Promise<boolean> {
  try {
    steps.check();
    return (await steps.step(submit(statOf(path, { dirfd })))).isDirectory();
  } catch {
    steps.check();
    return false; // or not to be seen, which making it will tell
  }
}

/** Looks at what could not be made because of `errno`: perhaps it is there. */
async function mustBeDirectory(
  steps: Steps,
  path: string | Buffer,
  errno: number,
  leadsOn: boolean,
  dirfd: Target | undefined,
): Promise<void> {
  let found = errno;
  try {
    if ((await steps.step(submit(statOf(path, { dirfd })))).isDirectory()) return;
  } catch (error) {
    const looked = (error as { errno?: unknown }).errno;
    if (typeof looked !== 'number' || steps.cancelled) throw error;
    // A link that leads nowhere, say.
    if (errno === EEXIST) found = looked;
  }
  throw systemError(leadsOn && errno === EEXIST ? ENOTDIR : found, 'mkdir', { path });
}

const SLASH = 0x2f;

/** The path without what follows its last slash, and without that; null if there is none, or nothing before it. */
function parentOf(path: string | Buffer): string | Buffer | null {
  const slash = typeof path === 'string' ? path.lastIndexOf('/') : path.lastIndexOf(SLASH);
  if (slash <= 0) return null;
  return typeof path === 'string' ? path.slice(0, slash) : path.subarray(0, slash);
}
