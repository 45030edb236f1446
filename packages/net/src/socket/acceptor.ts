import {
  EAGAIN,
  ECANCELED,
  ECONNABORTED,
  EINTR,
  EMFILE,
  ENFILE,
  ENOBUFS,
  ENOMEM,
  EPROTO,
  IORING_ACCEPT_MULTISHOT,
  IORING_CQE_F_MORE,
  IORING_FILE_INDEX_ALLOC,
  IORING_OP_ACCEPT,
  SOCK_CLOEXEC,
} from '@ouro/native/abi';
import { sleep } from '@ouro/runtime';
import {
  awaitFast,
  type Completion,
  Deferred,
  type Descriptor,
  type DirectDescriptor,
  type FileRegistry,
  type Future,
  reactor,
} from '@ouro/runtime/driver';
import { givenUp, socketError } from '../errors.ts';
import { Vigil } from './vigil.ts';

const ONE = IORING_OP_ACCEPT;
const MANY = IORING_OP_ACCEPT | (IORING_ACCEPT_MULTISHOT << 16);

/** Connections accepted that nobody has taken before we stop accepting, and when we begin again. */
const HIGH_WATER = 128;
const LOW_WATER = 32;

/** Accepts of one connection each that are in flight where there is no room for one of all that come. */
const MOST_SINGLE = 4;

/** How long to wait after the kernel had no descriptor or memory to give, in milliseconds. */
const PAUSE_MS = 50;

/** Errors of one connection that is gone already, or of nothing at all: accept goes on (accept(2)). */
const PASSING = new Set([EINTR, EAGAIN, EPROTO, ECONNABORTED]);
/** Errors that end when somebody gives something back. */
const SHORTAGE = new Set([EMFILE, ENFILE, ENOBUFS, ENOMEM]);

/** A connection that the kernel has handed over: a descriptor, or a place in the table of direct ones. */
export type Accepted = number | DirectDescriptor;

/** How much is accepted. */
export interface AcceptLimits {
  /** Connections open at a time. */
  readonly most: number;
  /** Connections that the kernel may still hand over when we say stop: those that its queue holds. */
  readonly burst: number;
  /** The table that connections are put into; null for ordinary descriptors. */
  readonly table: FileRegistry | null;
}

/** Without limits. */
export const UNLIMITED: AcceptLimits = { most: Number.POSITIVE_INFINITY, burst: 0, table: null };

/** Somebody who waits for a connection; null is the end. */
class Waiter extends Deferred<Accepted | null> {
  readonly #acceptor: Acceptor;

  constructor(acceptor: Acceptor) {
    super();
    this.#acceptor = acceptor;
  }

  override cancel(reason?: unknown): void {
    if (this.#acceptor.forget(this)) this.reject(givenUp(reason, 'accept'));
  }
}
awaitFast(Waiter);

/** One accept in flight: of one connection, or of all that come (5.19). */
class Shot implements Completion {
  readonly resultIsFd: boolean;
  readonly many: boolean;
  slot = -1;
  stopping = false;
  readonly #acceptor: Acceptor;

  constructor(acceptor: Acceptor, many: boolean, direct: boolean) {
    this.#acceptor = acceptor;
    this.many = many;
    this.resultIsFd = !direct;
  }

  get refed(): boolean {
    return this.#acceptor.refed;
  }

  complete(result: number, flags: number): void {
    this.#acceptor.completed(this, result, flags);
  }

  cancel(): void {
    if (this.stopping) return;
    this.stopping = true;
    reactor().cancel(this.slot);
  }
}

/**
 * The accepts of a listener and the connections that they have brought. Armed when somebody first waits for one, given up
 * while too many lie there untaken: the rest stays in the kernel's backlog.
 *
 * As long as there is room for whatever the backlog holds, one multishot accept takes all. Where the limit, or the end of
 * the table of direct descriptors, is nearer than that, accepts of one connection each are in flight, never more than there
 * is room for: what a multishot accept has taken too much would lie here, or, with no place in the table, be lost.
 */
export class Acceptor {
  refed = true;
  readonly #descriptor: Descriptor;
  readonly #limits: AcceptLimits;
  readonly #accepted: Accepted[];
  readonly #waiters: Waiter[] = [];
  readonly #shots: Set<Shot> = new Set();
  #many = false;
  /** Connections accepted that have not been closed. */
  #held = 0;
  /** Whether accepts are to be in flight. */
  #wanted = false;
  #waitsForPlaces = false;
  /** Made when the listener is full for the first time. */
  #vigil: Vigil | null = null;
  #pause: Future<void> | null = null;
  #closed: (() => void) | null = null;
  #error: Error | null = null;
  #over = false;

  /** @param accepted where connections are kept that nobody has taken: empty */
  constructor(descriptor: Descriptor, limits: AcceptLimits, accepted: Accepted[]) {
    // (Accepts in flight refer to the descriptor by this: it is not lost meanwhile.)
    this.#descriptor = descriptor;
    this.#limits = limits;
    this.#accepted = accepted;
  }

  /** Connections handed out that have not been closed. */
  get open(): number {
    return this.#held - this.#accepted.length;
  }

