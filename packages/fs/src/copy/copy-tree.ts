import { constants } from 'node:fs';
import { posix } from 'node:path';
import {
  awaitFast,
  cancellation,
  Deferred,
  type Future,
  flow,
  type Steps,
  submit,
} from '@ouro/runtime/driver';
import { mknodat } from '../op/mknod.ts';
import { linkat, mkdirat, symlinkat, unlinkat } from '../op/names.ts';
import { readlinkat } from '../op/readlink.ts';
import { statOf } from '../op/statx.ts';
import { keptPath, type PathLike } from '../path.ts';
import { makeAll } from '../paths/make-directory.ts';
import type { BigIntStats } from '../stats.ts';
import { type BytePath, kernelPath, resolveBytes, shownPath, toBytePath, within } from './byte-path.ts';
import { copyAttributes } from './copy-attributes.ts';
import {
  intoItself,
  look,
  type Pair,
  problem,
  refuseLink,
  refuseParents,
  same,
  statOrNull,
} from './copy-checks.ts';
import { firstOf, timeoutOf } from './copy-errors.ts';
import { copyOne, type FileCopy } from './copy-file.ts';
import { type Copied, type CopyOptions, type Settings, settingsOf } from './copy-options.ts';
import { Queue } from './copy-queue.ts';
import { namesIn } from './directory-names.ts';

/** `DT_REG` of `readdir(3)`. */
const REGULAR = 8;
const PERMISSIONS = 0o7777;
const OWNER_MAY = 0o700;
const NEW_DIRECTORY = 0o777;

/**
 * Copies a file, a link, or with `recursive` a directory with all that is in it, as `fs.promises.cp` does and with its errors; several
 * files at a time.
 *
 * A file that is there is replaced: removed, then copied. A FIFO, a device or a socket is not: a file is written to it. Copies have the permissions of what they are copied from; a directory that is there
 * keeps its own. What a failure or a cancellation leaves is what had been copied by then, and no half file; the error says how much that is
 * (`copied`).
 *
 * @returns what has been copied
 * @throws `ERR_FS_EISDIR` (a directory, without `recursive`), `ERR_FS_CP_EINVAL` (into itself), `ERR_FS_CP_EEXIST`,
 *   `ERR_FS_CP_DIR_TO_NON_DIR`, `ERR_FS_CP_NON_DIR_TO_DIR`, `ERR_FS_CP_SYMLINK_TO_SUBDIRECTORY`, `ERR_FS_CP_FIFO_PIPE`, `ERR_FS_CP_SOCKET`,
 *   `ERR_FS_CP_UNKNOWN` (a device); and what the steps throw: `ENOENT`, `EACCES`, `ENOSPC`…
 */
export function cp(src: PathLike, dest: PathLike, options: CopyOptions = {}): Future<Copied> {
  const settings = settingsOf(options);
  const from = toBytePath(keptPath(src, 'src'));
  const to = toBytePath(keptPath(dest, 'dest'));
  return flow((steps) => new TreeCopy(settings).run(steps, from, to), options);
}

/** A directory that is being copied. */
interface Directory {
  readonly parent: Directory | null;
  readonly source: BytePath;
  readonly dest: BytePath;
  readonly stats: BigIntStats;
  /** Whether it was made by us: then it gets the attributes of its source at the end, and there is nothing in it that is not ours. */
  readonly made: boolean;
  /** What is still to be copied into it, and one for its list of names. */
  pending: number;
}

/** Something in a directory. */
interface Entry {
  readonly directory: Directory;
  readonly name: BytePath;
  readonly type: number;
}

/** What somebody else says, sooner or later: whoever cancels does not wait for it. */
class Opinion extends Deferred<boolean> {
  constructor(says: Promise<boolean>) {
    super();
    Promise.resolve(says).then(
      (wanted) => this.resolve(wanted),
      (error: unknown) => this.reject(error),
    );
  }

  override cancel(reason?: unknown): void {
    this.reject(cancellation(reason));
  }
}
awaitFast(Opinion);

/** Whether it is more than what is in it: a FIFO, a socket or a device. */
const isSpecial = (stats: BigIntStats): boolean =>
  !stats.isFile() && !stats.isDirectory() && !stats.isSymbolicLink();

