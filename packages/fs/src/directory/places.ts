import { constants } from 'node:fs';
import { AT_FDCWD, RESOLVE_NO_SYMLINKS } from '@ouro/native/abi';
import { close, type Future, type SystemError, submit, type Target } from '@ouro/runtime/driver';
import { openat, openat2 } from '../op/open.ts';
import { joined } from './dirent.ts';

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants;

/** A directory of a tree: where it is, and what it is open as, if it is. */
export class Place {
  /** Null for the root of the tree. */
  readonly parent: Place | null;
  /** Its name in its parent; bytes where a string would not be true to it. */
  readonly name: string | Buffer;
  readonly depth: number;
  /** @internal -1 while it is not open. */
  fd = -1;
  /** @internal */
  users = 0;
  /** @internal */
  opening: Promise<number> | null = null;
  #path: string | Buffer | null;

  constructor(parent: Place | null, name: string | Buffer, path: string | Buffer | null = null) {
    this.parent = parent;
    this.name = name;
    this.depth = parent === null ? 0 : parent.depth + 1;
    this.#path = path;
  }

  /** Its path, as far as a string can say it; bytes if that of the root is. */
  get path(): string | Buffer {
    if (this.#path !== null) return this.#path;
    // Not by recursion: trees may be deep.
    const open: Place[] = [];
    let at: Place = this;
    while (at.#path === null && at.parent !== null) {
      open.push(at);
      at = at.parent;
    }
    let path = at.#path ?? '';
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const bytes = typeof path !== 'string';
      path = joined(path, bytes ? next.name : next.name.toString());
      next.#path = path;
    }
    return path;
  }
}

/** Directories that stay open though nobody uses them at the moment: for what is below them. */
const MOST_IDLE = 48;
/** Bytes of a path that is opened at once; the kernel takes 4095. */
const MOST_PATH = 4000;

/** How the directories of a tree are opened. */
export interface PlacesOptions {
  /** Where the root begins. */
  readonly dirfd?: Target | undefined;
  /** Whether directories may be links. */
  readonly follow: boolean;
  /** Whether the root may be a link. */
  readonly followRoot: boolean;
  /** What each op is handed to. */
  readonly step: <T>(future: Future<T>) => Future<T>;
}

/**
 * Keeps the directories of a tree open, few at a time: each is opened relative to one above it, so that nobody who renames something
 * on the way leads us elsewhere.
 */
export class Places {
  readonly #options: PlacesOptions;
  readonly #idle: Set<Place> = new Set();

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  /** Opens a directory, which is to be left again. */
  async enter(place: Place): Promise<number> {
    place.users++;
    this.#idle.delete(place);
    if (place.fd >= 0) return place.fd;
    place.opening ??= this.#open(place).finally(() => {
      place.opening = null;
    });
    try {
      return await place.opening;
    } catch (error) {
      place.users--;
      throw error;
    }
  }

  /** Has done with a directory for now, or for good. */
  async leave(place: Place, forGood: boolean): Promise<void> {
    if (--place.users > 0) return;
    if (forGood) return this.#close(place);
    this.#idle.add(place);
    if (this.#idle.size > MOST_IDLE) await this.#closeOne();
  }

  /** Closes what nobody uses. */
  async closeIdle(): Promise<void> {
    await Promise.all([...this.#idle].map((place) => this.#close(place)));
  }

  /** Closes one that nobody uses. */
  async forget(place: Place): Promise<void> {
    if (place.users === 0) await this.#close(place);
  }

  /**
   * Closes the one that is missed least: so those of a deep tree that stay open lie far from each other, and the way to what is between
   * them is never long.
   */
  async #closeOne(): Promise<void> {
    const idle = [...this.#idle].sort((a, b) => a.depth - b.depth);
    let least: Place | null = null;
    let gap = Number.POSITIVE_INFINITY;
    let before = -1;
    for (const [i, place] of idle.entries()) {
      const around = (idle[i + 1]?.depth ?? place.depth + 1) - before;
      if (around < gap) {
        gap = around;
        least = place;
      }
      before = place.depth;
    }
    if (least !== null) await this.#close(least);
  }

  async #close(place: Place): Promise<void> {
    this.#idle.delete(place);
    const { fd } = place;
    place.fd = -1;
    if (fd >= 0) await close(fd);
  }

  async #open(place: Place): Promise<number> {
    const names: (string | Buffer)[] = [];
    let from: Place = place;
    while (from.fd < 0 && from.parent !== null) {
      names.push(from.name);
      from = from.parent;
    }
    if (from === place) {
      place.fd = await this.#openRoot(place);
      return place.fd;
    }
    const above = await this.enter(from);
    try {
      place.fd = await this.#descend(above, names);
    } finally {
      await this.leave(from, false);
    }
    return place.fd;
  }

  #openRoot(place: Place): Promise<number> {
    const { dirfd, followRoot } = this.#options;
    const flags = O_RDONLY | O_DIRECTORY | (followRoot ? 0 : O_NOFOLLOW);
    return this.#opened(() => openat(place.name, flags, 0, { dirfd: dirfd ?? AT_FDCWD }));
  }

  /** Opens what is below `fd` by names, the last of which is the first to go through. */
  async #descend(fd: number, names: (string | Buffer)[]): Promise<number> {
    const { follow } = this.#options;
    let at = fd;
    while (names.length > 0) {
      const parts: (string | Buffer)[] = [];
      let bytes = 0;
      for (let name = names.at(-1); name !== undefined; name = names.at(-1)) {
        bytes += Buffer.byteLength(name) + 1;
        if (bytes > MOST_PATH && parts.length > 0) break;
        parts.push(name);
        names.pop();
      }
      const path = pathOf(parts);
      const dirfd = at;
      const flags = O_RDONLY | O_DIRECTORY | (follow ? 0 : O_NOFOLLOW);
      try {
        at = await this.#opened(() =>
          parts.length === 1 || follow
            ? openat(path, flags, 0, { dirfd })
            : openat2(path, { flags, resolve: RESOLVE_NO_SYMLINKS }, { dirfd }),
        );
      } finally {
        if (dirfd !== fd) await close(dirfd);
      }
    }
    return at;
  }

  /** Where the process has no descriptors left, those are given up that can be opened again. */
  async #opened(op: () => ReturnType<typeof openat>): Promise<number> {
    const { step } = this.#options;
    try {
      return await step(submit(op()));
    } catch (error) {
      const { code } = error as SystemError;
      if ((code !== 'EMFILE' && code !== 'ENFILE') || this.#idle.size === 0) throw error;
      await this.closeIdle();
      return await step(submit(op()));
    }
  }
}

function pathOf(names: readonly (string | Buffer)[]): string | Buffer {
  if (names.every((name) => typeof name === 'string')) return names.join('/');
  return Buffer.concat(names.flatMap((name, i) => [Buffer.from(i === 0 ? '' : '/'), Buffer.from(name)]));
}
