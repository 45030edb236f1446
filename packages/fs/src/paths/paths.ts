import { constants } from 'node:fs';
import { AT_REMOVEDIR } from '@ouro/native/abi';
import { checkInteger, close, type Future, flow, type OpOptions, submit } from '@ouro/runtime/driver';
import { type NameEncoding, type NameOptions, nameOptions } from '../encoding.ts';
import { mkfifoat } from '../op/mknod.ts';
import { linkat, renameat, symlinkat, unlinkat } from '../op/names.ts';
import { openFd } from '../op/open.ts';
import { readlinkat, realpathat } from '../op/readlink.ts';
import { ftruncate } from '../op/truncate.ts';
import { keptPath, type PathLike } from '../path.ts';

// What node:fs/promises has for names, one op each. Errors are Node's, with `path` and `dest`.

type Bytewise = (NameOptions & { readonly encoding: 'buffer' }) | 'buffer';
type Encoded =
  | (NameOptions & { readonly encoding?: BufferEncoding | null | undefined })
  | BufferEncoding
  | null;
type Either = NameOptions | NameEncoding | null;

/** Gives a file or directory another name, replacing a file or an empty directory that has it. */
export function rename(oldPath: PathLike, newPath: PathLike, options?: OpOptions): Future<void> {
  return submit(renameat(oldPath, newPath), options);
}

/** Removes a name of a file, or a symbolic link. */
export function unlink(path: PathLike, options?: OpOptions): Future<void> {
  return submit(unlinkat(path), options);
}

/** Removes an empty directory. */
export function rmdir(path: PathLike, options?: OpOptions): Future<void> {
  return submit(unlinkat(path, { flags: AT_REMOVEDIR }), options);
}

/** Makes a symbolic link at `path` that says `target`. */
export function symlink(target: PathLike, path: PathLike, options?: OpOptions): Future<void> {
  return submit(symlinkat(target, path), options);
}

/** Gives a file a further name. */
export function link(existingPath: PathLike, newPath: PathLike, options?: OpOptions): Future<void> {
  return submit(linkat(existingPath, newPath), options);
}

/** What a symbolic link says. @param options `encoding`: `'buffer'` for bytes; an encoding alone may stand for it */
export function readlink(path: PathLike, options: Bytewise): Future<Buffer>;
export function readlink(path: PathLike, options?: Encoded): Future<string>;
export function readlink(path: PathLike, options?: Either): Future<string | Buffer>;
export function readlink(path: PathLike, options?: Either): Future<string | Buffer> {
  const { encoding, options: others } = nameOptions(options);
  return submit(readlinkat(path, { encoding }), others);
}

/** The path from the root that leads to the same without links, dots and doubled slashes. @param options as of `readlink` */
export function realpath(path: PathLike, options: Bytewise): Future<Buffer>;
export function realpath(path: PathLike, options?: Encoded): Future<string>;
export function realpath(path: PathLike, options?: Either): Future<string | Buffer>;
export function realpath(path: PathLike, options?: Either): Future<string | Buffer> {
  const { encoding, options: others } = nameOptions(options);
  return submit(realpathat(path, { encoding }), others);
}

/** How a named pipe is made. */
export interface MkfifoOptions extends OpOptions {
  /** Permission bits, before the umask. @default 0o666 */
  readonly mode?: number | string | undefined;
}

/** Makes a named pipe. */
export function mkfifo(path: PathLike, options?: MkfifoOptions): Future<void> {
  return submit(mkfifoat(path, options?.mode), options);
}

/** Cuts a file to `length` bytes, or extends it with zeros. */
export function truncate(path: PathLike, length = 0, options?: OpOptions): Future<void> {
  const kept = keptPath(path);
  checkInteger('length', length, 0, Number.MAX_SAFE_INTEGER);
  return flow(async (steps) => {
    const fd = await steps.step(openFd(kept, constants.O_RDWR, 0));
    try {
      await steps.step(submit(ftruncate(fd, length)));
    } finally {
      await close(fd);
    }
  }, options);
}
