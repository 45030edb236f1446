import {
  asBytes,
  awaitFast,
  type Bytes,
  bound,
  cancellation,
  checkInteger,
  Future,
  flow,
  invalidType,
  limitsOf,
  type OpOptions,
  pinned,
  refusal,
  rejected,
  systemError,
} from '@ouro/runtime/driver';
import { toBytes } from '../file/file.ts';
import { fileMode, type OpenFlags, openFlags } from '../flags.ts';
import {
  canWriteInPool,
  type FileToWrite,
  NOT_REGULAR,
  type WriteOutcome,
  writeFilesInPool,
} from '../op/write-files.ts';
import { checkPath, keptPath, type PathLike } from '../path.ts';
import { checkEncoding } from '../text-encoding.ts';
import { checkIterable, Source } from './source.ts';
import { writeByParts } from './write-whole.ts';

/** A file to be written as a whole. */
export interface FileEntry {
  readonly path: PathLike;
  /** Not to be changed before the future has settled. */
  readonly data: Bytes | string;
}

/** How many files are written. */
export interface WriteFilesOptions extends OpOptions {
  /** Threads that write at a time, 1 to 64, as far as libuv's pool has them. @default 4 */
  readonly concurrency?: number | undefined;
  /** @default 'w' */
  readonly flag?: OpenFlags | number | undefined;
  /** @default 0o666 */
  readonly mode?: number | string | undefined;
  /** Of `data` that is a string. @default 'utf8' */
  readonly encoding?: BufferEncoding | null | undefined;
}

/** What came of a file that was to be written. */
export interface WriteResult {
  readonly path: PathLike;
  /** Null if all of it was written. */
  readonly error: Error | null;
}

/** What one thread writes before somebody else has a turn: more costs the others time, less wakes threads too often. */
const MOST_FILES = 64;
const MOST_BYTES = 2 << 20;
const MOST_THREADS = 64;

type Entries = Iterable<FileEntry> | AsyncIterable<FileEntry>;

function checkEntry(entry: unknown, name: string): asserts entry is FileEntry {
  if (typeof entry !== 'object' || entry === null) throw invalidType(name, 'an instance of Object', entry);
  const { path, data } = entry as Partial<FileEntry>;
  checkPath(path, `${name}.path`);
  if (typeof data !== 'string') asBytes(toBytes(data, null, `${name}.data`)); // throws if detached
}

/** What an entry says of its path, where it is not what it should be. */
function pathOf(entry: unknown): PathLike {
  try {
    return (entry as Partial<FileEntry> | null)?.path ?? '';
  } catch {
    return ''; // it is the path that cannot be had
  }
}

/** How each file is written. */
interface How {
  readonly flags: number;
  readonly mode: number;
  readonly encoding: BufferEncoding;
}

/** One that a thread is to write. */
interface Begun {
  readonly index: number;
  readonly path: PathLike;
  readonly file: FileToWrite;
}

/** Hands files to threads, some at a time. Settles when all have been written, or have failed. */
class WriteRun extends Future<WriteResult[]> {
  readonly #source: Source<FileEntry>;
  readonly #how: How;
  readonly #most: number;
  readonly #results: WriteResult[] = [];
  readonly #running: Set<Future<unknown>> = new Set();
  #count = 0;
  #error: Error | null = null;
  #settled = false;

  constructor(source: Source<FileEntry>, how: How, concurrency: number) {
    super();
    this.#source = source;
    this.#how = how;
    this.#most = concurrency;
  }

