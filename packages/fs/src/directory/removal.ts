import { AT_REMOVEDIR, EACCES, EEXIST, ELOOP, ENOENT, ENOTDIR, ENOTEMPTY } from '@ouro/native/abi';
import {
  cancellation,
  Future,
  type SystemError,
  submit,
  systemError,
  type Target,
} from '@ouro/runtime/driver';
import { forEachEntry, isLast, type ListingMemory, sweepDirectory } from '../op/listing.ts';
import { unlinkat } from '../op/names.ts';
import { Crew } from './crew.ts';
import { Place, Places } from './places.ts';

/** Directories that are emptied at a time. */
const CONCURRENCY = 4;
/** Names of about a thousand directories. */
const MEMORY_BYTES = 32_768;
/** How often a directory is gone through again that should be empty and is not: names come, and some file systems skip some. */
const MOST_PASSES = 8;

/** A directory that is to go. */
class Doomed extends Place {
  readonly above: Doomed | null;
  /** What has to be done before it can go: a look at all of its names, and each directory among them. */
  pending = 1;
  passes = 0;

  constructor(above: Doomed | null, name: string | Buffer) {
    super(above, name, above === null ? name : null);
    this.above = above;
  }
}

/** The removal of a tree as a future: settles when nothing of it is in flight or open. */
export class Removal extends Future<void> {
  readonly #dirfd: Target | undefined;
  readonly #root: Doomed;
  readonly #crew: Crew<Doomed>;
  readonly #places: Places;
  readonly #memories: ListingMemory[] = [];

  constructor(dirfd: Target | undefined, path: string | Buffer) {
    super();
    this.#dirfd = dirfd;
    this.#root = new Doomed(null, withoutSlashes(path));
    this.#crew = new Crew(
      CONCURRENCY,
      (place) => this.#empty(place),
      () => this.#end(),
    );
    this.#places = new Places({
      dirfd,
      follow: false,
      followRoot: false,
      step: (future) => this.#crew.step(future),
    });
  }

  begin(): this {
    this.#crew.push(this.#root);
    return this;
  }

  override cancel(reason?: unknown): void {
    this.#crew.fail(cancellation(reason));
  }

  #end(): void {
    this.#places.closeIdle().finally(() => {
      if (this.#crew.failed) this.fail(this.#crew.error);
      else this.fulfil();
    });
  }

  /** Removes what is in a directory, or goes on with that, and the directory if nothing is left. */
  async #empty(place: Doomed): Promise<void> {
    let fd: number;
    try {
      fd = await this.#places.enter(place);
    } catch (error) {
      await this.#unopened(place, error as SystemError);
      return;
    }
    const memory = this.#memories.pop() ?? Buffer.allocUnsafeSlow(MEMORY_BYTES);
    const inner: Doomed[] = [];
    let last: boolean;
    try {
      do {
        this.#crew.check();
        await this.#crew.step(submit(sweepDirectory(fd, memory, () => place.path.toString())));
        last = isLast(memory);
        forEachEntry(memory, 'buffer', (name) => inner.push(new Doomed(place, plain(name as Buffer))));
      } while (!last && inner.length === 0);
    } finally {
      this.#memories.push(memory);
      await this.#places.leave(place, inner.length === 0);
    }
    place.pending += inner.length;
    // The rest lies below them on the stack: what has been found goes first, so little of it is ever known.
    if (last) place.pending--;
    else this.#crew.push(place);
    for (const each of inner) this.#crew.push(each);
    if (place.pending === 0) await this.#finish(place);
  }

  async #unopened(place: Doomed, error: SystemError): Promise<void> {
    const { errno } = error;
    if (errno === ENOENT && place.above !== null) return this.#gone(place);
    const path = place.path;
    if (errno === ENOTDIR || errno === ELOOP) {
      // Something else has been put there.
      await this.#remove(place, 0);
      return this.#gone(place);
    }
    if (errno !== EACCES) throw typeof errno === 'number' ? systemError(errno, 'scandir', { path }) : error;
    // What cannot be read may be empty.
    try {
      await this.#remove(place, AT_REMOVEDIR);
    } catch (refused) {
      throw isNotEmpty(refused) ? systemError(errno, 'scandir', { path }) : refused;
    }
    return this.#gone(place);
  }

  /** Removes a directory that should be empty. */
  async #finish(place: Doomed): Promise<void> {
    await this.#places.forget(place);
    try {
      await this.#remove(place, AT_REMOVEDIR);
    } catch (error) {
      if (!isNotEmpty(error) || ++place.passes >= MOST_PASSES) throw error;
      place.pending = 1;
      this.#crew.push(place);
      return;
    }
    return this.#gone(place);
  }

  /** One thing less in the way of the directory that it was in. */
  async #gone(place: Doomed): Promise<void> {
    const { above } = place;
    if (above !== null && --above.pending === 0) await this.#finish(above);
  }

  /** Removes a name; that it is gone already is as good. */
  async #remove(place: Doomed, flags: number): Promise<void> {
    this.#crew.check();
    const { above, name } = place;
    try {
      if (above === null) {
        await this.#crew.step(submit(unlinkat(name, { dirfd: this.#dirfd, flags })));
        return;
      }
      const dirfd = await this.#places.enter(above);
      try {
        await this.#crew.step(submit(unlinkat(name, { dirfd, flags })));
      } finally {
        await this.#places.leave(above, false);
      }
    } catch (error) {
      const { errno, syscall } = error as SystemError;
      if (errno === ENOENT) return;
      if (typeof errno !== 'number' || this.#crew.stopped) throw error;
      throw systemError(errno, syscall ?? 'rm', { path: place.path });
    }
  }
}

const isNotEmpty = (error: unknown): boolean => {
  const { errno } = error as SystemError;
  return errno === ENOTEMPTY || errno === EEXIST;
};

/** A string where that is true to the name. */
function plain(name: Buffer): string | Buffer {
  const text = name.toString();
  return text.includes('\ufffd') ? name : text;
}

const SLASH = 0x2f;

/** Slashes behind a name would have a link followed. */
function withoutSlashes(path: string | Buffer): string | Buffer {
  if (typeof path === 'string') return path.replace(/(?<=[^/])\/+$/, '');
  let end = path.length;
  while (end > 1 && path[end - 1] === SLASH) end--;
  return path.subarray(0, end);
}
