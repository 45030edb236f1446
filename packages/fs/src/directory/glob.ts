import { posix } from 'node:path';
import { invalidType, type OpOptions } from '@ouro/runtime/driver';
import picomatch from 'picomatch';
import { checkPath, type PathLike } from '../path.ts';
import { lstat } from '../paths/metadata.ts';
import { typeOf } from './dirent.ts';
import { Place } from './places.ts';
import { walk } from './walk.ts';
import { WalkEntry } from './walk-entry.ts';

/** How `glob` looks. */
export interface GlobOptions extends Pick<OpOptions, 'signal' | 'scope'> {
  /** Where relative patterns begin. @default the directory of the process */
  readonly cwd?: string | URL | undefined;
  /** What is left out, with all that is in it: patterns, or a function that gets what would be given. @default nothing */
  readonly exclude?: readonly string[] | ((found: string) => boolean) | undefined;
  /** Entries instead of paths. @default false */
  readonly withFileTypes?: boolean | undefined;
}

type Matches = (path: string) => boolean;

/** (A name may have any byte but a slash in it, ends of lines too.) */
const OPTIONS = { nonegate: true, strictSlashes: true, flags: 's' } as const;

/** A pattern, taken apart. */
interface Pattern {
  /** What of it is a plain path. */
  readonly base: string;
  /** Whether what is in `base`, by its path from there, is meant. Null if there is nothing but `base`. */
  readonly matches: Matches | null;
  /** Whether something below may be meant. */
  readonly leadsOn: Matches;
  readonly directoriesOnly: boolean;
}

/** The pieces of a pattern between slashes, except those in braces and brackets. */
function piecesOf(glob: string): string[] {
  const pieces: string[] = [];
  let depth = 0;
  let piece = '';
  for (let i = 0; i < glob.length; i++) {
    const character = glob[i];
    if (character === '\\') {
      piece += character + (glob[++i] ?? '');
      continue;
    }
    if (character === '{' || character === '(' || character === '[') depth++;
    else if (character === '}' || character === ')' || character === ']') depth--;
    if (character === '/' && depth <= 0) {
      pieces.push(piece);
      piece = '';
    } else piece += character;
  }
  pieces.push(piece);
  return pieces;
}

/** Whether a directory may have something below it that a pattern means: to know where not to look. */
function leading(glob: string): Matches {
  const pieces = piecesOf(glob);
  // From here on everything is possible.
  const end = pieces.findIndex((piece) => piece.includes('**') || piece.includes('/'));
  const known = (end < 0 ? pieces : pieces.slice(0, end)).map((piece) => picomatch(piece, OPTIONS));
  return (path) => {
    const names = path.split('/');
    if (end < 0 && names.length >= pieces.length) return false;
    return names.every((name, i) => known[i]?.(name) ?? true);
  };
}

