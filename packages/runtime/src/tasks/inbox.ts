import { ECANCELED, IORING_CQE_F_MORE, IORING_FEAT_REG_REG_RING, IORING_OP_TIMEOUT } from '@ouro/native/abi';
import { type Cancellable, checkSignal, followersOf, type Members } from '../base/cancel.ts';
import { cancellation, systemError } from '../base/errors.ts';
import type { Completion } from '../engine/slots.ts';
import { reactor } from '../engine/thread.ts';
import { placeTimespec } from '../engine/timespec.ts';
import { Deferred, type Future, rejected, resolved } from '../future/future.ts';
import { checkScope, type Scope } from '../future/scope.ts';
import { refusal } from '../operation/op-options.ts';
import { Waiter } from '../operation/stream.ts';

/** Where an inbox is: three numbers, which can be sent to any thread of the process. */
export interface InboxAddress {
  /** Descriptor of the ring of the inbox's thread. */
  readonly ring: number;
  readonly slot: number;
  readonly generation: number;
}

/** What an `Inbox` takes. */
export interface InboxOptions {
  /** Closes it when it aborts: whoever waits gets an `AbortError`. */
  readonly signal?: AbortSignal | undefined;
  /** Closes it with all else in the scope. */
  readonly scope?: Scope | undefined;
  /** Whether it keeps the process alive as long as it is open. @default true */
  readonly ref?: boolean | undefined;
}

/** 68 years, the most that all kernels take: for ever. */
const FOR_EVER_MS = 0x7fff_ffff * 1000;

/**
 * Takes numbers that other threads send with `post` (Linux 6.3), ring to ring, without Node's message ports: the kernel puts
 * each into the completion queue of this thread's ring, and wakes it if it sleeps.
 *
 * An async iterable. Below it is an op, a timeout that never ends: it holds the place in the table of ops that the address
 * names, and keeps the thread waiting in its ring. Numbers that nobody takes pile up: it is the sender who must know when
 * to stop.
 *
 * ```ts
 * const inbox = new Inbox();
 * worker.postMessage(inbox.address); // there: await submit(post(address, 7))
 * for await (const value of inbox) console.log(value);
 * ```
 */
export class Inbox
  implements AsyncIterableIterator<number, undefined>, AsyncDisposable, Cancellable, Completion
{
  readonly name = 'inbox';
  readonly resultIsFd = false;
  refed: boolean;
  readonly address: InboxAddress;
  readonly #above: Members[] = [];
  readonly #values: number[] = [];
  readonly #waiters: Waiter<number>[] = [];
  readonly #closed = new Deferred<void>();
  #slot: number;
  #over = false;
  #error: Error | null = null;

  /**
   * @throws TypeError for bad options; an `AbortError` if the signal has aborted or the scope is cancelled;
   *   `ERR_OURO_UNSUPPORTED` before Linux 6.3
   */
  constructor({ signal, scope, ref = true }: InboxOptions = {}) {
    checkSignal(signal);
    checkScope('options.scope', scope);
    const refused = refusal({ signal, scope });
    if (refused !== undefined) throw refused;
    const r = reactor();
    if ((r.ring.features & IORING_FEAT_REG_REG_RING) === 0) {
      throw Object.assign(new Error('This kernel cannot do IORING_MSG_RING_FLAGS_PASS (Linux 6.3), inbox'), {
        code: 'ERR_OURO_UNSUPPORTED',
        syscall: 'msg_ring',
      });
    }
    this.refed = ref;
    const slot = r.take(this);
    r.push(slot, IORING_OP_TIMEOUT, -1, 0, placeTimespec(r, slot, FOR_EVER_MS), 1, 0, 0, 0);
    this.#slot = slot;
    this.address = { ring: r.ring.fd, slot, generation: r.slots.generations[slot] };
    if (signal !== undefined) this.#above.push(followersOf(signal));
    if (scope !== undefined) this.#above.push(scope);
    for (const each of this.#above) each.add(this);
  }

  complete(result: number, flags: number): void {
    if ((flags & IORING_CQE_F_MORE) !== 0) {
      if (this.#over) return;
      const waiter = this.#waiters.shift();
      if (waiter === undefined) this.#values.push(result);
      else waiter.resolve({ done: false, value: result });
      return;
    }
    // Its own op has ended: because of `close`, or somebody has cancelled whatever the ring had.
    this.#slot = -1;
    this.#end(systemError(ECANCELED, 'inbox'));
    this.#closed.resolve();
  }

  /** The next number. Several may wait; each gets another one. */
  next(): Future<IteratorResult<number, undefined>> {
    const value = this.#values.shift();
    if (value !== undefined) return resolved({ done: false, value });
    if (this.#error !== null) {
      const error = this.#error;
      this.#error = null;
      return rejected(error);
    }
    if (this.#over) return resolved({ done: true, value: undefined });
    const waiter = new Waiter<number>((each) => {
      const at = this.#waiters.indexOf(each);
      if (at >= 0) this.#waiters.splice(at, 1);
      return at >= 0;
    });
    this.#waiters.push(waiter);
    return waiter;
  }

  #end(error: Error | null): void {
    if (this.#over) return;
    this.#over = true;
    for (const each of this.#above.splice(0)) each.delete(this);
    if (this.#slot >= 0) reactor().cancel(this.#slot);
    const waiter = error === null ? undefined : this.#waiters.shift();
    if (waiter === undefined) this.#error = error;
    else waiter.reject(error);
    for (const each of this.#waiters.splice(0)) each.resolve({ done: true, value: undefined });
  }

  /** Closes it: whoever waits gets an `AbortError`. What has arrived can still be taken. */
  cancel(reason?: unknown): void {
    this.#end(cancellation(reason));
  }

  /** Closes it: loops over it end. Resolves when nothing can arrive any more. What has arrived can still be taken. */
  close(): Future<void> {
    this.#end(null);
    return this.#closed;
  }

  /** Lets it keep the process alive (the default). */
  ref(): this {
    return this.#setRef(true);
  }

  /** Lets the process end while it is open. */
  unref(): this {
    return this.#setRef(false);
  }

  #setRef(refed: boolean): this {
    this.refed = refed;
    if (this.#slot >= 0) reactor().setRef(this.#slot, refed);
    return this;
  }

  /** Leaves it: closes it and drops what nobody has taken. */
  async return(): Promise<IteratorResult<number, undefined>> {
    await this.close();
    this.#values.length = 0;
    this.#error = null;
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  [Symbol.asyncDispose](): Future<void> {
    return this.close();
  }
}
