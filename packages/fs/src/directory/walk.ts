import { inspect } from 'node:util';
import {
  bound,
  cancellation,
  checkInteger,
  Deferred,
  type Future,
  invalidType,
  type OpOptions,
  refusal,
  rejected,
  resolved,
  type Target,
} from '@ouro/runtime/driver';
import { type NameEncoding, type NameOptions, nameOptions } from '../encoding.ts';
import { keptPath, type PathLike } from '../path.ts';
import { type AnyEntry, type Plan, Traversal } from './traversal.ts';
import type { WalkEntry } from './walk-entry.ts';

/** How a tree is gone through. */
export interface WalkOptions<P extends string | Buffer = string> extends OpOptions {
  /** What `stat` says of each entry as well, of links themselves. @default false */
  readonly stats?: boolean | undefined;
  /** Levels: 1 is what is in the root itself. @default all */
  readonly depth?: number | undefined;
  /** Which entries are given. It is called for each, and does not keep the walk from a directory. @default all */
  filter?(entry: WalkEntry<P>): boolean;
  /** Which directories are gone into. @default all */
  enter?(entry: WalkEntry<P>): boolean;
  /**
   * Takes links for what they lead to: goes into directories, gives their stats. One that leads to a directory above itself is an
   * error, `ELOOP`. @default false
   */
  readonly followSymlinks?: boolean | undefined;
  /** Directories that are read at a time. @default 4 */
  readonly concurrency?: number | undefined;
  /**
   * `'any'`: a directory comes before what is in it, and nothing else is promised. `'sorted'`: what is in a directory follows it, by
   * name; one directory is read at a time, and all of it held. @default 'any'
   */
  readonly order?: 'any' | 'sorted' | undefined;
  /**
   * What cannot be read or looked at, instead of an end of the walk. (Directories that vanish meanwhile are no error.)
   * @default the walk fails
   */
  onError?(error: Error, path: string | Buffer): void;
}

/** The walk through a tree: iterated, it begins anew each time. */
export class Walk<P extends string | Buffer = string> implements AsyncIterable<WalkEntry<P>> {
  readonly #plan: Plan;
  readonly #options: OpOptions;

  /** @internal */
  constructor(plan: Plan, options: OpOptions) {
    this.#plan = plan;
    this.#options = options;
  }

  /** The entries, a few hundred at a time. Leaving the loop early ends the walk. */
  batches(): AsyncIterableIterator<WalkEntry<P>[], undefined> {
    return new Batches(this.#plan, this.#options) as unknown as AsyncIterableIterator<
      WalkEntry<P>[],
      undefined
    >;
  }

  /** The entries one by one. */
  [Symbol.asyncIterator](): AsyncIterableIterator<WalkEntry<P>, undefined> {
    return new OneByOne(this.batches());
  }
}

/** Lets signal, scope and timeout end a traversal. */
class Lifetime extends Deferred<void> {
  readonly #traversal: Traversal;

  constructor(traversal: Traversal) {
    super();
    this.#traversal = traversal;
  }

  override cancel(reason?: unknown): void {
    this.#traversal.stop(cancellation(reason));
  }
}

class Batches implements AsyncIterableIterator<AnyEntry[], undefined> {
  readonly #plan: Plan;
  readonly #options: OpOptions;
  #traversal: Traversal | null = null;
  #refused = false;

  constructor(plan: Plan, options: OpOptions) {
    this.#plan = plan;
    this.#options = options;
  }