const sameKind = (a: BigIntStats, b: BigIntStats): boolean =>
  ((a.mode ^ b.mode) & BigInt(constants.S_IFMT)) === 0n && a.rdev === b.rdev;

type Totals = { -readonly [K in keyof Copied]: Copied[K] };

class TreeCopy {
  readonly #settings: Settings;
  readonly #queue: Queue<Entry, Directory>;
  readonly #totals: Totals = { files: 0, directories: 0, links: 0, specials: 0, bytes: 0 };
  /** Copies of files with several names, by device and inode: the name of the first, when it is there. */
  readonly #first: Map<string, Promise<BytePath | null>> = new Map();
  /** The directory that is made, which may lie in what is copied by a way that names do not show. */
  #root: BigIntStats | null = null;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#queue = new Queue(
      (steps, entry) => this.#entry(steps, entry),
      (steps, directory) => this.#list(steps, directory),
    );
  }

  async run(steps: Steps, source: BytePath, dest: BytePath): Promise<Copied> {
    try {
      await this.#top(steps, source, dest);
      await steps.step(this.#queue.run(this.#settings.concurrency));
    } catch (error) {
      const names = { path: kernelPath(source), dest: kernelPath(dest) };
      const first = timeoutOf(steps, firstOf(error), 'cp', names) ?? firstOf(error);
      if (first instanceof Error) Object.assign(first, { copied: { ...this.#totals } });
      throw first;
    }
    return { ...this.#totals };
  }

  async #top(steps: Steps, source: BytePath, dest: BytePath): Promise<void> {
    if (!(await this.#wanted(steps, source, dest))) return;
    try {
      const pair = await look(steps, source, dest, this.#settings.dereference, false);
      await refuseParents(steps, pair);
      const parent = posix.dirname(dest);
      if (pair.there === null && (await statOrNull(steps, parent, false)) === null) {
        await makeAll(steps, kernelPath(parent), NEW_DIRECTORY);
      }
      steps.check();
      await this.#act(steps, pair, null);
    } catch (error) {
      this.#failed(steps, error, source, dest);
    }
  }

  /** Something in a directory. */
  async #entry(steps: Steps, { directory, name, type }: Entry): Promise<void> {
    const source = within(directory.source, name);
    const dest = within(directory.dest, name);
    try {
      if (await this.#wanted(steps, source, dest)) {
        const plain = type === REGULAR && directory.made && this.#isPlain;
        steps.check();
        if (!plain || !(await this.#ordinary(steps, source, dest))) {
          steps.check();
          const { dereference } = this.#settings;
          const pair = await look(steps, source, dest, dereference, directory.made && !plain);
          steps.check();
          await this.#act(steps, pair, directory);
        }
      }
    } catch (error) {
      this.#failed(steps, error, source, dest);
    }
    await this.#done(steps, directory);
  }

  async #wanted(steps: Steps, source: BytePath, dest: BytePath): Promise<boolean> {
    const { filter } = this.#settings;
    if (filter === null) return true;
    const says = filter(shownPath(source), shownPath(dest));
    return Boolean(typeof says === 'object' ? await steps.step(new Opinion(says)) : says);
  }

  /** Throws a failure on, or tells of it. */
  #failed(steps: Steps, error: unknown, source: BytePath, dest: BytePath): void {
    const { onError } = this.#settings;
    if (onError === null || steps.cancelled || !(error instanceof Error)) throw error;
    onError(error, shownPath(source), shownPath(dest));
  }

  /** Whether files are copied without a look at them: nothing is wanted of them but what is in them. */
  get #isPlain(): boolean {
    const { hardLinks, owner, xattrs } = this.#settings;
    return !hardLinks && !owner && !xattrs;
  }

  /**
   * The many: a regular file for a directory where nothing is but our own. Nothing need be asked about it. False if it turns out to be something
   * else, or something is there.
   */
  async #ordinary(steps: Steps, source: BytePath, dest: BytePath): Promise<boolean> {
    try {
      await this.#data(steps, source, dest, true);
      return true;
    } catch (error) {
      const { code } = error as { readonly code?: unknown };
      if (code !== 'EEXIST' && code !== 'ELOOP') throw error;
      return false;
    }
  }

  async #act(steps: Steps, pair: Pair, parent: Directory | null): Promise<void> {
    const { stats } = pair;
    if (stats.isDirectory()) await this.#directory(steps, pair, parent);
    else if (stats.isSymbolicLink()) await this.#link(steps, pair);
    else if (stats.isFile()) await this.#file(steps, pair);
    else await this.#special(steps, pair);
  }

  async #directory(
    steps: Steps,
    { source, dest, stats, there }: Pair,
    parent: Directory | null,
  ): Promise<void> {
    if (!this.#settings.recursive) {
      throw problem('ERR_FS_EISDIR', `${shownPath(source)} is a directory (not copied)`, source);
    }
    for (let above = parent; above !== null; above = above.parent) {
      // Links that are followed may lead back.
      if (same(above.stats, stats)) throw intoItself(source, dest);
    }
    if (this.#root !== null && same(this.#root, stats)) throw intoItself(source, dest);
    if (there === null) {
      // Nobody is to see more of it meanwhile than afterwards, and we must get in.
      const mode = (Number(stats.mode) & PERMISSIONS) | OWNER_MAY;
      await steps.step(submit(mkdirat(kernelPath(dest), mode & NEW_DIRECTORY)));
    }
    if (parent === null) {
      steps.check();
      this.#root = await steps.step(submit(statOf(kernelPath(dest), { bigint: true })));
    } else parent.pending++;
    this.#queue.addBranch({ parent, source, dest, stats, made: there === null, pending: 1 });
  }

  async #list(steps: Steps, directory: Directory): Promise<void> {
    const { source, dest } = directory;
    try {
      const follow = this.#settings.dereference || directory.parent === null;
      for await (const names of namesIn(steps, kernelPath(source), { follow })) {
        for (const { name, type } of names) {
          directory.pending++;
          this.#queue.addLeaf({ directory, name, type });
        }
        await this.#queue.relieve(steps);
      }
    } catch (error) {
      this.#failed(steps, error, source, dest);
    }
    this.#totals.directories++;
    this.#told();
    await this.#done(steps, directory);
  }

  /** Something in a directory is done, or its list. With the last of it the directory is, and so something in the one above. */
  async #done(steps: Steps, directory: Directory): Promise<void> {
    for (let at: Directory | null = directory; at !== null; at = at.parent) {
      at.pending--;
      if (at.pending > 0) return;
      const { source, dest, stats, made } = at;
      if (!made) continue;
      steps.check();
      try {
        await copyAttributes(steps, kernelPath(source), kernelPath(dest), stats, this.#settings);
      } catch (error) {
        this.#failed(steps, error, source, dest);
      }
    }
  }

  /** Makes room for what replaces something, unless that is to stay, or is what others have to do with by its name. Returns which of it. */
  async #replace(steps: Steps, { dest, there }: Pair): Promise<'free' | 'stays' | 'special'> {
    if (there === null) return 'free';
    const { force, errorOnExist, dereference } = this.#settings;
    if (!force) {
      if (errorOnExist) throw problem('ERR_FS_CP_EEXIST', `${shownPath(dest)} already exists`, dest);
      return 'stays';
    }
    if (isSpecial(there)) {
      const itself = dereference ? await statOrNull(steps, dest, true) : there;
      if (itself !== null && isSpecial(itself)) return 'special';
    }
    steps.check();
    await steps.step(submit(unlinkat(kernelPath(dest))));
    return 'free';
  }

  async #file(steps: Steps, pair: Pair): Promise<void> {
    const place = await this.#replace(steps, pair);
    if (place === 'stays') return;
    const { source, dest, stats } = pair;
    steps.check();
    if (place === 'special') return await this.#data(steps, source, dest, false);
    if (!this.#settings.hardLinks || stats.nlink === 1n) return await this.#fileItself(steps, pair);
    const key = `${stats.dev}:${stats.ino}`;
    const first = this.#first.get(key);
    if (first === undefined) {
      const copying = this.#fileItself(steps, pair);
      this.#first.set(
        key,
        copying.then(
          () => dest,
          () => null,
        ),
      );
      return await copying;
    }
    const name = await first;
    steps.check();
    if (name === null || !(await this.#linked(steps, name, dest))) {
      await this.#fileItself(steps, { source, dest, stats, there: null });
    }
  }

  /** Gives a file that has been copied another name. False if it can have no more. */
  async #linked(steps: Steps, existing: BytePath, dest: BytePath): Promise<boolean> {
    try {
      await steps.step(submit(linkat(kernelPath(existing), kernelPath(dest))));
    } catch (error) {
      if ((error as { readonly code?: unknown }).code !== 'EMLINK') throw error;
      return false;
    }
    this.#totals.links++;
    this.#told();
    return true;
  }

  async #fileItself(steps: Steps, { source, dest, stats }: Pair): Promise<void> {
    const { dereference, owner, xattrs } = this.#settings;
    // Nothing is there: what has come meanwhile may be a link to where somebody wants it written. Links that lead nowhere are followed, as in Node.
    await this.#data(steps, source, dest, !dereference);
    if (owner || xattrs) {
      await copyAttributes(steps, kernelPath(source), kernelPath(dest), stats, this.#settings, true);
    }
  }

  /** A file's contents, permissions and times. */
  async #data(steps: Steps, source: BytePath, dest: BytePath, exclusive: boolean): Promise<void> {
    const totals = this.#totals;
    let told = 0;
    const progress = (copied: number): void => {
      totals.bytes += copied - told;
      told = copied;
      this.#told();
    };
    const { file } = this.#settings;
    const how: FileCopy = { ...file, progress, exclusive: exclusive || file.exclusive };
    try {
      await copyOne(steps, kernelPath(source), kernelPath(dest), how);
    } catch (error) {
      totals.bytes -= told; // it has been removed
      throw error;
    }
    totals.files++;
    this.#told();
  }

  #told(): void {
    this.#settings.progress?.({ ...this.#totals });
  }

  async #link(steps: Steps, { source, dest, stats, there }: Pair): Promise<void> {
    steps.check();
    const says = toBytePath(await steps.step(submit(readlinkat(kernelPath(source)))));
    const leads = resolveBytes(posix.dirname(source), says);
    const target = this.#settings.verbatim || says.startsWith('/') ? says : leads;
    if (there?.isSymbolicLink() === true) {
      const before = toBytePath(await steps.step(submit(readlinkat(kernelPath(dest)))));
      await refuseLink(steps, source, dest, leads, resolveBytes(posix.dirname(dest), before));
      steps.check();
      await steps.step(submit(unlinkat(kernelPath(dest))));
    }
    steps.check();
    await steps.step(submit(symlinkat(kernelPath(target), kernelPath(dest))));
    const { owner, times, xattrs } = this.#settings;
    if (owner || times || xattrs) {
      await copyAttributes(steps, kernelPath(source), kernelPath(dest), stats, this.#settings);
    }
    this.#totals.links++;
    this.#told();
  }

  async #special(steps: Steps, pair: Pair): Promise<void> {
    const { source, dest, stats, there } = pair;
    const { specials } = this.#settings;
    if (specials === 'contents') return await this.#file(steps, pair);
    if (!specials) {
      const shown = shownPath(dest);
      if (stats.isFIFO()) throw problem('ERR_FS_CP_FIFO_PIPE', `cannot copy a FIFO pipe: ${shown}`, dest);
      if (stats.isSocket()) throw problem('ERR_FS_CP_SOCKET', `cannot copy a socket file: ${shown}`, dest);
      throw problem('ERR_FS_CP_UNKNOWN', `cannot copy a device: ${shown}`, dest);
    }
    const place = await this.#replace(steps, pair);
    if (place === 'stays') return;
    steps.check();
    if (place === 'free' || there === null || !sameKind(stats, there)) {
      const type = Number(stats.mode) & constants.S_IFMT;
      await steps.step(submit(mknodat(kernelPath(dest), type | 0o600, Number(stats.rdev))));
    }
    await copyAttributes(steps, kernelPath(source), kernelPath(dest), stats, this.#settings);
    this.#totals.specials++;
    this.#told();
  }
}