  /** The next connection, null at the end. */
  next(): Future<Accepted | null> {
    const waiter = new Waiter(this);
    const taken = this.#accepted.shift();
    if (taken !== undefined) waiter.resolve(taken);
    else if (this.#error !== null) {
      waiter.reject(this.#error);
      this.#error = null;
      this.#over = true;
    } else if (this.#over) waiter.resolve(null);
    else this.#waiters.push(waiter);
    if (this.#accepted.length <= LOW_WATER) {
      this.#wanted = true;
      this.#arm();
    }
    return waiter;
  }

  /** @internal */
  forget(waiter: Waiter): boolean {
    const at = this.#waiters.indexOf(waiter);
    if (at >= 0) this.#waiters.splice(at, 1);
    return at >= 0;
  }

  /** A connection that was handed out has been closed. */
  released(): void {
    this.#held--;
    if (this.#wanted) this.#arm();
  }

  /** Connections that may be accepted beside those that single accepts are in flight for. */
  #room(): number {
    const single = this.#shots.size - (this.#many ? 1 : 0);
    return this.#limits.most - this.#held - single;
  }

  /** Places in the table that nobody has or has set aside. */
  #places(): number {
    return this.#limits.table?.room ?? Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    if (this.#over || this.#error !== null || this.#pause !== null || this.#many) return;
    const { burst, table } = this.#limits;
    if (this.#room() > burst && this.#places() > burst) {
      this.#shoot(true);
      return;
    }
    while (this.#shots.size < MOST_SINGLE && this.#room() > 0 && this.#places() > 0) this.#shoot(false);
    if (this.#shots.size > 0) return;
    this.#vigil ??= new Vigil(this);
    this.#vigil.begin();
    if (table === null || this.#waitsForPlaces) return;
    // (What else keeps us from accepting are connections of our own: see released.)
    this.#waitsForPlaces = true;
    table.whenRoom(() => {
      this.#waitsForPlaces = false;
      if (this.#wanted) this.#arm();
    });
  }

  #shoot(many: boolean): void {
    const { table } = this.#limits;
    const direct = table !== null;
    const shot = new Shot(this, many, direct);
    const r = reactor();
    shot.slot = r.take(shot);
    const file = direct ? IORING_FILE_INDEX_ALLOC : 0;
    r.push(shot.slot, many ? MANY : ONE, this.#descriptor.fd, 0, 0, 0, direct ? 0 : SOCK_CLOEXEC, 0, file);
    this.#shots.add(shot);
    this.#vigil?.end();
    if (many) this.#many = true;
    table?.reserve(this.#reservation(shot));
  }

  /** Places set aside for a shot: for all that may come before it has heard that it is to stop. */
  #reservation({ many }: Shot): number {
    return many ? this.#limits.burst : 1;
  }

  /** @internal */
  completed(shot: Shot, result: number, flags: number): void {
    const over = (flags & IORING_CQE_F_MORE) === 0;
    if (over) {
      this.#shots.delete(shot);
      if (shot.many) this.#many = false;
    }
    const { table, burst } = this.#limits;
    if (result >= 0) this.#deliver(table === null ? result : table.adopt(result));
    else if (SHORTAGE.has(result)) this.#rest();
    else if (!PASSING.has(result) && !(result === ECANCELED && shot.stopping))
      this.#end(socketError(result, 'accept'));
    if (over) table?.unreserve(this.#reservation(shot));
    if (this.#closed !== null) {
      if (this.#shots.size === 0) this.#finish(this.#closed);
      return;
    }
    if (this.#accepted.length >= HIGH_WATER) {
      this.#wanted = false;
      this.#cancel();
    } else if (!over && (this.#room() <= burst || this.#places() <= 0)) shot.cancel();
    if (this.#waiters.length > 0) this.#wanted = true;
    if (over && this.#wanted) this.#arm();
  }

  #deliver(accepted: Accepted): void {
    if (this.#closed !== null) {
      drop(accepted);
      return;
    }
    this.#held++;
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#accepted.push(accepted);
    else waiter.resolve(accepted);
  }

  #rest(): void {
    if (this.#pause !== null || this.#closed !== null) return;
    this.#pause = sleep(PAUSE_MS, { ref: this.refed });
    const resume = (): void => {
      this.#pause = null;
      if (this.#wanted) this.#arm();
    };
    this.#pause.then(resume, resume);
  }

  #end(error: Error): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#error = error;
    else {
      waiter.reject(error);
      this.#over = true;
    }
    if (this.#over) for (const each of this.#waiters.splice(0)) each.resolve(null);
    this.#cancel();
  }

  #cancel(): void {
    this.#vigil?.end();
    for (const shot of this.#shots) shot.cancel();
  }

  /** Accepts no more for now; connections that have been taken from the kernel wait for the next who asks. */
  pause(): void {
    if (this.#waiters.length > 0) return;
    this.#wanted = false;
    this.#cancel();
  }

  /** Ends the accepting; connections nobody has taken are closed. `then` is called when the kernel has let go. */
  close(then: () => void): void {
    this.#over = true;
    this.#error = null;
    this.#wanted = false;
    this.#pause?.cancel();
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(null);
    for (const accepted of this.#accepted.splice(0)) {
      this.#held--;
      drop(accepted);
    }
    this.#closed = then;
    this.#cancel();
    if (this.#shots.size === 0) this.#finish(then);
  }

  #finish(then: () => void): void {
    this.#closed = null;
    then();
  }

  setRef(refed: boolean): void {
    this.refed = refed;
    this.#vigil?.setRef(refed);
    for (const shot of this.#shots) reactor().setRef(shot.slot, refed);
  }
}

/** Closes a connection that nobody takes. */
export function drop(accepted: Accepted): void {
  if (typeof accepted === 'number') reactor().discard(accepted);
  else accepted.close().catch(() => {});
}
