import { EACCES, ELOOP, ENOENT, ENOTDIR, EPERM } from '@ouro/native/abi';
import { close, type Descriptor, type SystemError, submit } from '@ouro/runtime/driver';
import { borrowListing, openToList, returnListing } from '../directory/readdir.ts';
import { inotifyAddWatch, inotifyRmWatch } from '../op/inotify.ts';
import { forEachEntry, isLast, listDirectory } from '../op/listing.ts';
import { statOf } from '../op/statx.ts';
import { WATCHED, WATCHED_BELOW } from './inotify.ts';

/** Directories that are begun to be watched at a time. */
const AT_A_TIME = 16;

/** A watch. Paths are bytes, one for each character, and lead from the root: empty for that itself. */
interface Watched {
  path: string;
  /**
   * What a look has found in a directory that was new: told already, so that what the kernel says of it, if it does, is not told again.
   */
  told: Set<string> | null;
}

/** Something that a look has found. */
export interface Seen {
  readonly path: string;
  readonly directory: boolean;
}

/** A path and a name in it. */
export const joinWatched = (path: string, name: string): string => (path === '' ? name : `${path}/${name}`);

/** What of the ways a directory can be out of reach is no error: gone, replaced, or not for us. */
const UNREACHABLE: ReadonlySet<unknown> = new Set([ENOENT, ENOTDIR, ELOOP, EACCES, EPERM]);

/** The watches of an inotify descriptor: that of a file or directory, and of all directories below it. */
export class WatchTree {
  readonly #descriptor: Descriptor;
  readonly #root: Buffer;
  readonly #recursive: boolean;
  readonly #watches: Map<number, Watched> = new Map();
  #anythingTold = false;
  /** Whether what is watched is a directory: of its own end the kernel does not say. */
  isDirectory = false;

  constructor(descriptor: Descriptor, root: Buffer, recursive: boolean) {
    this.#descriptor = descriptor;
    this.#root = root;
    this.#recursive = recursive;
  }

  get(watch: number): Watched | undefined {
    return this.#watches.get(watch);
  }

  /** Begins to watch the root, and what is below it. */
  async begin(): Promise<void> {
    const watch = await submit(inotifyAddWatch(this.#descriptor, this.#root, WATCHED));
    this.#watches.set(watch, { path: '', told: null });
    // (Gone by now: then there is an event that says so.)
    this.isDirectory = await submit(statOf(this.#root)).then(
      (stats) => stats.isDirectory(),
      () => false,
    );
    if (this.#recursive) await this.#below('', null);
  }

  /** A directory has come. Watches it and all below; `seen` gets what is in there already. */
  async came(path: string, seen: (what: Seen) => void): Promise<void> {
    await this.#below(path, seen);
  }

  /** After events were lost: watches what is not watched. */
  async again(): Promise<void> {
    if (this.#recursive) await this.#below('', null);
  }

  /** A directory has another name. */
  moved(from: string, to: string): void {
    for (const watched of this.#watches.values()) {
      if (watched.path === from) watched.path = to;
      else if (watched.path.startsWith(`${from}/`)) watched.path = to + watched.path.slice(from.length);
    }
  }

  /** A directory has gone elsewhere with all that is in it. */
  async left(path: string): Promise<void> {
    const gone: number[] = [];
    for (const [watch, watched] of this.#watches) {
      if (watched.path === path || watched.path.startsWith(`${path}/`)) gone.push(watch);
    }
    for (const watch of gone) this.#watches.delete(watch);
    // It may be gone for good: the watch with it.
    await Promise.all(gone.map((watch) => submit(inotifyRmWatch(this.#descriptor, watch)).catch(() => {})));
  }

  /** The kernel has given a watch up. */
  ended(watch: number): void {
    this.#watches.delete(watch);
  }

  /** Whether a name that is told of now has been told of before. */
  wasTold(watched: Watched, name: string, comes: boolean): boolean {
    if (watched.told === null) return false;
    return watched.told.delete(name) && comes;
  }

  /** All that was told of twice has been read. */
  drained(): void {
    if (!this.#anythingTold) return;
    this.#anythingTold = false;
    for (const watched of this.#watches.values()) watched.told = null;
  }

  async #below(path: string, seen: ((what: Seen) => void) | null): Promise<void> {
    let wave = [path];
    while (wave.length > 0) {
      const next: string[] = [];
      for (let i = 0; i < wave.length; i += AT_A_TIME) {
        const found = await Promise.all(wave.slice(i, i + AT_A_TIME).map((each) => this.#one(each, seen)));
        for (const inner of found) next.push(...inner);
      }
      wave = next;
    }
  }

  /** Watches a directory and looks what is in it: in this order, so that nothing comes in between unnoticed. */
  async #one(path: string, seen: ((what: Seen) => void) | null): Promise<string[]> {
    const whole = path === '' ? this.#root : Buffer.concat([this.#root, Buffer.from(`/${path}`, 'latin1')]);
    try {
      if (path !== '') {
        const watch = await submit(inotifyAddWatch(this.#descriptor, whole, WATCHED_BELOW));
        const watched = this.#watches.get(watch) ?? { path, told: null };
        watched.path = path;
        if (seen !== null) watched.told ??= new Set();
        this.#watches.set(watch, watched);
        return await this.#look(whole, watched, seen);
      }
      return await this.#look(whole, { path, told: null }, null);
    } catch (error) {
      if (path === '' || !UNREACHABLE.has((error as SystemError).errno)) throw error;
      return [];
    }
  }

  async #look(whole: Buffer, watched: Watched, seen: ((what: Seen) => void) | null): Promise<string[]> {
    const inner: string[] = [];
    const { path } = watched;
    let fd: number;
    try {
      fd = await openToList(whole, undefined);
    } catch (error) {
      // What is watched may be a file.
      if ((error as SystemError).errno === ENOTDIR && path === '') return [];
      throw error;
    }
    const memory = borrowListing();
    try {
      do {
        await submit(listDirectory(fd, memory, 0));
        forEachEntry(memory, 'latin1', (name, type) => {
          const at = joinWatched(path, String(name));
          const directory = type === DT_DIR;
          if (directory) inner.push(at);
          if (seen === null) return;
          watched.told?.add(String(name));
          this.#anythingTold = true;
          seen({ path: at, directory });
        });
      } while (!isLast(memory));
    } finally {
      returnListing(memory);
      await close(fd);
    }
    return inner;
  }
}

const DT_DIR = 4;