/** A name that begins with a dot, in a path, and in a pattern that means such names. */
const HIDDEN = /(?:^|\/)\./;
const SAYS_HIDDEN = /(?:^|[/{(|,])\\?\./;

const unescaped = (path: string): string => path.replace(/\\(.)/g, '$1');

function parse(pattern: string): Pattern {
  const directoriesOnly = pattern.length > 1 && pattern.endsWith('/');
  const plain = (directoriesOnly ? pattern.replace(/\/+$/, '') : pattern).replace(/^(?:\.\/+)+/, '');
  const { base, glob } = picomatch.scan(plain, { ...OPTIONS, noext: false });
  if (glob === '') return { base: unescaped(plain), matches: null, leadsOn: () => false, directoriesOnly };
  const matches = picomatch(glob, OPTIONS);
  const leadsOn = leading(glob);
  // Not left to the matcher, for which what is not `!(a)` may as well be hidden.
  const shows: Matches = SAYS_HIDDEN.test(glob) ? () => true : (path) => !HIDDEN.test(path);
  return {
    base: unescaped(base),
    matches: (path) => shows(path) && matches(path),
    leadsOn: (path) => shows(path) && leadsOn(path),
    directoriesOnly,
  };
}

function patternsOf(name: string, given: unknown): string[] {
  const list: unknown = typeof given === 'string' ? [given] : given;
  if (!Array.isArray(list) || !list.every((each) => typeof each === 'string')) {
    throw invalidType(name, 'of type string or an array of strings', given);
  }
  return list;
}

function excluder(exclude: unknown): Matches {
  if (exclude === undefined) return () => false;
  if (typeof exclude === 'function') return exclude as Matches;
  const patterns = patternsOf('options.exclude', exclude);
  return picomatch(patterns, { ...OPTIONS, dot: true });
}

/**
 * Finds files by patterns as the shell has them (`*`, `?`, `[a-z]`, `**`, `{a,b}`, `@(a|b)`), with `walk` below what of a pattern is a plain path: each
 * path once, in no order, relative to `cwd` unless the pattern is absolute. Names that begin with a dot are found by patterns that say so.
 * What may not be read is passed over. Links are found, and followed only in that plain part. A pattern with a slash at its end means
 * directories.
 *
 * @example for await (const path of glob('src/**\/*.ts', { exclude: ['**\/*.test.ts'] })) …
 */
export function glob(
  pattern: string | readonly string[],
  options: GlobOptions & { readonly withFileTypes: true },
): AsyncGenerator<WalkEntry, undefined, undefined>;
export function glob(
  pattern: string | readonly string[],
  options?: GlobOptions & { readonly withFileTypes?: false | undefined },
): AsyncGenerator<string, undefined, undefined>;
export function glob(
  pattern: string | readonly string[],
  options: GlobOptions = {},
): AsyncGenerator<WalkEntry | string, undefined, undefined> {
  if (typeof options !== 'object' || options === null)
    throw invalidType('options', 'of type object', options);
  const patterns = patternsOf('pattern', pattern).map(parse);
  const excluded = excluder(options.exclude);
  const given: PathLike = options.cwd ?? '.';
  const cwd = checkPath(given, 'options.cwd').toString();
  return options.withFileTypes === true
    ? search(patterns, cwd, excluded, options, (_path, entry) => entry)
    : search(patterns, cwd, excluded, options, (path) => path);
}

async function* search<T>(
  patterns: readonly Pattern[],
  cwd: string,
  excluded: Matches,
  { signal, scope }: GlobOptions,
  make: (path: string, entry: WalkEntry) => T,
): AsyncGenerator<T, undefined, undefined> {
  const several = patterns.length > 1;
  const seen = new Set<string>();
  for (const { base, matches, leadsOn, directoriesOnly } of patterns) {
    const root = posix.isAbsolute(base) ? base : posix.join(cwd, base);
    const skip = root.endsWith('/') ? root.length : root.length + 1;
    const below = (entry: WalkEntry): string => entry.path.slice(skip);
    const shown = (entry: WalkEntry): string =>
      base === '' || base === '.' ? below(entry) : posix.join(base, below(entry));
    if (matches === null) {
      const entry = await entryOf(root, { signal, scope });
      if (entry === null || seen.has(base) || excluded(base)) continue;
      if (directoriesOnly && !entry.isDirectory()) continue;
      seen.add(base);
      yield make(base, entry);
      continue;
    }
    const found = walk(root, {
      signal,
      scope,
      enter: (entry) => leadsOn(below(entry)) && !excluded(shown(entry)),
      onError: passOver,
    });
    for await (const batch of found.batches()) {
      for (const entry of batch) {
        if (directoriesOnly && !entry.isDirectory()) continue;
        if (!matches(below(entry))) continue;
        const path = shown(entry);
        if (several && seen.has(path)) continue;
        if (excluded(path)) continue;
        if (several) seen.add(path);
        yield make(path, entry);
      }
    }
  }
}

/** Ways a directory can be out of reach. What else keeps it from being read (`EMFILE`, `EIO`) says nothing of what is in it. */
const UNREACHABLE: ReadonlySet<unknown> = new Set([
  'EACCES',
  'ELOOP',
  'ENAMETOOLONG',
  'ENOENT',
  'ENOTDIR',
  'EPERM',
]);

function passOver(error: Error): void {
  if (!UNREACHABLE.has((error as NodeJS.ErrnoException).code)) throw error;
}

/** What a plain path leads to; null for nothing. */
async function entryOf(path: string, options: OpOptions): Promise<WalkEntry | null> {
  try {
    const stats = await lstat(path, options);
    return new WalkEntry(
      posix.basename(path),
      typeOf(stats.mode),
      new Place(null, '', posix.dirname(path)),
      null,
    );
  } catch (error) {
    passOver(error as Error);
    return null;
  }
}
