import { posix } from 'node:path';

/**
 * A path as a string of its bytes, each of them one character: names that are not UTF-8 go through string functions unharmed.
 */
export type BytePath = string;

export function toBytePath(path: string | Buffer): BytePath {
  return (typeof path === 'string' ? Buffer.from(path) : path).toString('latin1');
}

/** The path for the kernel. */
export function kernelPath(path: BytePath): Buffer {
  return Buffer.from(path, 'latin1');
}

/** The path for people, and for error messages. */
export function shownPath(path: BytePath): string {
  return kernelPath(path).toString();
}

/** The path from the root. */
export function resolveBytes(...paths: readonly BytePath[]): BytePath {
  return posix.resolve(toBytePath(process.cwd()), ...paths);
}

/** What is called `name` in a directory. */
export function within(directory: BytePath, name: BytePath): BytePath {
  return directory.endsWith('/') ? directory + name : `${directory}/${name}`;
}

/** Whether a path is a directory's own or leads into it, going by names alone. */
export function leadsInto(directory: BytePath, path: BytePath): boolean {
  const outer = resolveBytes(directory);
  const inner = resolveBytes(path);
  return inner === outer || inner.startsWith(outer === '/' ? outer : `${outer}/`);
}
