import { basename } from 'node:path';
import { inspect } from 'node:util';
import {
  IN_ATTRIB,
  IN_CREATE,
  IN_DELETE,
  IN_IGNORED,
  IN_ISDIR,
  IN_MODIFY,
  IN_MOVED_FROM,
  IN_MOVED_TO,
  IN_Q_OVERFLOW,
} from '@ouro/native/abi';
import {
  bound,
  cancellation,
  checkInteger,
  Deferred,
  type Descriptor,
  type Future,
  invalidType,
  type OpOptions,
  OrdinaryDescriptor,
  refusal,
  rejected,
  resolved,
  type SystemError,
  submit,
  systemError,
} from '@ouro/runtime/driver';
import { encoded, type NameEncoding, type NameOptions, nameOptions } from '../encoding.ts';
import { inotifyInit } from '../op/inotify.ts';
import { read } from '../op/read-write.ts';
import { keptPath, type PathLike } from '../path.ts';
import { type Notice, noticesOf } from './inotify.ts';
import { joinWatched, WatchTree } from './watch-tree.ts';

/** What has happened. */
export type WatchKind =
  | 'created'
  | 'deleted'
  | 'modified'
  | 'attributes'
  | 'moved-from'
  | 'moved-to'
  | 'self'
  | 'overflow';

/** Something that has happened: what Node's `fs.promises.watch` says of it, and more. */
export interface WatchEvent<P extends string | Buffer = string> {
  /** `'rename'`: a name has come or gone; `'change'`: contents or metadata are others. */
  readonly eventType: 'rename' | 'change';
  /** From the watched directory, or the name of the watched file. Null where names were lost. */
  readonly filename: P | null;
  /**
   * `'self'`: what is watched itself was moved or removed; `'overflow'`: events were lost, because the kernel's queue
   * (`fs.inotify.max_queued_events`) or ours was full: look for yourself.
   */
  readonly kind: WatchKind;
  /** Whether it is about a directory. */
  readonly directory: boolean;
}

/** What is watched, and how. */
export interface WatchOptions extends NameOptions, Pick<OpOptions, 'signal' | 'scope'> {
  /** All directories below as well, those too that come later. Links are not followed. @default false */
  readonly recursive?: boolean | undefined;
  /** Whether it keeps the process alive. @default true */
  readonly persistent?: boolean | undefined;
  /** Events that wait to be taken before more are lost. @default 2048 */
  readonly maxQueue?: number | undefined;
  /** What becomes of the loop when events were lost: an event says so, or an error ends it. @default 'ignore' */
  readonly overflow?: 'ignore' | 'throw' | undefined;
}

const READ_BYTES = 65_536;
/** The longest record: a read that leaves more room than that has brought all there was. */
const MOST_RECORD = 16 + 256;
const DEFAULT_QUEUE = 2048;

const CHANGES = IN_ATTRIB | IN_MODIFY;

type Result<P extends string | Buffer> = IteratorResult<WatchEvent<P>, undefined>;

function kindOf(mask: number): WatchKind {
  if ((mask & IN_CREATE) !== 0) return 'created';
  if ((mask & IN_DELETE) !== 0) return 'deleted';
  if ((mask & IN_MODIFY) !== 0) return 'modified';
  if ((mask & IN_ATTRIB) !== 0) return 'attributes';
  if ((mask & IN_MOVED_FROM) !== 0) return 'moved-from';
  if ((mask & IN_MOVED_TO) !== 0) return 'moved-to';
  return 'self';
}

/** Lets signal and scope end a watcher. */
class Lifetime extends Deferred<void> {
  readonly #stop: (reason: unknown) => void;

  constructor(stop: (reason: unknown) => void) {
    super();
    this.#stop = stop;
  }

  override cancel(reason?: unknown): void {
    this.#stop(reason);
  }
}

/**
 * What happens to a file, or in a directory: an iterator that never ends by itself, unless what is watched is gone. Leaving the loop,
 * `return` or the signal ends it, and with it all that it has open.
 */
