import { posix } from 'node:path';
import { AT_SYMLINK_NOFOLLOW } from '@ouro/native/abi';
import { type Steps, submit } from '@ouro/runtime/driver';
import { realpathat } from '../op/readlink.ts';
import { statOf } from '../op/statx.ts';
import type { BigIntStats } from '../stats.ts';
import { type BytePath, kernelPath, leadsInto, resolveBytes, shownPath, toBytePath } from './byte-path.ts';
import { CopyError, type CopyProblem } from './copy-errors.ts';

// What `cp` looks at before it copies something, and what it refuses then.

/** What is copied, and what is there. */
export interface Pair {
  readonly source: BytePath;
  readonly dest: BytePath;
  readonly stats: BigIntStats;
  readonly there: BigIntStats | null;
}

/**
 * Finds out what is to be copied and what is there, and refuses what cannot be.
 *
 * @param made whether nothing is there, since the directory has just been made
 */
export async function look(
  steps: Steps,
  source: BytePath,
  dest: BytePath,
  dereference: boolean,
  made: boolean,
): Promise<Pair> {
  const flags = dereference ? 0 : AT_SYMLINK_NOFOLLOW;
  const stats = await steps.step(submit(statOf(kernelPath(source), { bigint: true, flags })));
  const there = made ? null : await statOrNull(steps, dest, !dereference);
  if (there !== null) {
    if (same(stats, there)) throw problem('ERR_FS_CP_EINVAL', 'src and dest cannot be the same', dest);
    if (stats.isDirectory() && !there.isDirectory()) {
      const says = `cannot overwrite non-directory ${shownPath(dest)} with directory ${shownPath(source)}`;
      throw problem('ERR_FS_CP_DIR_TO_NON_DIR', says, dest);
    }
    if (!stats.isDirectory() && there.isDirectory()) {
      const says = `cannot overwrite directory ${shownPath(dest)} with non-directory ${shownPath(source)}`;
      throw problem('ERR_FS_CP_NON_DIR_TO_DIR', says, dest);
    }
  }
  if (stats.isDirectory() && leadsInto(source, dest)) throw intoItself(source, dest);
  return { source, dest, stats, there };
}

/** Refuses to copy a directory into one that lies in it, by whatever way. */
export async function refuseParents(steps: Steps, { source, dest, stats }: Pair): Promise<void> {
  if (!stats.isDirectory()) return;
  // Where it leads, without links: there the names tell what lies in what.
  for (let at = posix.dirname(await real(steps, dest)); at !== '/'; at = posix.dirname(at)) {
    const above = await statOrNull(steps, at, false);
    if (above !== null && same(stats, above)) throw intoItself(source, dest);
  }
}

/** The path without links, as far as there is anything. */
async function real(steps: Steps, path: BytePath): Promise<BytePath> {
  const whole = resolveBytes(path);
  for (let there = posix.dirname(whole); there !== '/'; there = posix.dirname(there)) {
    steps.check();
    try {
      const real = toBytePath(await steps.step(submit(realpathat(kernelPath(there)))));
      return real + whole.slice(there.length);
    } catch (error) {
      if ((error as { readonly code?: unknown }).code !== 'ENOENT') throw error;
    }
  }
  return whole;
}

/** Refuses to replace a link to a directory by one that leads into that, or to one above it. */
export async function refuseLink(
  steps: Steps,
  source: BytePath,
  dest: BytePath,
  target: BytePath,
  before: BytePath,
): Promise<void> {
  if (target === before) return; // copied once more
  const end = await statOrNull(steps, source, false);
  if (end?.isDirectory() !== true) return;
  if (leadsInto(target, before)) throw intoItself(target, before, dest);
  if (leadsInto(before, target)) {
    const says = `cannot overwrite ${shownPath(before)} with ${shownPath(target)}`;
    throw problem('ERR_FS_CP_SYMLINK_TO_SUBDIRECTORY', says, dest);
  }
}

/** What is at a path; null if nothing is. */
export async function statOrNull(steps: Steps, path: BytePath, itself: boolean): Promise<BigIntStats | null> {
  steps.check();
  try {
    const flags = itself ? AT_SYMLINK_NOFOLLOW : 0;
    return await steps.step(submit(statOf(kernelPath(path), { bigint: true, flags })));
  } catch (error) {
    if ((error as { readonly code?: unknown }).code === 'ENOENT') return null;
    throw error;
  }
}

export const same = (a: BigIntStats, b: BigIntStats): boolean => a.ino === b.ino && a.dev === b.dev;

export const problem = (code: CopyProblem, message: string, path: BytePath): CopyError =>
  new CopyError(code, message, shownPath(path));

export const intoItself = (source: BytePath, dest: BytePath, path: BytePath = dest): CopyError =>
  problem(
    'ERR_FS_CP_EINVAL',
    `cannot copy ${shownPath(source)} to a subdirectory of self ${shownPath(dest)}`,
    path,
  );
