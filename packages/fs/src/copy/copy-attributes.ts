import { AT_SYMLINK_NOFOLLOW } from '@ouro/native/abi';
import { type Steps, submit } from '@ouro/runtime/driver';
import { fchmodat, fchownat } from '../op/mode.ts';
import { utimensat } from '../op/times.ts';
import { lgetxattr, llistxattr, lsetxattr } from '../op/xattr.ts';
import type { BigIntStats } from '../stats.ts';

/** What is to be copied beside contents. */
export interface Attributes {
  readonly times: boolean;
  readonly owner: boolean;
  readonly setIds: boolean;
  readonly xattrs: boolean;
}

const PERMISSIONS = 0o7777;
const SET_IDS = 0o6000;
const WRITABLE = 0o200;

/** What is no failure of copying: a file system that has no such thing, a process that may not. */
const NOT_TO_BE_HAD: ReadonlySet<unknown> = new Set(['ENOTSUP', 'EPERM', 'ENODATA', 'ERR_OURO_UNSUPPORTED']);

async function ifPossible(setting: Promise<unknown>): Promise<boolean> {
  try {
    await setting;
    return true;
  } catch (error) {
    if (!NOT_TO_BE_HAD.has((error as { readonly code?: unknown }).code)) throw error;
    return false;
  }
}

/**
 * Gives a copy the permissions of its source, and what else is wanted, in the order in which none undoes another.
 *
 * @param modeIsSet whether its permissions are right already
 */
export async function copyAttributes(
  steps: Steps,
  source: Buffer,
  dest: Buffer,
  stats: BigIntStats,
  { times, owner, setIds, xattrs }: Attributes,
  modeIsSet = false,
): Promise<void> {
  const link = stats.isSymbolicLink();
  let mode = Number(stats.mode) & (setIds ? PERMISSIONS : PERMISSIONS & ~SET_IDS);
  let right = modeIsSet;
  if (owner) {
    steps.check();
    const changing = submit(
      fchownat(dest, Number(stats.uid), Number(stats.gid), { flags: AT_SYMLINK_NOFOLLOW }),
    );
    // Bits that let others act as the owner are not for another owner.
    if (!(await ifPossible(steps.step(changing)))) mode &= ~SET_IDS;
    right = false; // a change of owner takes them away
  }
  if (xattrs) {
    if (!link && (mode & WRITABLE) === 0) {
      // Attributes of programs are set by those only who may write the file.
      await steps.step(submit(fchmodat(dest, mode | WRITABLE)));
      right = false;
    }
    await copyXattrs(steps, source, dest);
  }
  if (!link && !right) {
    steps.check();
    await steps.step(submit(fchmodat(dest, mode)));
  }
  if (times) {
    steps.check();
    await steps.step(submit(utimensat(dest, stats.atimeNs, stats.mtimeNs, { flags: AT_SYMLINK_NOFOLLOW })));
  }
}

async function copyXattrs(steps: Steps, source: Buffer, dest: Buffer): Promise<void> {
  steps.check();
  const names: string[] = [];
  await ifPossible(steps.step(submit(llistxattr(source))).then((found) => names.push(...found)));
  for (const name of names) {
    steps.check();
    await ifPossible(copyXattr(steps, source, dest, name));
  }
}

async function copyXattr(steps: Steps, source: Buffer, dest: Buffer, name: string): Promise<void> {
  const value = await steps.step(submit(lgetxattr(source, name)));
  steps.check();
  await steps.step(submit(lsetxattr(dest, name, value)));
}