  /** Begins what may be begun: to be called when there are more files. */
  pump(): void {
    while (this.#error === null && this.#running.size < this.#most) {
      const group = this.#gather();
      // (Whose iterator may have cancelled it.)
      if (group.length === 0 || this.#error !== null) break;
      this.#write(group);
    }
    if (this.#running.size > 0 || this.#settled) return;
    if (this.#error === null && !this.#source.ended) return;
    this.#settled = true;
    const failed = this.#error ?? this.#source.error;
    if (failed === null) this.fulfil(this.#results);
    else this.fail(failed);
  }

  /** Files for one thread. */
  #gather(): Begun[] {
    const group: Begun[] = [];
    for (let bytes = 0; group.length < MOST_FILES && bytes < MOST_BYTES; ) {
      const entry = this.#source.take();
      if (entry === undefined) break;
      const index = this.#count++;
      try {
        const begun = this.#begin(entry, index);
        bytes += begun.file.data.length;
        group.push(begun);
      } catch (error) {
        this.#results[index] = { path: pathOf(entry), error: error as Error };
      }
    }
    return group;
  }

  #begin(entry: FileEntry, index: number): Begun {
    checkEntry(entry, `entries[${index}]`);
    const { path, data } = entry;
    const { flags, mode, encoding } = this.#how;
    const bytes = typeof data === 'string' ? Buffer.from(data, encoding) : data;
    return { index, path, file: { path: keptPath(path), data: pinned(bytes), flags, mode } };
  }

  #write(group: readonly Begun[]): void {
    if (!canWriteInPool()) {
      for (const begun of group) this.#byParts(begun);
      return;
    }
    const writing = writeFilesInPool(group.map(({ file }) => file));
    this.#running.add(writing);
    writing.then(
      (outcomes) => {
        for (const [at, begun] of group.entries()) this.#ended(begun, outcomes[at]);
        this.#over(writing);
      },
      (error: unknown) => {
        // Not begun: cancelled, or the kernel takes no more ops.
        for (const { index, path } of group) this.#results[index] = { path, error: error as Error };
        this.#over(writing);
      },
    );
  }

  #over(future: Future<unknown>): void {
    this.#running.delete(future);
    this.pump();
  }

  #ended({ index, path, file }: Begun, outcome: WriteOutcome): void {
    if (outcome.result !== NOT_REGULAR) {
      const error = outcome.result < 0 ? outcomeError(outcome, file.path) : null;
      this.#results[index] = { path, error };
      return;
    }
    this.#byParts({ index, path, file });
  }

  #byParts({ index, path, file }: Begun): void {
    const writing = flow((steps) => writeByParts(steps, file.path, file.data, file.flags, file.mode));
    this.#running.add(writing);
    if (this.#error !== null) writing.cancel();
    const ended = (error: Error | null): void => {
      this.#results[index] = { path, error };
      this.#over(writing);
    };
    writing.then(
      () => ended(null),
      (error: unknown) => ended(error as Error),
    );
  }

  override cancel(reason?: unknown): void {
    if (this.#settled || this.#error !== null) return;
    this.#error = cancellation(reason);
    this.#source.stop();
    for (const each of this.#running) each.cancel(reason);
    this.pump();
  }
}
awaitFast(WriteRun);

/** Why a file was not written. */
export function outcomeError({ result, syscall, written }: WriteOutcome, path: string | Buffer): Error {
  const error = systemError(result, syscall, syscall === 'open' ? { path } : null);
  return written === 0 ? error : Object.assign(error, { bytesTransferred: written });
}

/**
 * Writes many whole files: some at a time in each of several threads, so that neither the kernel nor a thread is woken for
 * each. A file that is there is written over and cut off behind, as `writeFile` does it.
 *
 * @param entries an array, or anything that brings them when they are wanted: no more than are being written are held
 * @returns for each, in their order, its error or null: one that cannot be written does not keep the others from being
 *   written. What cancels the whole (signal, scope, timeout) rejects it; files may be half written then.
 * @throws TypeError for what is no entry, as far as they are in an array
 */
export function writeFiles(entries: Entries, options?: WriteFilesOptions): Future<WriteResult[]> {
  const { concurrency = 4, flag = 'w', mode = 0o666, encoding } = checkObject(options);
  checkInteger('options.concurrency', concurrency, 1, MOST_THREADS);
  checkEncoding(encoding);
  const how = { flags: openFlags(flag), mode: fileMode(mode), encoding: encoding ?? 'utf8' } as const;
  if (Array.isArray(entries)) {
    for (const [index, entry] of (entries as unknown[]).entries()) checkEntry(entry, `entries[${index}]`);
  }
  checkIterable('entries', entries);
  const limits = limitsOf(options);
  const refused = refusal(limits);
  if (refused !== undefined) return rejected(refused);
  const source = new Source<FileEntry>(entries, () => run.pump());
  const run: WriteRun = new WriteRun(source, how, concurrency);
  run.pump();
  return bound(run, limits);
}

function checkObject(options: WriteFilesOptions | undefined): WriteFilesOptions {
  if (options === undefined) return {};
  if (typeof options !== 'object' || options === null)
    throw invalidType('options', 'an instance of Object', options);
  return options;
}
