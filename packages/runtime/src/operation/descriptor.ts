import { type Future, startFlow } from '../future/future.ts';

const CLOSED = -1;

/** What uses a descriptor: ops, streams, members of chains and batches. */
export interface Attached {
  cancel(reason?: unknown): void;
  /** The descriptor is being closed: end, unless it is to be waited for. */
  close(): void;
  setRef(refed: boolean): void;
}

/** A single op in flight. */
export interface Listed extends Attached {
  next: Listed | null;
  previous: Listed | null;
}

/**
 * A descriptor with the ops that are in flight on it: what is below every handle. The ops form a list through
 * themselves, so that joining and leaving cost a few stores.
 */
export abstract class Descriptor implements AsyncDisposable {
  /** Whether it is a place in the ring's own table (`IOSQE_FIXED_FILE`) and not a number of the process. */
  readonly direct: boolean;
  #fd: number;
  #refed = true;
  #first: Listed | null = null;
  #attached: Set<Attached> | null = null;
  #drained: (() => void) | null = null;
  #closing: Future<void> | null = null;
  #onceClosed: (() => void) | null = null;

  /** Takes over an open descriptor. It is this object's to close. */
  protected constructor(fd: number, direct: boolean) {
    this.#fd = fd;
    this.direct = direct;
  }

  /** The number; -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  get closed(): boolean {
    return this.#fd === CLOSED;
  }

  /** Whether ops on it keep the process alive. */
  get refed(): boolean {
    return this.#refed;
  }

  /** Whether no op is in flight. */
  get idle(): boolean {
    return this.#first === null && (this.#attached === null || this.#attached.size === 0);
  }

  /** @internal */
  attach(member: Attached): void {
    this.#attached ??= new Set();
    this.#attached.add(member);
  }

  /** @internal */
  detach(member: Attached): void {
    this.#attached?.delete(member);
    this.#checkDrained();
  }

  /** @internal */
  add(op: Listed): void {
    op.next = this.#first;
    if (this.#first !== null) this.#first.previous = op;
    this.#first = op;
  }

  /** @internal */
  delete(op: Listed): void {
    if (op.previous === null) this.#first = op.next;
    else op.previous.next = op.next;
    if (op.next !== null) op.next.previous = op.previous;
    op.next = op.previous = null;
    this.#checkDrained();
  }

  #checkDrained(): void {
    if (this.#drained === null || !this.idle) return;
    const then = this.#drained;
    this.#drained = null;
    then();
  }

  /** Cancels all ops in flight on it. Each rejects with an `AbortError`, or resolves if it was quicker. */
  cancel(reason?: unknown): void {
    // An op that waits for its turn leaves the list at once.
    for (let op = this.#first, next = op; op !== null; op = next) {
      next = op.next;
      op.cancel(reason);
    }
    if (this.#attached !== null) for (const each of [...this.#attached]) each.cancel(reason);
  }

  /** Lets ops on it keep the process alive (the default), or not. */
  setRef(refed: boolean): void {
    this.#refed = refed;
    for (let op = this.#first; op !== null; op = op.next) op.setRef(refed);
    if (this.#attached !== null) for (const each of this.#attached) each.setRef(refed);
  }

  /**
   * Closes it: ops that only bring data are cancelled, what is to be written is finished first. Ops begun from here on
   * fail with `EBADF`. Closing twice is one closing.
   *
   * @param first what has to be done before, when others have to let go of it too
   */
  close(first?: (() => Promise<void>) | null): Future<void> {
    if (this.#closing !== null) return this.#closing;
    this.#closing = this.#close(first ?? null);
    const then = this.#onceClosed;
    this.#onceClosed = null;
    if (then !== null) this.#closing.then(then, then);
    return this.#closing;
  }

  /** @internal Calls `then` when it has been closed. To be asked before that is begun. */
  onceClosed(then: () => void): void {
    this.#onceClosed = both(this.#onceClosed, then);
  }

  #close(first: (() => Promise<void>) | null): Future<void> {
    const fd = this.#fd;
    this.#fd = CLOSED;
    if (first === null && this.idle) return this.release(fd);
    return startFlow(async () => {
      this.#cancelEnding();
      if (first !== null) await first();
      await new Promise<void>((drained) => this.whenIdle(drained));
      await this.release(fd);
    });
  }

  /** Lets the kernel close it. */
  protected abstract release(fd: number): Future<void>;

  /** @internal It has been closed by other means. */
  protected forget(): void {
    this.#fd = CLOSED;
  }

  #cancelEnding(): void {
    for (let op = this.#first, next = op; op !== null; op = next) {
      next = op.next;
      op.close();
    }
    if (this.#attached !== null) for (const each of [...this.#attached]) each.close();
  }

  /** Calls `then` when no op is in flight. */
  protected whenIdle(then: () => void): void {
    if (this.idle) then();
    else this.#drained = both(this.#drained, then);
  }

  [Symbol.asyncDispose](): Future<void> {
    return this.close();
  }
}

/** One call for two. (Few have more than one, and an array for it is 180 bytes of every idle connection.) */
function both(first: (() => void) | null, second: () => void): () => void {
  if (first === null) return second;
  return () => {
    first();
    second();
  };
}
