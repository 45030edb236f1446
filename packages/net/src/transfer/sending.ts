import { ECANCELED, IORING_SETUP_SQPOLL } from '@ouro/native/abi';
import {
  type Attached,
  awaitFast,
  begin,
  bound,
  Deferred,
  type Descriptor,
  type Future,
  NO_TIMEOUT,
  type Op,
  Operation,
  type OpOptions,
  reactor,
  refusal,
  Transfer,
} from '@ouro/runtime/driver';
import { givenUp, socketError } from '../errors.ts';
import type { Queued, SendQueue } from '../socket/send-queue.ts';

/** Where something is sent: a socket, and the queue of its sends. */
export interface Way {
  readonly descriptor: Descriptor;
  readonly sends: SendQueue;
}

/**
 * Something that is sent by more than one op, in its turn among the other sends of a socket. It is cancelled as one, and what it
 * rejects with says how many bytes the socket had taken (`bytesTransferred`).
 */
export abstract class Sending extends Deferred<number> implements Queued, Attached {
  #moved = 0;
  protected readonly socket: Descriptor;
  readonly #sends: SendQueue;
  /** Other handles that it uses. */
  readonly #also: readonly Descriptor[];
  /** The op in flight, or the last one: to cancel that does nothing. */
  #current: Operation<unknown> | null = null;
  #state: 'new' | 'waiting' | 'running' | 'sent' | 'settled' = 'new';
  #cancelled = false;
  #reason: unknown;
  /** One of the handles is being closed. */
  #closed = false;

  protected constructor({ descriptor, sends }: Way, also: readonly Descriptor[] = []) {
    super();
    this.socket = descriptor;
    this.#sends = sends;
    this.#also = also;
  }

  /** Bytes to send, if that is known before. */
  get length(): number {
    return 0;
  }

  /** Bytes that the socket has taken. */
  protected get moved(): number {
    return this.#moved;
  }

  /** Notes that the socket has taken bytes. */
  protected took(count: number): void {
    this.#moved += count;
    this.#sends.written += count;
  }

  /** Sends all of it. Begun when it is its turn. */
  protected abstract work(): Promise<void>;

  /** What is to be waited for when the next send has its turn already. */
  protected afterwards(): Promise<unknown> | null {
    return null;
  }

  /** Called when nothing more will be done, whatever came of it. */
  protected end(): void {
    // Nothing to give back.
  }

  /** Joins the queue of the socket's sends. */
  join(options: OpOptions | undefined): this {
    const refused = refusal(options);
    if (refused !== undefined) {
      this.reject(refused);
      return this;
    }
    this.#state = 'waiting';
    this.socket.attach(this);
    for (const each of this.#also) each.attach(this);
    bound(this, options, this.socket.refed);
    this.#sends.add(this, NO_TIMEOUT);
    return this;
  }

  /** @internal It is its turn. */
  go(): void {
    this.#state = 'running';
    this.#run();
  }

  async #run(): Promise<void> {
    let failure: { readonly error: unknown } | null = null;
    try {
      await this.work();
    } catch (error) {
      failure = { error };
    }
    this.#state = 'sent';
    this.#detach();
    this.#sends.next(this.length);
    try {
      const rest = this.afterwards();
      if (rest !== null) await rest;
    } catch (error) {
      failure ??= { error };
    }
    this.end();
    this.#state = 'settled';
    if (failure === null) this.resolve(this.moved);
    else this.reject(this.#failure(failure.error));
  }

  #detach(): void {
    this.socket.detach(this);
    for (const each of this.#also) each.detach(this);
  }

  #failure(error: unknown): unknown {
    if (this.#closed) return this.#withBytes(socketError(ECANCELED, 'write'));
    if (this.#cancelled) return givenUp(this.#reason, 'write', this.moved);
    return error instanceof Error ? this.#withBytes(error) : error;
  }

  #withBytes(error: Error): Error {
    return this.moved === 0 ? error : Object.assign(error, { bytesTransferred: this.moved });
  }

  /** Throws if it is to be given up. */
  protected check(): void {
    if (this.#closed || this.#cancelled) throw givenUp(this.#reason, 'write');
  }

  /** Runs one op of it. */
  protected step<T>(op: Op<T>): Future<T> {
    return this.perform(new Operation(op));
  }

  /** Runs one operation of it. (No async function: each costs a promise and a turn of the microtasks more.) */
  protected perform<T>(operation: Operation<T>): Future<T> {
    this.check();
    operation.refed = this.socket.refed;
    this.#current = operation;
    return begin(operation);
  }

  /** Sends all that `op` says, in as many ops as it takes. */
  protected async send(op: Op<number>): Promise<number> {
    try {
      const count = await this.perform(new Transfer(op, 'all', 'socket'));
      this.took(count);
      return count;
    } catch (error) {
      this.took((error as { readonly bytesTransferred?: number }).bytesTransferred ?? 0);
      throw error;
    }
  }

  override cancel(reason?: unknown): void {
    if (this.#cancelled || this.#closed) return;
    if (this.#state === 'waiting' && this.#sends.remove(this)) {
      this.abandon(givenUp(reason, 'write'));
    } else if (this.#state === 'running') {
      this.#cancelled = true;
      this.#reason = reason;
      this.#current?.cancel(reason);
    }
  }

  /** @internal Fails it before it has begun. */
  abandon(error: unknown): void {
    this.#state = 'settled';
    this.#detach();
    this.end();
    this.reject(error);
  }

  /** @internal */
  drop(): void {
    this.abandon(socketError(ECANCELED, 'write'));
  }

  /** @internal One of the handles is being closed. */
  close(): void {
    if (this.#state === 'waiting' && this.#sends.remove(this)) this.drop();
    else if (this.#state === 'running' && !this.#closed) {
      this.#closed = true;
      this.#current?.cancel();
    }
  }

  /** @internal */
  setRef(refed: boolean): void {
    this.#current?.setRef(refed);
  }
}
awaitFast(Sending);

/** Whether the socket can be worked with by calls of this thread: nobody else is at it then who would find it non-blocking. */
export function isOurs(descriptor: Descriptor): boolean {
  return !descriptor.direct && (reactor().ring.setupFlags & IORING_SETUP_SQPOLL) === 0;
}
