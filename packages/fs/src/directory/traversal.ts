import { ELOOP, ENOENT, ENOTDIR } from '@ouro/native/abi';
import {
  Deferred,
  type Future,
  rejected,
  resolved,
  type SystemError,
  submit,
  systemError,
  type Target,
} from '@ouro/runtime/driver';
import type { NameEncoding } from '../encoding.ts';
import {
  forEachEntry,
  isLast,
  LIST_FOLLOW,
  LIST_STATS,
  type ListingMemory,
  listDirectory,
} from '../op/listing.ts';
import { statOf } from '../op/statx.ts';
import type { Stats } from '../stats.ts';
import { Crew } from './crew.ts';
import { Place, Places } from './places.ts';
import { WalkEntry } from './walk-entry.ts';

/** An entry, whatever its names are. */
export type AnyEntry = WalkEntry<string | Buffer>;
type Result = IteratorResult<AnyEntry[], undefined>;

/** What a traversal is asked for, checked. */
export interface Plan {
  readonly root: string | Buffer;
  /** What the root is called in paths. */
  readonly shown: string | Buffer;
  /** Where the root begins. */
  readonly dirfd: Target | undefined;
  readonly stats: boolean;
  readonly depth: number;
  readonly filter: ((entry: AnyEntry) => boolean) | null;
  readonly enter: ((entry: AnyEntry) => boolean) | null;
  readonly follow: boolean;
  readonly concurrency: number;
  readonly sorted: boolean;
  readonly encoding: NameEncoding;
  readonly onError: ((error: Error, path: string | Buffer) => void) | null;
}

/** Entries that wait to be taken before no more are read. */
const MOST_READY = 8192;
/** Entries of a batch that small directories share. */
const FULL_BATCH = 512;
/** Memory of a listing: about 1,500 names of usual length with stats, 2,500 without. */
const STATS_BYTES = 262_144;
const NAMES_BYTES = 65_536;

/** A directory that is gone through: with its identity where links are followed, to find their loops. */
interface Branch {
  readonly place: Place;
  readonly above: Branch | null;
  readonly stats: Stats | null;
}

function isLoop(stats: Stats, above: Branch): boolean {
  for (let at: Branch | null = above; at !== null; at = at.above) {
    if (at.stats !== null && at.stats.ino === stats.ino && at.stats.dev === stats.dev) return true;
  }
  return false;
}

/** One directory of an ordered traversal. */
interface Frame {
  readonly branch: Branch;
  readonly found: readonly Found[];
  next: number;
}

/** An entry, and the directory that it is, if it is to be gone through. */
interface Found {
  readonly entry: AnyEntry;
  readonly branch: Branch | null;
}

const byName = ({ entry: a }: Found, { entry: b }: Found): number => {
  if (typeof a.name !== 'string' || typeof b.name !== 'string') {
    return Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));
  }
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
};

