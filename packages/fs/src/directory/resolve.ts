import { constants } from 'node:fs';
import { inspect } from 'node:util';
import {
  O_PATH,
  RESOLVE_BENEATH,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from '@ouro/native/abi';
import { close, type Future, opKind, type Steps, type Target } from '@ouro/runtime/driver';
import { open } from '../op/open.ts';

/**
 * What a path may lead through. `'beneath'`: nothing above the directory that it begins at (`EXDEV`), also not by links or from the root;
 * `'in-root'`: that directory is the root, which absolute paths and links begin at and `..` does not leave, as after `chroot`;
 * `'no-symlinks'`: no links at all (`ELOOP`).
 */
export type Resolve = 'beneath' | 'in-root' | 'no-symlinks';

const BITS: Readonly<Record<Resolve, number>> = {
  beneath: RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
  'in-root': RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
  'no-symlinks': RESOLVE_NO_SYMLINKS,
};

/** `RESOLVE_*` bits; undefined where nothing is asked for. */
export function resolveBits(resolve: unknown): number | undefined {
  if (resolve === undefined) return undefined;
  if (typeof resolve === 'string' && Object.hasOwn(BITS, resolve)) return BITS[resolve as Resolve];
  throw Object.assign(
    new TypeError(
      `The property 'options.resolve' must be one of: 'beneath', 'in-root', 'no-symlinks'. Received ${inspect(resolve)}`,
    ),
    { code: 'ERR_INVALID_ARG_VALUE' },
  );
}

/** Somebody renamed something while the kernel was on its way: it cannot tell whether that leads out. */
const MOST_TRIES = 32;

/** Opens what a path leads to, for no more than to refer to it; runs `use`, and closes it. */
export async function referring<T>(
  steps: Steps,
  syscall: string,
  dirfd: Target,
  path: string | Buffer,
  flags: number,
  resolve: number,
  use: (fd: number) => Promise<T>,
): Promise<T> {
  const kind = opKind<number>(syscall, { resultIsFd: true });
  const fd = await insisting(steps, () => open(kind, path, O_PATH | flags, 0, undefined, { dirfd, resolve }));
  try {
    return await use(fd);
  } finally {
    await close(fd);
  }
}

/** Tries again what the kernel could not decide. */
export async function insisting<T>(steps: Steps, opening: () => Future<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await steps.step(opening());
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'EAGAIN' || tries === MOST_TRIES) throw error;
      steps.check();
    }
  }
}

const SLASH = 0x2f;

/** Where a name lies, and the name with the slashes behind it: `a/b/` is `a/` and `b/`. */
export function split(path: string | Buffer): readonly [string | Buffer, string | Buffer] {
  let end = path.length;
  const slashAt = (i: number): boolean => (typeof path === 'string' ? path[i] === '/' : path[i] === SLASH);
  while (end > 1 && slashAt(end - 1)) end--;
  while (end > 0 && !slashAt(end - 1)) end--;
  if (typeof path === 'string') return [path.slice(0, end), path.slice(end)];
  return [path.subarray(0, end), path.subarray(end)];
}

/** Flags for the directory that a name lies in. */
export const PARENT: number = constants.O_DIRECTORY;
/** Flags for a link itself. */
export const ITSELF: number = constants.O_NOFOLLOW;
