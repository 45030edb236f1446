import {
  awaitFast,
  bound,
  closedError,
  Deferred,
  type Expired,
  type Future,
  invalidType,
  limitsOf,
  type OpOptions,
  outOfRange,
  refusal,
  rejected,
} from '@ouro/runtime/driver';
import { givenUp } from '../errors.ts';
import { IdleWatch, type Watched } from '../socket/idle-watch.ts';
import { SocketStream } from '../socket/socket-stream.ts';
import { Relay } from './relay.ts';

/** How two streams are joined. */
export interface CopyBidirectionalOptions extends OpOptions {
  /**
   * Milliseconds without a byte in either direction after which it is given up with `ETIMEDOUT`, kept to a quarter more; 0 for never.
   * @default 0
   */
  readonly idleTimeout?: number | undefined;
}

/** Bytes that went each way. */
export interface Relayed {
  readonly aToB: number;
  readonly bToA: number;
}

/** Both directions, as one future. */
class Exchange extends Deferred<Relayed> implements Watched {
  readonly #a: SocketStream;
  readonly #b: SocketStream;
  readonly #forth: Relay;
  readonly #back: Relay;
  /** What is in flight: it is cancelled together. */
  readonly #parts: Set<Future<unknown>> = new Set();
  #failure: { readonly error: unknown } | null = null;
  /** Directions that have not ended. */
  #open = 2;
  #idle: IdleWatch | null = null;

  constructor(a: SocketStream, b: SocketStream) {
    super();
    this.#a = a;
    this.#b = b;
    this.#forth = new Relay(a, b.way);
    this.#back = new Relay(b, a.way);
  }

  start(options: OpOptions | undefined, idleTimeout: number): this {
    bound(this, options, this.#a.descriptor.refed || this.#b.descriptor.refed);
    this.#run(this.#forth, this.#b);
    this.#run(this.#back, this.#a);
    if (idleTimeout > 0) {
      this.#idle = new IdleWatch(this, idleTimeout);
      this.#idle.start();
    }
    return this;
  }

  async #run(relay: Relay, to: SocketStream): Promise<void> {
    try {
      await this.#part(relay.join(undefined));
      await this.#part(to.shutdown('write')).catch(ignoreGone);
    } catch (error) {
      this.#fail(error);
    }
    this.#open--;
    if (this.#open === 0) this.#finish();
  }

  async #part<T>(future: Future<T>): Promise<T> {
    this.#parts.add(future);
    if (this.#failure !== null) future.cancel();
    try {
      return await future;
    } finally {
      this.#parts.delete(future);
    }
  }

  #fail(error: unknown): void {
    if (this.#failure !== null) return;
    this.#failure = { error };
    for (const part of this.#parts) part.cancel();
  }

  #finish(): void {
    this.#idle?.stop();
    this.#a.giveBack();
    this.#b.giveBack();
    const counts: Relayed = { aToB: this.#forth.count, bToA: this.#back.count };
    if (this.#failure === null) this.resolve(counts);
    else {
      const { error } = this.#failure;
      // It is that of one direction; these are both.
      if (error instanceof Error) Reflect.deleteProperty(error, 'bytesTransferred');
      this.reject(error instanceof Error ? Object.assign(error, counts) : error);
    }
  }

  /** @internal */
  get moved(): number {
    return this.#forth.count + this.#back.count;
  }

  /** @internal */
  get taken(): number | PromiseLike<number> {
    const { taken: one } = this.#a;
    const { taken: other } = this.#b;
    if (typeof one === 'number' && typeof other === 'number') return one + other;
    return Promise.all([one, other]).then((both) => both[0] + both[1]);
  }

  /** @internal */
  get waits(): boolean {
    return this.#open > 0;
  }

  /** @internal */
  expire(reason: Expired): void {
    this.cancel(reason);
  }

  override cancel(reason?: unknown): void {
    if (this.#open > 0) this.#fail(givenUp(reason, 'splice'));
  }
}
awaitFast(Exchange);

/** The end cannot be passed on to somebody who is gone: what comes from there says so, if it matters. */
function ignoreGone(error: unknown): void {
  if ((error as { code?: unknown }).code !== 'ENOTCONN') throw error;
}

/**
 * Passes on all that arrives on either of two streams to the other one: a proxy. Where the kernel can, no byte comes to JavaScript. What
 * has arrived in a stream already goes first, what has been written to one before, too; writes that are asked for meanwhile wait until
 * its direction has ended.
 *
 * The end of one stream is passed on as the end of what is sent to the other (`shutdown`), whose direction goes on. An error of either
 * ends both. Both streams stay open, and yours to close: after a failure bytes that were on their way are lost.
 *
 * @returns how many bytes went each way, when both directions have ended; an error or a cancellation carries `aToB` and `bToA`, too
 * @throws `ECONNRESET`, `EPIPE`… of either; `ETIMEDOUT` after `timeout` or `idleTimeout`; `ERR_INVALID_STATE` if a read of either is
 *   waiting. Reads that are begun meanwhile fail with that too.
 */
export function copyBidirectional(
  a: SocketStream,
  b: SocketStream,
  options?: CopyBidirectionalOptions,
): Future<Relayed> {
  checkStream('a', a);
  checkStream('b', b);
  if (a === b) throw invalidType('b', 'another stream than a', b);
  const limits = limitsOf(options);
  const idleTimeout = options?.idleTimeout ?? 0;
  if (typeof idleTimeout !== 'number')
    throw invalidType('options.idleTimeout', 'of type number', idleTimeout);
  if (!(idleTimeout >= 0 && idleTimeout <= 0x7fff_ffff)) {
    throw outOfRange('options.idleTimeout', '>= 0 && <= 2147483647', idleTimeout);
  }
  const refused = refusal(limits);
  if (refused !== undefined) return rejected(refused);
  if (a.descriptor.closed || b.descriptor.closed) return rejected(closedError('splice'));
  try {
    claimBoth(a, b);
  } catch (error) {
    return rejected(error);
  }
  return new Exchange(a, b).start(limits, idleTimeout);
}

function claimBoth(a: SocketStream, b: SocketStream): void {
  a.claim();
  try {
    b.claim();
  } catch (error) {
    a.giveBack();
    throw error;
  }
}

function checkStream(name: string, value: unknown): asserts value is SocketStream {
  if (!(value instanceof SocketStream)) throw invalidType(name, 'a stream of a socket', value);
}
