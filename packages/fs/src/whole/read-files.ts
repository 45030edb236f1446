import { checkInteger, type Future, flow, invalidType, type OpOptions } from '@ouro/runtime/driver';
import { checkPath, type PathLike } from '../path.ts';
import { checkEncoding } from '../text-encoding.ts';
import { type FileResult, Gathering, Lent, type LentFile, type Result } from './file-result.ts';
import { FileStream } from './file-stream.ts';
import { ReadRun } from './read-run.ts';
import { checkIterable, Source } from './source.ts';

/** How many files are read. */
export interface ReadFilesOptions extends OpOptions {
  /** Files that are read side by side, 1 to 1024. @default 32 */
  readonly concurrency?: number | undefined;
  /** The contents are strings in this encoding. */
  readonly encoding?: BufferEncoding | null | undefined;
  /**
   * The contents lie in memory that is used again, and each has to be released: several times faster than new memory, whose
   * pages the kernel has to find and clear first. @default false
   */
  readonly lease?: boolean | undefined;
}

/** All of them. */
class All extends Gathering {
  readonly results: Result[];

  constructor(options: ReadFilesOptions, count: number) {
    super(options);
    this.results = new Array<Result>(count);
  }

  hasRoom(): boolean {
    return true;
  }

  protected add(index: number, result: Result): void {
    this.results[index] = result;
  }

  release(): void {
    for (const result of this.results) if (result instanceof Lent) result.release();
  }
}

const MOST_CONCURRENT = 1024;

function checkOptions(options: ReadFilesOptions | undefined): ReadFilesOptions & { concurrency: number } {
  const given = options ?? {};
  if (typeof given !== 'object') throw invalidType('options', 'an instance of Object', options);
  const { concurrency = 32, encoding, lease = false } = given;
  checkInteger('options.concurrency', concurrency, 1, MOST_CONCURRENT);
  checkEncoding(encoding);
  if (typeof lease !== 'boolean') throw invalidType('options.lease', 'of type boolean', lease);
  if (lease && encoding !== undefined && encoding !== null) {
    throw Object.assign(new TypeError("The property 'options.lease' is for Buffers, not for strings"), {
      code: 'ERR_INVALID_ARG_VALUE',
    });
  }
  return { ...given, concurrency };
}

function readAll(paths: readonly PathLike[], options?: ReadFilesOptions): Future<Result[]> {
  if (!Array.isArray(paths)) throw invalidType('paths', 'an instance of Array', paths);
  const checked = checkOptions(options);
  const list = [...(paths as readonly PathLike[])];
  list.forEach((path, index) => {
    checkPath(path, `paths[${index}]`);
  });
  const all = new All(checked, list.length);
  return flow(async (steps) => {
    const run = new ReadRun(new Source(list, () => {}), all, checked.concurrency);
    run.pump();
    try {
      await steps.step(run);
    } catch (error) {
      all.release();
      throw error;
    }
    return all.results;
  }, options);
}

function stream(
  paths: Iterable<PathLike> | AsyncIterable<PathLike>,
  options?: ReadFilesOptions,
): FileStream<FileResult<unknown>> {
  checkIterable('paths', paths);
  return new FileStream(paths, checkOptions(options));
}

type Paths = Iterable<PathLike> | AsyncIterable<PathLike>;
type WithLease = ReadFilesOptions & { readonly lease: true };
type WithEncoding = ReadFilesOptions & { readonly encoding: BufferEncoding };

/** `readFiles`, and `readFiles.stream`. */
export interface ReadFiles {
  (paths: readonly PathLike[], options: WithLease): Future<LentFile[]>;
  (paths: readonly PathLike[], options: WithEncoding): Future<FileResult<string>[]>;
  (paths: readonly PathLike[], options?: ReadFilesOptions): Future<FileResult<Buffer>[]>;
  /**
   * The same for any number of files, of which no more than twice `concurrency` are in memory: an iterator of what
   * `readFiles` resolves to, in the order of the paths, which are taken as they are needed.
   *
   * @example
   * for await (using file of readFiles.stream(glob('src/*.ts'), { lease: true })) {
   *   if (file.error === null) count(file.content);
   * }
   */
  stream(paths: Paths, options: WithLease): FileStream<LentFile>;
  stream(paths: Paths, options: WithEncoding): FileStream<FileResult<string>>;
  stream(paths: Paths, options?: ReadFilesOptions): FileStream<FileResult<Buffer>>;
}

/**
 * Reads many files of any kind and size. A file is one chain of linked ops (open, read, read), and the chains of all that
 * are in flight reach the kernel together.
 *
 * @returns for each path, in their order, its content or its error: one file that cannot be read does not keep the others
 *   from being read. What cancels the whole (signal, scope, timeout) rejects it.
 * @throws TypeError for what is no path
 */
export const readFiles: ReadFiles = Object.assign(readAll as Omit<ReadFiles, 'stream'> as ReadFiles, {
  stream: stream as ReadFiles['stream'],
});
