import { constants } from 'node:fs';
import { close, type Future, flow, opKind, type Steps, submit, type Target } from '@ouro/runtime/driver';
import { type NameEncoding, type NameOptions, nameOptions } from '../encoding.ts';
import {
  bareNames,
  forEachEntry,
  isLast,
  type ListingMemory,
  listDirectory,
  listPath,
} from '../op/listing.ts';
import { open } from '../op/open.ts';
import { keptPath, type PathLike } from '../path.ts';
import { Dirent, joined, normalized } from './dirent.ts';
import { planOf, Walk } from './walk.ts';

/** What `readdir` gives. */
export interface ReaddirOptions extends NameOptions {
  /** `Dirent`s instead of names. @default false */
  readonly withFileTypes?: boolean | undefined;
  /**
   * What is in the directories below as well: paths relative to the directory, or `Dirent`s that know their `parentPath`. Links are not
   * followed. @default false
   */
  readonly recursive?: boolean | undefined;
}

const SCANDIR = opKind<number>('scandir', { resultIsFd: true });
const LIST_BYTES = 32_768;
const MOST_SPARE = 8;
const spare: ListingMemory[] = [];

/** Memory for one listing after the other: new memory costs a page fault for each page that is filled. */
export function borrowListing(): ListingMemory {
  return spare.pop() ?? Buffer.allocUnsafeSlow(LIST_BYTES);
}

/** Gives it back: no op uses it any more. */
export function returnListing(memory: ListingMemory): void {
  if (spare.length < MOST_SPARE) spare.push(memory);
}

/** Opens a directory to be listed, under the name that Node's errors have for it. */
export function openToList(
  path: string | Buffer,
  dirfd: Target | undefined,
  resolve?: number,
): Future<number> {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY;
  return open(SCANDIR, path, flags, 0, undefined, { dirfd, resolve });
}

/** The names of an open directory from where it stands. */
export async function namesOf(
  steps: Steps,
  fd: number,
  path: string | Buffer,
  encoding: NameEncoding,
  each: (name: string | Buffer, type: number) => void,
): Promise<void> {
  const memory = borrowListing();
  try {
    do {
      steps.check();
      await steps.step(submit(listDirectory(fd, memory, 0, path)));
      forEachEntry(memory, encoding, each);
    } while (!isLast(memory));
  } finally {
    returnListing(memory);
  }
}

type Any = string | Buffer | Dirent<string | Buffer>;

/** What all the overloads come to. @internal */
export function readdirAt(
  dirfd: Target | undefined,
  shown: string | Buffer,
  path: string | Buffer,
  options: ReaddirOptions | NameEncoding | null | undefined,
  resolve?: number,
): Future<Any[]> {
  const { encoding, options: others } = nameOptions(options);
  const given: ReaddirOptions = others ?? {};
  if (given.recursive === true) return readTree(dirfd, shown, path, { ...given, encoding }, resolve);
  const withTypes = given.withFileTypes === true;
  return flow(async (steps) => {
    const bare = !withTypes && (encoding === 'utf8' || encoding === 'utf-8');
    const found: Any[] = [];
    const each = (name: string | Buffer, type: number): void => {
      found.push(withTypes ? new Dirent(name, type, shown) : name);
    };
    if (resolve === undefined) {
      const all = await listedAtOnce(steps, path, dirfd, encoding, bare ? null : each);
      if (all !== null) return bare ? all : found;
    }
    const fd = await steps.step(openToList(path, dirfd, resolve));
    try {
      await namesOf(steps, fd, path, encoding, each);
    } finally {
      // Nobody waits for it: closing what was only read cannot fail in a way that matters.
      close(fd).catch(() => {});
    }
    return found.sort(byBytes);
  }, others);
}

const nameOf = (entry: Any): string | Buffer =>
  typeof entry === 'string' || Buffer.isBuffer(entry) ? entry : entry.name;

