import { checkInteger, invalidType, type OpOptions } from '@ouro/runtime/driver';
import {
  type Clone,
  checkCallback,
  checkCopyMode,
  checkSparse,
  type FileCopy,
  modeOf,
  type Sparse,
} from './copy-file.ts';

const USUAL_CONCURRENCY = 8;
const MOST_CONCURRENCY = 1024;

/** What has been copied. */
export interface Copied {
  /** Regular files. */
  readonly files: number;
  readonly directories: number;
  /** Symbolic links, and hard links that were kept. */
  readonly links: number;
  /** FIFOs, sockets and devices that were made. */
  readonly specials: number;
  /** Bytes of the files, holes included. */
  readonly bytes: number;
}

/** How `cp` copies. The first eight as in `fs.promises.cp`. */
export interface CopyOptions extends OpOptions {
  /** Copies directories, with all that is in them. @default false */
  readonly recursive?: boolean | undefined;
  /** Gives copies the times of what they are copied from, to the nanosecond: of directories that were made and of links as well. @default false */
  readonly preserveTimestamps?: boolean | undefined;
  /** Copies what symbolic links lead to. @default false: the links */
  readonly dereference?: boolean | undefined;
  /** Replaces files that are there, and writes to FIFOs and devices. @default true */
  readonly force?: boolean | undefined;
  /** With `force: false`: fails if a file is there. @default false: it is left as it is */
  readonly errorOnExist?: boolean | undefined;
  /** Whether to copy something, and what is in it. Names that are not UTF-8 are shown as well as can be. */
  readonly filter?: ((source: string, destination: string) => boolean | Promise<boolean>) | undefined;
  /** Leaves what symbolic links say as it is. @default false: relative ones become absolute */
  readonly verbatimSymlinks?: boolean | undefined;
  /** `COPYFILE_*` bits: see `copyFile`. @default 0 */
  readonly mode?: number | undefined;

  /** Whether data may be shared: see `copyFile`. @default 'try' */
  readonly clone?: Clone | undefined;
  /** What becomes of holes. @default 'auto' */
  readonly sparse?: Sparse | undefined;
  /** Files with several names in the tree are one file in the copy as well. @default false */
  readonly hardLinks?: boolean | undefined;
  /** Makes FIFOs, sockets and devices anew; or copies what is to be read from them to a file, `'contents'`. @default false: they are refused */
  readonly specials?: boolean | 'contents' | undefined;
  /** Gives copies owner and group. Where the process may not, they lose set-id bits. @default false */
  readonly preserveOwner?: boolean | undefined;
  /**
   * Keeps set-id bits. As root, of files of others, to say no is wise, or `preserveOwner`: what they have written would run with your rights.
   * @default true, as in Node
   */
  readonly setIds?: boolean | undefined;
  /** Copies extended attributes, as far as the file system has them and the process may set them. @default false */
  readonly xattrs?: boolean | undefined;
  /** Files under way at a time. @default 8 */
  readonly concurrency?: number | undefined;
  /** Called with what has been copied so far, after each file and after each step of a long one. */
  readonly progress?: ((copied: Copied) => void) | undefined;
  /** Called with what could not be copied, of which the error tells; the rest is copied all the same. @default the first failure ends it */
  readonly onError?: ((error: Error, source: string, destination: string) => void) | undefined;
}

/** `CopyOptions`, checked and complete. */
export interface Settings {
  readonly recursive: boolean;
  readonly times: boolean;
  readonly dereference: boolean;
  readonly force: boolean;
  readonly errorOnExist: boolean;
  readonly filter: NonNullable<CopyOptions['filter']> | null;
  readonly verbatim: boolean;
  readonly hardLinks: boolean;
  readonly specials: boolean | 'contents';
  readonly owner: boolean;
  readonly setIds: boolean;
  readonly xattrs: boolean;
  readonly concurrency: number;
  readonly progress: ((copied: Copied) => void) | null;
  readonly onError: NonNullable<CopyOptions['onError']> | null;
  /** For each file, but for `progress`. */
  readonly file: FileCopy;
}

/** @throws TypeError, RangeError as Node does for its options */
export function settingsOf(options: CopyOptions): Settings {
  if (typeof options !== 'object' || options === null) {
    throw invalidType('options', 'of type object', options);
  }
  const flag = (name: keyof CopyOptions, otherwise = false): boolean => {
    const value: unknown = options[name] ?? otherwise;
    if (typeof value !== 'boolean') throw invalidType(`options.${name}`, 'of type boolean', value);
    return value;
  };
  const dereference = flag('dereference');
  const verbatim = flag('verbatimSymlinks');
  if (dereference && verbatim) {
    throw Object.assign(
      new TypeError('Option "dereference" cannot be used in combination with option "verbatimSymlinks"'),
      { code: 'ERR_INCOMPATIBLE_OPTION_PAIR' },
    );
  }
  const times = flag('preserveTimestamps');
  const owner = flag('preserveOwner');
  const setIds = flag('setIds', true);
  const { concurrency = USUAL_CONCURRENCY } = options;
  checkInteger('options.concurrency', concurrency, 1, MOST_CONCURRENCY);
  return {
    recursive: flag('recursive'),
    times,
    dereference,
    force: flag('force', true),
    errorOnExist: flag('errorOnExist'),
    filter: checkCallback('options.filter', options.filter),
    verbatim,
    hardLinks: flag('hardLinks'),
    specials: options.specials === 'contents' ? 'contents' : flag('specials'),
    owner,
    setIds,
    xattrs: flag('xattrs'),
    concurrency,
    progress: checkCallback('options.progress', options.progress),
    onError: checkCallback('options.onError', options.onError),
    file: {
      ...modeOf(checkCopyMode(options.mode, 'mode'), options.clone),
      sparse: checkSparse(options.sparse),
      progress: null,
      noFollow: !dereference,
      times,
      setIds: setIds && !owner ? 'keep' : 'drop',
    },
  };
}
