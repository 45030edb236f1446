import { parseArgs } from 'node:util';
import { type Copied, CopyError, type CopyOptions, copyFile, cp } from '@ouro/fs';
import type { Future } from '@ouro/runtime';
import { bytesOf } from './bytes-of.ts';
import { say } from './output.ts';
import { ProgressLine } from './progress.ts';
import { behindLinks, inside, isDirectory } from './target.ts';
import { ENDED_BY_SIGINT, explain, misused, problemOf } from './words.ts';

const HELP = `usage: ouro cp [OPTION …] SOURCE … TARGET

Copies files to TARGET, or into it if it is a directory. Copies have the permissions of what they are copied from, set-id bits
with -p only; a file that is there is replaced, not written to, also where a link leads to it; a device or a FIFO is written to.
On a terminal it shows how far it is.

  -r, -R, --recursive   directories too; symbolic links in them are copied as they are, FIFOs and devices made anew;
                        without it what is to be read from those is copied
  -p, --preserve        times, and owner and group as far as permitted
  -a, --archive         -r -p, hard links and extended attributes as well
  -n, --no-clobber      leaves files alone that are there
  -L, --dereference     copies what symbolic links lead to; the default without -r
  -P, --no-dereference  copies symbolic links themselves; the default with -r
  -v, --verbose         names what is copied
  --reflink[=WHEN]      share the data if possible (auto, the default), or fail (always, the default of --reflink), or not at all (never)
  --sparse=WHEN         holes stay holes (auto, the default), zeros become holes too (always), holes are filled (never)
  --no-progress         shows nothing on a terminal either`;

type Sparse = NonNullable<CopyOptions['sparse']>;

/** What the command line says. */
interface Wanted {
  readonly sources: readonly string[];
  readonly target: string;
  readonly options: CopyOptions;
  readonly verbose: boolean;
  readonly progress: boolean;
}

function oneOf<T extends string>(option: string, value: string, values: readonly T[]): T {
  const found = values.find((each) => each === value);
  if (found === undefined) throw new Error(`'${value}' is nothing for --${option}: ${values.join(', ')}`);
  return found;
}

/** Null for `--help`. */
function parse(args: readonly string[]): Wanted | null {
  const { values, positionals } = parseArgs({
    args: args.map((arg) => (arg === '--reflink' ? '--reflink=always' : arg)),
    options: {
      help: { type: 'boolean', short: 'h' },
      recursive: { type: 'boolean', short: 'r' },
      Recursive: { type: 'boolean', short: 'R' },
      preserve: { type: 'boolean', short: 'p' },
      archive: { type: 'boolean', short: 'a' },
      'no-clobber': { type: 'boolean', short: 'n' },
      force: { type: 'boolean', short: 'f' }, // what is done anyway
      dereference: { type: 'boolean', short: 'L' },
      'no-dereference': { type: 'boolean', short: 'P' },
      verbose: { type: 'boolean', short: 'v' },
      reflink: { type: 'string', default: 'auto' },
      sparse: { type: 'string', default: 'auto' },
      'no-progress': { type: 'boolean' },
    },
    allowPositionals: true,
  });
  if (values.help === true) return null;
  const sources = positionals.slice(0, -1);
  const target = positionals.at(-1);
  if (target === undefined) throw new Error('missing file operand');
  if (sources.length === 0) throw new Error(`missing destination file operand after '${target}'`);
  const archive = values.archive === true;
  const recursive = archive || values.recursive === true || values.Recursive === true;
  const keepLinks =
    archive || values['no-dereference'] === true || (recursive && values.dereference !== true);
  const reflink = oneOf('reflink', values.reflink, ['auto', 'always', 'never']);
  const sparse = oneOf<Sparse>('sparse', values.sparse, ['auto', 'always', 'never']);
  if (reflink === 'always' && sparse !== 'auto')
    throw new Error('--reflink can be used only with --sparse=auto');
  const preserve = archive || values.preserve === true;
  const options: CopyOptions = {
    recursive,
    preserveTimestamps: preserve,
    preserveOwner: preserve,
    setIds: preserve,
    hardLinks: archive,
    xattrs: archive,
    specials: recursive || 'contents',
    force: values['no-clobber'] !== true,
    dereference: !keepLinks,
    verbatimSymlinks: keepLinks,
    clone: reflink === 'auto' ? 'try' : reflink,
    sparse,
  };
  return {
    sources,
    target,
    options,
    verbose: values.verbose === true,
    progress: values['no-progress'] !== true,
  };
}