  next(): Future<IteratorResult<AnyEntry[], undefined>> {
    if (this.#traversal === null) {
      if (this.#refused) return resolved({ done: true, value: undefined });
      const refused = refusal(this.#options);
      if (refused !== undefined) {
        this.#refused = true;
        return rejected(refused);
      }
      const traversal = new Traversal(this.#plan);
      this.#traversal = traversal;
      const lifetime = bound(new Lifetime(traversal), this.#options);
      traversal.over.then(() => lifetime.resolve());
    }
    return this.#traversal.next();
  }

  async return(): Promise<IteratorResult<AnyEntry[], undefined>> {
    if (this.#traversal === null) this.#refused = true;
    else await this.#traversal.stop();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** What comes in batches, one by one. */
export class OneByOne<T> implements AsyncIterableIterator<T, undefined> {
  readonly #batches: AsyncIterator<T[], undefined>;
  #batch: readonly T[] = [];
  #at = 0;
  #turn: Promise<unknown> | null = null;

  constructor(batches: AsyncIterator<T[], undefined>) {
    this.#batches = batches;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#at < this.#batch.length && this.#turn === null) {
      return Promise.resolve({ done: false, value: this.#batch[this.#at++] });
    }
    // Several may ask at a time; each is served in its turn.
    const turn = (this.#turn ?? Promise.resolve()).then(() => this.#more());
    const settled = turn.then(nothing, nothing);
    this.#turn = settled;
    void settled.then(() => {
      if (this.#turn === settled) this.#turn = null;
    });
    return turn;
  }

  async #more(): Promise<IteratorResult<T, undefined>> {
    while (this.#at >= this.#batch.length) {
      const { done, value } = await this.#batches.next();
      if (done === true) return { done: true, value: undefined };
      this.#batch = value;
      this.#at = 0;
    }
    return { done: false, value: this.#batch[this.#at++] };
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.#batch = [];
    await this.#batches.return?.();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

function nothing(): void {}

const DEFAULT_CONCURRENCY = 4;
const MOST_CONCURRENCY = 256;

function checkFunction<F>(name: string, value: F | undefined): F | null {
  if (value === undefined) return null;
  if (typeof value !== 'function') throw invalidType(`options.${name}`, 'of type function', value);
  return value;
}

/** Checks what a walk is asked for. @internal */
export function planOf(
  root: PathLike,
  options: (WalkOptions<never> & NameOptions) | undefined,
  dirfd?: Target,
): { readonly plan: Plan; readonly options: OpOptions } {
  const kept = keptPath(root, 'root');
  const { encoding } = nameOptions(options);
  const given: WalkOptions<never> = options ?? {};
  const { depth = Number.POSITIVE_INFINITY, concurrency = DEFAULT_CONCURRENCY, order = 'any' } = given;
  if (depth !== Number.POSITIVE_INFINITY) checkInteger('options.depth', depth, 1, Number.MAX_SAFE_INTEGER);
  checkInteger('options.concurrency', concurrency, 1, MOST_CONCURRENCY);
  if (order !== 'any' && order !== 'sorted') {
    throw Object.assign(
      new TypeError(
        `The property 'options.order' must be one of: 'any', 'sorted'. Received ${inspect(order)}`,
      ),
      { code: 'ERR_INVALID_ARG_VALUE' },
    );
  }
  const plan: Plan = {
    root: kept,
    // Bytes all the way, where names are bytes.
    shown: encoding === 'buffer' ? Buffer.from(kept) : kept,
    dirfd,
    stats: given.stats === true,
    depth,
    filter: checkFunction('filter', given.filter) as Plan['filter'],
    enter: checkFunction('enter', given.enter) as Plan['enter'],
    follow: given.followSymlinks === true,
    concurrency,
    sorted: order === 'sorted',
    encoding,
    onError: checkFunction('onError', given.onError),
  };
  return { plan, options: given };
}

/**
 * Goes through a tree: all that is in `root` and below, each with its path, its type and, if wanted, what `stat` says. Directories are
 * opened relative to the one that they are in, so that what is renamed meanwhile leads nowhere else, and 64 are open at most however
 * deep the tree is. Each is listed (and looked at) by one op of ours in a thread of the pool: `fs.promises` takes six to ten times as
 * long for stats of all. Nothing happens before the first entry is asked for.
 *
 * @example for await (const { path, stats } of walk('/srv', { stats: true })) total += stats.size;
 *
 * @param options `encoding: 'buffer'` for names as bytes
 * @throws what `readdir` throws; see `onError`
 */
export function walk(
  root: PathLike,
  options: WalkOptions<Buffer> & { readonly encoding: 'buffer' },
): Walk<Buffer>;
export function walk(
  root: PathLike,
  options?: WalkOptions & { readonly encoding?: BufferEncoding | null | undefined },
): Walk;
export function walk(
  root: PathLike,
  options?: (WalkOptions<never> | WalkOptions) & { readonly encoding?: NameEncoding | null | undefined },
): Walk<string> | Walk<Buffer> {
  const { plan, options: given } = planOf(root, options as WalkOptions<never>);
  return new Walk<never>(plan, given);
}