/** The order of `scandir(3)`, which is Node's. */
function byBytes(one: Any, other: Any): number {
  const a = nameOf(one);
  const b = nameOf(other);
  if (typeof a === 'string' && typeof b === 'string' && !SURROGATE.test(a) && !SURROGATE.test(b)) {
    if (a === b) return 0;
    return a < b ? -1 : 1;
  }
  return Buffer.compare(Buffer.from(a as string), Buffer.from(b as string));
}

/** Half a character: the order of those is not that of their bytes. */
const SURROGATE = /[\ud800-\udfff]/;

/**
 * Lists a directory of usual size with one op. Null if it has more names than that.
 *
 * @param each called for each name; null to have them returned
 */
async function listedAtOnce(
  steps: Steps,
  path: string | Buffer,
  dirfd: Target | undefined,
  encoding: NameEncoding,
  each: ((name: string | Buffer, type: number) => void) | null,
): Promise<string[] | null> {
  const memory = borrowListing();
  try {
    const filled = await steps.step(submit(listPath(path, memory, dirfd, each === null)));
    if (!isLast(memory)) return null;
    if (each === null) return bareNames(memory, filled);
    forEachEntry(memory, encoding, each);
    return [];
  } finally {
    returnListing(memory);
  }
}

function readTree(
  dirfd: Target | undefined,
  shown: string | Buffer,
  path: string | Buffer,
  options: ReaddirOptions & { readonly encoding: NameEncoding },
  resolve: number | undefined,
): Future<Any[]> {
  const { encoding, withFileTypes } = options;
  const prefix = normalized(shown);
  return flow(async (steps) => {
    // The root is opened here: with the resolution that was asked for, and for errors that say what Node's do.
    const fd = await steps.step(openToList(path, dirfd, resolve));
    const { plan } = planOf('.', { encoding } as NameOptions, fd);
    const batches = new Walk<string | Buffer>(
      { ...plan, shown: encoding === 'buffer' ? Buffer.alloc(0) : '' },
      {},
    ).batches();
    const found: Any[] = [];
    try {
      for await (const batch of batches) {
        steps.check();
        for (const entry of batch) {
          const { name, type, parentPath, depth } = entry;
          if (withFileTypes !== true) found.push(joined(parentPath, name));
          else found.push(new Dirent(name, type, depth === 1 ? shown : joined(prefix, parentPath)));
        }
      }
    } finally {
      await close(fd);
    }
    return found;
  }, options);
}

type Bytes = { readonly encoding: 'buffer' };
type Text = { readonly encoding?: BufferEncoding | null | undefined };
type Typed = { readonly withFileTypes: true };
type Plain = { readonly withFileTypes?: false | undefined };

/**
 * What is in a directory, without `.` and `..`, by name: in the order of their bytes, as Node has it, unless it is `recursive`. All of it
 * at once: `opendir` and `walk` give it in pieces, and in the order of the file system.
 *
 * @param options as in Node, or an encoding; `'buffer'` for names that need not be UTF-8
 * @throws `ENOENT`, `ENOTDIR`, `EACCES`…, with `syscall: 'scandir'`
 */
export function readdir(path: PathLike, options: ReaddirOptions & Bytes & Typed): Future<Dirent<Buffer>[]>;
export function readdir(path: PathLike, options: ReaddirOptions & Text & Typed): Future<Dirent[]>;
export function readdir(
  path: PathLike,
  options: (ReaddirOptions & Bytes & Plain) | 'buffer',
): Future<Buffer[]>;
export function readdir(
  path: PathLike,
  options?: (ReaddirOptions & Text & Plain) | BufferEncoding | null,
): Future<string[]>;
export function readdir(
  path: PathLike,
  options?: ReaddirOptions | NameEncoding | null,
): Future<string[] | Buffer[] | Dirent[] | Dirent<Buffer>[]>;
export function readdir(
  path: PathLike,
  options?: ReaddirOptions | NameEncoding | null,
): Future<string[] | Buffer[] | Dirent[] | Dirent<Buffer>[]> {
  const kept = keptPath(path);
  return readdirAt(undefined, kept, kept, options) as Future<never[]>;
}
