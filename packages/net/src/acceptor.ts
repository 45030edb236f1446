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
  IORING_OP_ACCEPT,
  SOCK_CLOEXEC,
} from '@ouro/native/abi';
import { sleep } from '@ouro/runtime';
import {
  awaitFast,
  type Completion,
  cancellation,
  Deferred,
  type Future,
  reactor,
} from '@ouro/runtime/driver';
import { socketError } from './errors.ts';

const HEAD = IORING_OP_ACCEPT | (IORING_ACCEPT_MULTISHOT << 16);

/** Connections accepted that nobody has taken before we stop accepting, and when we begin again. */
const HIGH_WATER = 128;
const LOW_WATER = 32;

/** How long to wait after the kernel had no descriptor or memory to give, in milliseconds. */
const PAUSE_MS = 50;

/** Errors of one connection that is gone already, or of nothing at all: accept goes on (accept(2)). */
const PASSING = new Set([EINTR, EAGAIN, EPROTO, ECONNABORTED]);
/** Errors that end when somebody gives something back. */
const SHORTAGE = new Set([EMFILE, ENFILE, ENOBUFS, ENOMEM]);

/** Somebody who waits for a connection; null is the end. */
class Waiter extends Deferred<number | null> {
  readonly #acceptor: Acceptor;

  constructor(acceptor: Acceptor) {
    super();
    this.#acceptor = acceptor;
  }

  override cancel(reason?: unknown): void {
    if (this.#acceptor.forget(this)) this.reject(cancellation(reason));
  }
}
awaitFast(Waiter);

/**
 * A multishot accept (5.19) and the connections that it has brought. Armed when somebody first waits for one, given
 * up while too many lie there untaken: the rest stays in the kernel's backlog.
 */
export class Acceptor implements Completion {
  readonly resultIsFd = true;
  refed = true;
  readonly #fd: number;
  readonly #accepted: number[] = [];
  readonly #waiters: Waiter[] = [];
  #slot = -1;
  #stopping = false;
  #pause: Future<void> | null = null;
  #closed: (() => void) | null = null;
  #error: Error | null = null;
  #over = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** The next connection's descriptor, null at the end. */
  next(): Future<number | null> {
    const waiter = new Waiter(this);
    const fd = this.#accepted.shift();
    if (fd !== undefined) waiter.resolve(fd);
    else if (this.#error !== null) {
      waiter.reject(this.#error);
      this.#error = null;
      this.#over = true;
    } else if (this.#over) waiter.resolve(null);
    else this.#waiters.push(waiter);
    if (this.#accepted.length <= LOW_WATER) this.#arm();
    return waiter;
  }

  /** @internal */
  forget(waiter: Waiter): boolean {
    const at = this.#waiters.indexOf(waiter);
    if (at >= 0) this.#waiters.splice(at, 1);
    return at >= 0;
  }

  #arm(): void {
    if (this.#slot >= 0 || this.#over || this.#error !== null || this.#pause !== null) return;
    const r = reactor();
    const slot = r.take(this);
    r.push(slot, HEAD, this.#fd, 0, 0, 0, SOCK_CLOEXEC, 0, 0);
    this.#slot = slot;
    this.#stopping = false;
  }

  complete(result: number, flags: number): void {
    const slot = this.#slot;
    const more = (flags & IORING_CQE_F_MORE) !== 0;
    if (!more) this.#slot = -1;
    if (result >= 0) this.#deliver(result);
    else if (SHORTAGE.has(result)) this.#rest();
    else if (!PASSING.has(result) && !(result === ECANCELED && this.#stopping))
      this.#end(socketError(result, 'accept'));
    if (this.#closed !== null) {
      if (!more) this.#finish(this.#closed);
    } else if (more) {
      if (this.#accepted.length >= HIGH_WATER) this.#cancel(slot);
    } else if (this.#waiters.length > 0 || !this.#stopping) {
      this.#arm();
    }
  }

  #deliver(fd: number): void {
    if (this.#closed !== null) {
      reactor().discard(fd);
      return;
    }
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#accepted.push(fd);
    else waiter.resolve(fd);
  }

  #rest(): void {
    if (this.#pause !== null || this.#closed !== null) return;
    this.#pause = sleep(PAUSE_MS, { ref: this.refed });
    const resume = (): void => {
      this.#pause = null;
      this.#arm();
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
  }

  #cancel(slot: number): void {
    if (this.#stopping) return;
    this.#stopping = true;
    const r = reactor();
    r.cancel(slot, r.slots.generations[slot]);
  }

  /** Accepts no more for now; connections that have been taken from the kernel wait for the next who asks. */
  pause(): void {
    if (this.#slot >= 0 && this.#waiters.length === 0) this.#cancel(this.#slot);
  }

  /** Ends the accepting; connections nobody has taken are closed. `then` is called when the kernel has let go. */
  close(then: () => void): void {
    this.#over = true;
    this.#error = null;
    this.#pause?.cancel();
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(null);
    for (const fd of this.#accepted.splice(0)) reactor().discard(fd);
    this.#closed = then;
    if (this.#slot < 0) this.#finish(then);
    else this.#cancel(this.#slot);
  }

  #finish(then: () => void): void {
    this.#closed = null;
    then();
  }

  setRef(refed: boolean): void {
    this.refed = refed;
    if (this.#slot >= 0) reactor().setRef(this.#slot, refed);
  }
}