/** One way through a tree, in batches: begun when the first is asked for. */
export class Traversal {
  readonly #plan: Plan;
  readonly #crew: Crew<Branch>;
  readonly #places: Places;
  readonly #memories: ListingMemory[] = [];
  readonly #ready: AnyEntry[][] = [];
  #readyEntries = 0;
  readonly #waiters: Deferred<Result>[] = [];
  readonly #held: (() => void)[] = [];
  readonly #over: Deferred<void> = new Deferred();
  #begun = false;
  #closed = false;
  #told = false;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#crew = new Crew(
      plan.sorted ? 1 : plan.concurrency,
      (branch) => (plan.sorted ? this.#goInOrder(branch) : this.#go(branch)),
      () => this.#end(),
    );
    this.#places = new Places({
      dirfd: plan.dirfd,
      follow: plan.follow,
      followRoot: true,
      step: (future) => this.#crew.step(future),
    });
  }

  /** Settles when nothing of it is in flight or open any more. */
  get over(): Future<void> {
    return this.#over;
  }

  next(): Future<Result> {
    const batch = this.#ready.shift();
    if (batch !== undefined) {
      this.#readyEntries -= batch.length;
      if (this.#readyEntries < MOST_READY) for (const resume of this.#held.splice(0)) resume();
      return resolved({ done: false, value: batch });
    }
    if (this.#closed) return this.#last();
    const waiter = new Deferred<Result>();
    this.#waiters.push(waiter);
    this.#begin();
    return waiter;
  }

  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    const { root, shown } = this.#plan;
    this.#crew.push({ place: new Place(null, root, shown), above: null, stats: null });
  }

  /** What is said when all batches have been taken: the error first, if there is one. */
  #last(): Future<Result> {
    if (this.#crew.failed && !this.#told) {
      this.#told = true;
      return rejected(this.#crew.error);
    }
    return resolved({ done: true, value: undefined });
  }

  /** Ends it early. What has been read and not taken is dropped. */
  stop(error?: unknown): Future<void> {
    this.#ready.length = 0;
    this.#readyEntries = 0;
    if (error === undefined) this.#crew.stop();
    else this.#crew.fail(error);
    for (const resume of this.#held.splice(0)) resume();
    if (!this.#begun) {
      this.#begun = true;
      this.#end();
    }
    return this.#over;
  }

  #end(): void {
    this.#places.closeIdle().finally(() => {
      this.#closed = true;
      for (const waiter of this.#waiters.splice(0)) waiter.resolve(this.#last());
      this.#over.resolve();
    });
  }

  #deliver(batch: AnyEntry[]): void {
    if (batch.length === 0 || this.#crew.stopped) return;
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) waiter.resolve({ done: false, value: batch });
    else {
      const last = this.#ready.at(-1);
      if (last !== undefined && last.length + batch.length <= FULL_BATCH) last.push(...batch);
      else this.#ready.push(batch);
      this.#readyEntries += batch.length;
    }
  }

  /** Waits while more lies ready than anybody takes. */
  async #room(): Promise<void> {
    while (this.#readyEntries >= MOST_READY && !this.#crew.stopped) {
      await new Promise<void>((resume) => this.#held.push(resume));
    }
  }

  async #go(branch: Branch): Promise<void> {
    let inner = false;
    await this.#read(branch, (found) => {
      const batch: AnyEntry[] = [];
      for (const { entry, branch: below } of found) {
        if (this.#wants(entry)) batch.push(entry);
        if (below !== null) {
          inner = true;
          this.#crew.push(below);
        }
      }
      this.#deliver(batch);
      return inner;
    });
  }

  async #goInOrder(root: Branch): Promise<void> {
    const frames: Frame[] = [];
    const descend = async (branch: Branch): Promise<void> => {
      const all: Found[] = [];
      let inner = false;
      await this.#read(branch, (found) => {
        for (const each of found) {
          all.push(each);
          if (each.branch !== null) inner = true;
        }
        return inner;
      });
      frames.push({ branch, found: all.sort(byName), next: 0 });
    };
    await descend(root);
    let batch: AnyEntry[] = [];
    for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
      const found = frame.found[frame.next++];
      if (found === undefined) {
        frames.pop();
        continue;
      }
      if (this.#wants(found.entry)) batch.push(found.entry);
      if (batch.length >= FULL_BATCH || (found.branch !== null && this.#waiters.length > 0)) {
        this.#deliver(batch);
        batch = [];
        await this.#room();
        this.#crew.check();
      }
      if (found.branch !== null) await descend(found.branch);
    }
    this.#deliver(batch);
  }

  /** Reads a directory, and hands on what is in it; `take` says whether the directory will be needed for others below it. */
  async #read(branch: Branch, take: (found: Found[]) => boolean): Promise<void> {
    const { place } = branch;
    try {
      await this.#list(branch, take);
    } catch (error) {
      const { errno, syscall } = error as SystemError;
      if (this.#crew.stopped || typeof errno !== 'number') throw error;
      // It was there when its name was read; or something else has been put there.
      if (place.parent !== null && (errno === ENOENT || errno === ENOTDIR)) return;
      const shown = syscall === 'open' ? systemError(errno, 'scandir', { path: place.path }) : error;
      this.#failed(shown as Error, place.path);
    }
  }

  #failed(error: Error, path: string | Buffer): void {
    const { onError } = this.#plan;
    if (onError === null) throw error;
    try {
      onError(error, path);
    } catch (thrown) {
      this.#callbackFailed(thrown);
    }
  }

  /** What a callback of the caller's throws ends it, and is no failure of the directory that is being read, whatever it looks like. */
  #callbackFailed(error: unknown): never {
    this.#crew.fail(error);
    throw error;
  }

  #wants(entry: AnyEntry): boolean {
    const { filter } = this.#plan;
    try {
      return filter === null || filter(entry);
    } catch (error) {
      return this.#callbackFailed(error);
    }
  }

  #enters(entry: AnyEntry): boolean {
    const { enter } = this.#plan;
    try {
      return enter === null || enter(entry);
    } catch (error) {
      return this.#callbackFailed(error);
    }
  }

  async #list(branch: Branch, take: (found: Found[]) => boolean): Promise<void> {
    const { stats, follow } = this.#plan;
    const { place } = branch;
    const fd = await this.#places.enter(place);
    let needed = true;
    const memory =
      this.#memories.pop() ?? Buffer.allocUnsafeSlow(stats || follow ? STATS_BYTES : NAMES_BYTES);
    try {
      const here =
        follow && branch.stats === null
          ? { ...branch, stats: await this.#crew.step(submit(statOf(fd))) }
          : branch;
      const flags = (stats || follow ? LIST_STATS : 0) | (follow ? LIST_FOLLOW : 0);
      for (;;) {
        this.#crew.check();
        await this.#crew.step(submit(listDirectory(fd, memory, flags, place.path)));
        const last = isLast(memory);
        needed = take(this.#parse(here, memory));
        if (last) break;
        await this.#room();
      }
    } finally {
      this.#memories.push(memory);
      await this.#places.leave(place, !needed);
    }
  }

  #parse(branch: Branch, memory: ListingMemory): Found[] {
    const { stats: wanted, follow, encoding, depth } = this.#plan;
    const { place } = branch;
    const found: Found[] = [];
    const deeper = place.depth + 1 < depth;
    forEachEntry(memory, encoding, (name, type, stats, errno, at, length) => {
      if (errno !== 0) {
        const path = `${place.path}/${memory.toString('utf8', at, at + length)}`;
        this.#failed(systemError(errno, follow ? 'stat' : 'lstat', { path }), path);
      }
      const entry = new WalkEntry(name, type, place, wanted ? stats : null);
      let below: Branch | null = null;
      if (deeper && entry.isDirectory() && this.#enters(entry)) {
        if (follow && stats !== null && isLoop(stats, branch)) {
          this.#failed(systemError(ELOOP, 'scandir', { path: entry.path }), entry.path);
        } else {
          below = {
            place: new Place(place, trueName(name, encoding, memory, at, length)),
            above: follow ? branch : null,
            stats,
          };
        }
      }
      found.push({ entry, branch: below });
    });
    return found;
  }
}

/** The name itself, where what is shown of it would lead elsewhere. */
function trueName(
  name: string | Buffer,
  encoding: NameEncoding,
  memory: ListingMemory,
  at: number,
  length: number,
): string | Buffer {
  if (encoding === 'utf8' && !name.includes('\ufffd')) return name;
  return Buffer.from(memory.subarray(at, at + length));
}
