import { basename, join } from 'node:path';
import { type CopyOptions, lstat, realpath, type Stats, stat } from '@ouro/fs';

// Where `ouro cp` copies to.

/** What a source is called in the target. What is called `..` has no name of its own. */
export function inside(target: string, source: string): string {
  const name = basename(source);
  return name === '..' ? target : join(target, name);
}

export async function isDirectory(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null);
  return found?.isDirectory() === true;
}

/**
 * The path of what is written when `source` is copied to `target`: what links there lead to, as in cp(1), unless the source is copied as more
 * than its contents. Null for what is there and has no path, as a pipe behind `/dev/stdout`.
 *
 * @throws what asking for the target fails with: `ENOENT` for a link that leads nowhere
 */
export async function behindLinks(
  source: string,
  target: string,
  { dereference, recursive }: CopyOptions,
): Promise<string | null> {
  const from = await (dereference === true ? stat : lstat)(source).catch(() => null);
  const itself = await lstat(target).catch(() => null);
  if (itself?.isSymbolicLink() !== true || !hasContents(from, recursive === true)) return target;
  const there = await stat(target);
  const path = await realpath(target).catch(() => null);
  const named = path === null ? null : await stat(path).catch(() => null);
  return named?.ino === there.ino && named.dev === there.dev ? path : null;
}

function hasContents(stats: Stats | null, recursive: boolean): boolean {
  if (stats === null || stats.isDirectory() || stats.isSymbolicLink()) return false;
  return stats.isFile() || !recursive;
}