export class Watcher<P extends string | Buffer = string>
  implements AsyncIterableIterator<WatchEvent<P>, undefined>, AsyncDisposable
{
  readonly #path: string | Buffer;
  readonly #options: WatchOptions;
  readonly #encoding: NameEncoding;
  readonly #most: number;
  readonly #queue: WatchEvent<P>[] = [];
  readonly #waiters: Deferred<Result<P>>[] = [];
  #tree: WatchTree | null = null;
  #descriptor: Descriptor | null = null;
  #ready: Deferred<void> | null = null;
  #lifetime: Lifetime | null = null;
  #running: Promise<void> | null = null;
  #lost = false;
  #stopping = false;
  #over = false;
  #error: unknown;
  #failed = false;

  /** @internal Use `watch`. */
  constructor(path: string | Buffer, options: WatchOptions, encoding: NameEncoding, most: number) {
    this.#path = path;
    this.#options = options;
    this.#encoding = encoding;
    this.#most = most;
  }

  /**
   * Begins to watch, which the first `next` does otherwise; settles when nothing is missed any more.
   *
   * @throws `ENOENT`, `EACCES`, `ENOSPC` (`fs.inotify.max_user_watches`), `EMFILE` (`fs.inotify.max_user_instances`), with
   *   `syscall: 'watch'`
   */
  ready(): Future<void> {
    if (this.#ready !== null) return this.#ready;
    const ready = new Deferred<void>();
    this.#ready = ready;
    ready.catch(() => {}); // `next` says it too
    const refused = refusal(this.#options);
    if (this.#stopping || refused !== undefined) {
      this.#fail(refused);
      this.#finish();
      if (refused === undefined) ready.resolve();
      else ready.reject(refused);
      return ready;
    }
    this.#lifetime = bound(new Lifetime((reason) => this.#stop(cancellation(reason))), {
      signal: this.#options.signal,
      scope: this.#options.scope,
    });
    this.#running = this.#run(ready);
    return ready;
  }

  next(): Future<Result<P>> {
    const event = this.#queue.shift();
    if (event !== undefined) return resolved({ done: false, value: event });
    if (this.#lost && !this.#over) {
      this.#lost = false;
      return resolved({ done: false, value: this.#overflow() });
    }
    if (this.#over) return this.#last();
    const waiter = new Deferred<Result<P>>();
    this.#waiters.push(waiter);
    void this.ready();
    return waiter;
  }

  async return(): Promise<Result<P>> {
    this.#queue.length = 0;
    this.#lost = false;
    this.#stop(undefined);
    await this.#running;
    return { done: true, value: undefined };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #last(): Future<Result<P>> {
    if (!this.#failed) return resolved({ done: true, value: undefined });
    this.#failed = false;
    return rejected(this.#error);
  }

  #fail(error: unknown): void {
    if (error === undefined || this.#stopping) return;
    this.#failed = true;
    this.#error = error;
  }

  #stop(error: unknown): void {
    this.#fail(error);
    this.#stopping = true;
    // The read in flight is given up by that.
    if (this.#descriptor !== null) this.#descriptor.close();
    else if (this.#running === null) this.#finish();
  }

  #finish(): void {
    this.#over = true;
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(this.#last());
    this.#lifetime?.resolve();
  }

  async #run(ready: Deferred<void>): Promise<void> {
    try {
      await this.#begin();
      if (this.#options.persistent === false) this.#descriptor?.setRef(false);
      ready.resolve();
      await this.#read();
    } catch (error) {
      this.#fail(error instanceof Error && 'errno' in error ? this.#watchError(error as SystemError) : error);
      if (this.#failed) ready.reject(this.#error);
    } finally {
      this.#stopping = true;
      await this.#descriptor?.close();
      ready.resolve();
      this.#finish();
    }
  }

  async #begin(): Promise<void> {
    const descriptor = new OrdinaryDescriptor(await submit(inotifyInit()));
    this.#descriptor = descriptor;
    if (this.#stopping) return;
    const { recursive } = this.#options;
    this.#tree = new WatchTree(descriptor, Buffer.from(this.#path), recursive === true);
    await this.#tree.begin();
  }

  /** As Node's errors are. */
  #watchError(error: SystemError): Error {
    const path = error.path ?? this.#path;
    return Object.assign(systemError(error.errno, 'watch', { path }), { filename: path });
  }

  async #read(): Promise<void> {
    const descriptor = this.#descriptor;
    const tree = this.#tree;
    if (descriptor === null || tree === null) return;
    const bytes = Buffer.allocUnsafeSlow(READ_BYTES);
    while (!this.#stopping) {
      const length = await submit(read(descriptor, bytes));
      const notices = noticesOf(bytes, length);
      for (const [i, notice] of notices.entries()) {
        if (this.#stopping) return;
        if ((notice.mask & IN_Q_OVERFLOW) !== 0) {
          await tree.again();
          this.#lose();
        } else if (await this.#heard(tree, notice, notices[i + 1])) return;
      }
      if (length <= READ_BYTES - MOST_RECORD) tree.drained();
    }
  }

  /** @returns whether nothing will come any more */
  async #heard(tree: WatchTree, notice: Notice, next: Notice | undefined): Promise<boolean> {
    const { watch, mask, name, cookie } = notice;
    const watched = tree.get(watch);
    if (watched === undefined) return false;
    const isRoot = watched.path === '';
    if ((mask & IN_IGNORED) !== 0) {
      tree.ended(watch);
      return isRoot;
    }
    const directory = (mask & IN_ISDIR) !== 0;
    if (name === '') {
      // What happens to a directory below is told by the one that it is in.
      if (!isRoot) return false;
      this.#tell(basename(Buffer.from(this.#path).toString('latin1')), mask, tree.isDirectory);
      return false;
    }
    const path = joinWatched(watched.path, name);
    const comes = (mask & (IN_CREATE | IN_MOVED_TO)) !== 0;
    // Then it is watched already, with all that is in it.
    if (tree.wasTold(watched, name, comes)) return false;
    this.#tell(path, mask, directory);
    if (!directory || this.#options.recursive !== true) return false;
    if ((mask & IN_MOVED_FROM) !== 0) await this.#wentFrom(tree, path, cookie, next);
    else if (comes && !this.#arrived.delete(cookie)) {
      await tree.came(path, (seen) => this.#tell(seen.path, IN_CREATE, seen.directory));
    }
    return false;
  }

  /** Cookies of moves within the tree, whose other end is the next to be told. */
  readonly #arrived: Set<number> = new Set();

  async #wentFrom(tree: WatchTree, from: string, cookie: number, next: Notice | undefined): Promise<void> {
    const to = next !== undefined && next.cookie === cookie ? tree.get(next.watch) : undefined;
    if (next === undefined || to === undefined) return tree.left(from);
    tree.moved(from, joinWatched(to.path, next.name));
    this.#arrived.add(cookie);
  }

  #tell(path: string, mask: number, directory: boolean): void {
    const eventType = (mask & CHANGES) !== 0 ? 'change' : 'rename';
    const filename = encoded(Buffer.from(path, 'latin1'), this.#encoding) as P;
    this.#put({ eventType, filename, kind: kindOf(mask), directory });
  }

  #put(event: WatchEvent<P>): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) waiter.resolve({ done: false, value: event });
    else if (this.#queue.length < this.#most) this.#queue.push(event);
    else this.#lose();
  }

  #lose(): void {
    if (this.#options.overflow === 'throw') {
      throw Object.assign(new Error('fs.watch() queued more events than it can hold'), {
        code: 'ERR_FS_WATCH_QUEUE_OVERFLOW',
      });
    }
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) waiter.resolve({ done: false, value: this.#overflow() });
    else this.#lost = true;
  }

  #overflow(): WatchEvent<P> {
    return { eventType: 'rename', filename: null, kind: 'overflow', directory: false };
  }
}

function checkBoolean(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'boolean') {
    throw invalidType(`options.${name}`, 'of type boolean', value);
  }
}

/**
 * Watches a file, or a directory and the names in it: what `fs.promises.watch` does, with the inotify descriptor read by the ring. Recursively it
 * watches every directory, and those that come later together with what is in them by then. Nothing is watched before the first `next`, or
 * `ready`.
 *
 * @example for await (const { kind, filename } of watch('src', { recursive: true, signal })) console.log(kind, filename);
 *
 * @param options as in Node; `encoding: 'buffer'` for names as bytes
 */
export function watch(
  path: PathLike,
  options: (WatchOptions & { readonly encoding: 'buffer' }) | 'buffer',
): Watcher<Buffer>;
export function watch(
  path: PathLike,
  options?: (WatchOptions & { readonly encoding?: BufferEncoding | null | undefined }) | BufferEncoding,
): Watcher;
export function watch(
  path: PathLike,
  options?: WatchOptions | NameEncoding,
): Watcher<string> | Watcher<Buffer> {
  const kept = keptPath(path);
  const { encoding, options: others } = nameOptions(options);
  const given: WatchOptions = others ?? {};
  checkBoolean('recursive', given.recursive);
  checkBoolean('persistent', given.persistent);
  const { maxQueue = DEFAULT_QUEUE, overflow } = given;
  checkInteger('options.maxQueue', maxQueue, 1, 0x7fff_ffff);
  if (overflow !== undefined && overflow !== 'ignore' && overflow !== 'throw') {
    throw Object.assign(
      new TypeError(
        `The property 'options.overflow' must be one of: 'ignore', 'throw'. Received ${inspect(overflow)}`,
      ),
      { code: 'ERR_INVALID_ARG_VALUE' },
    );
  }
  return new Watcher<never>(kept, given, encoding, maxQueue);
}