/** What `ouro cp` says of an error, as cp(1) would. */
export function complaint(error: unknown, source: string, target: string): string {
  const { code, syscall, path = source } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ERR_FS_EISDIR':
      return `-r not specified; omitting directory '${source}'`;
    case 'ERR_FS_CP_DIR_TO_NON_DIR':
      return `cannot overwrite non-directory '${target}' with directory '${source}'`;
    case 'ERR_FS_CP_NON_DIR_TO_DIR':
      return `cannot overwrite directory '${target}' with non-directory '${source}'`;
    case 'ERR_FS_CP_EINVAL':
      return (error as Error).message.includes('cannot be the same')
        ? `'${source}' and '${target}' are the same file`
        : `cannot copy a directory, '${source}', into itself, '${target}'`;
  }
  switch (syscall) {
    case 'stat':
    case 'lstat':
      return `cannot stat '${path}': ${explain(error)}`;
    case 'mkdir':
      return `cannot create directory '${path}': ${explain(error)}`;
    case 'opendir':
    case 'scandir':
      return `cannot access '${path}': ${explain(error)}`;
    case 'copyfile':
      // The kernel speaks of what cannot be made so, cp(1) of what is not there.
      if (code === 'EISDIR' && target.endsWith('/')) {
        return `cannot create regular file '${target}': Not a directory`;
      }
      return `cannot copy '${source}' to '${target}': ${explain(error)}`;
    case 'unlink':
      return `cannot remove '${path}': ${explain(error)}`;
    case 'symlink':
      return `cannot create symbolic link '${target}': ${explain(error)}`;
    case undefined:
    case 'cp':
      if (error instanceof CopyError) return `cannot copy '${source}': ${error.info.message}`;
      return `cannot copy '${source}': ${explain(error)}`;
    default:
      return `${syscall} '${path}': ${explain(error)}`;
  }
}

/** `ouro cp`: resolves to its exit code. */
export async function cpCommand(args: readonly string[]): Promise<number> {
  let wanted: Wanted | null;
  try {
    wanted = parse(args);
  } catch (error) {
    misused('ouro cp', problemOf(error));
    return 1;
  }
  if (wanted === null) {
    say(HELP);
    return 0;
  }
  const { sources, target } = wanted;
  const into = await isDirectory(target);
  if (sources.length > 1 && !into) {
    console.error(`ouro cp: target '${target}' is not a directory`);
    return 1;
  }
  let code = 0;
  for (const source of sources) {
    const ended = await copy(wanted, source, into ? inside(target, source) : target);
    if (ended === ENDED_BY_SIGINT) return ended;
    code ||= ended;
  }
  return code;
}

/** Copies one source, and resolves to the exit code. */
async function copy(wanted: Wanted, source: string, target: string): Promise<number> {
  const { options, verbose, progress } = wanted;
  let written: string | null;
  try {
    written = await behindLinks(source, target, options);
  } catch (error) {
    const dangling = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const says = dangling
      ? `not writing through dangling symlink '${target}'`
      : complaint(error, source, target);
    console.error(`ouro cp: ${says}`);
    return 1;
  }
  if (written === null && options.force === false) return 0;
  const named = (path: string): string => (path === written ? target : path);
  let code = 0;
  const ended = new AbortController();
  const shown =
    progress && process.stderr.isTTY
      ? new ProgressLine(process.stderr, () => bytesOf(source, options, ended.signal))
      : null;
  const complain = (error: unknown, from: string, to: string): void => {
    shown?.clear();
    console.error(`ouro cp: ${complaint(error, from, to)}`);
    code = 1;
  };
  const copying =
    written === null
      ? writeTo(source, target, wanted)
      : cp(source, written, {
          ...options,
          filter: verbose ? (from, to) => tellOf(shown, from, named(to)) : undefined,
          progress: shown?.tell,
          onError: (error, from, to) => complain(error, from, named(to)),
        });
  const interrupt = (): void => copying.cancel();
  process.once('SIGINT', interrupt);
  try {
    await copying;
  } catch (error) {
    if ((error as Error).name !== 'AbortError') complain(error, source, target);
    else {
      const { files, bytes } = (error as { copied?: Copied }).copied ?? { files: 0, bytes: 0 };
      shown?.clear();
      console.error(`ouro cp: interrupted after ${files} files, ${bytes} bytes`);
      code = ENDED_BY_SIGINT;
    }
  } finally {
    process.off('SIGINT', interrupt);
    ended.abort();
    shown?.clear();
  }
  return code;
}

/** Copies what is in a file to what is there. */
function writeTo(source: string, target: string, { options, verbose }: Wanted): Future<void> {
  if (verbose) tellOf(null, source, target);
  return copyFile(source, target, { sparse: options.sparse });
}

function tellOf(shown: ProgressLine | null, from: string, to: string): true {
  shown?.clear();
  say(`'${from}' -> '${to}'`);
  return true;
}
