import { cancellation, invalidType } from '../base/errors.ts';
import { awaitFast, Future, rejected } from '../future/future.ts';
import { checkMs, type OpOptions, refusal } from '../operation/op-options.ts';
import { bound } from '../time/time.ts';

/** The futures to choose among, by name. */
export type Branches = Readonly<Record<string, Future<unknown>>>;

/** What `select` resolves to: which of the futures was first, and its value. */
export type Selected<B extends Branches> = {
  [K in keyof B & string]: {
    readonly key: K;
    readonly value: B[K] extends Future<infer T> ? T : never;
    /** Values of other futures that had come about all the same when they were cancelled. Nothing is lost. */
    readonly late: { readonly [L in keyof B]?: B[L] extends Future<infer T> ? T : never };
  };
}[keyof B & string];

/** Why the others of a race were cancelled. */
const LOST = 'another one was first';

class Race extends Future<{ key: string; value: unknown; late: Record<string, unknown> }> {
  readonly #futures: readonly (readonly [key: string, future: Future<unknown>])[];
  readonly #late: Record<string, unknown> = {};
  #pending: number;
  #winner: string | null = null;
  #value: unknown;
  #error: { readonly error: unknown } | null = null;
  #cancelled = false;
  #reason: unknown;

  constructor(branches: Branches) {
    super();
    this.#futures = Object.entries(branches);
    this.#pending = this.#futures.length;
    for (const [key, future] of this.#futures) {
      future.then(
        (value) => this.#settled(key, value, null),
        (error: unknown) => this.#settled(key, undefined, { error }),
      );
    }
  }

  #settled(key: string, value: unknown, error: { readonly error: unknown } | null): void {
    this.#pending--;
    if (this.#cancelled || this.#winner !== null) {
      if (error === null) this.#late[key] = value;
    } else {
      this.#winner = key;
      this.#value = value;
      this.#error = error;
      for (const [other, future] of this.#futures) if (other !== key) future.cancel(LOST);
    }
    if (this.#pending > 0) return;
    if (this.#cancelled) this.fail(Object.assign(cancellation(this.#reason), { late: this.#late }));
    else if (this.#error !== null) this.fail(this.#error.error);
    else this.fulfil({ key: this.#winner ?? key, value: this.#value, late: this.#late });
  }

  override cancel(reason?: unknown): void {
    if (this.#cancelled || this.#winner !== null) return;
    this.#cancelled = true;
    this.#reason = reason;
    for (const [, future] of this.#futures) future.cancel(reason);
  }
}
awaitFast(Race);

/**
 * Waits for the first of several futures to settle, cancels the others and waits until they have let go. Rejects if the
 * first one failed.
 *
 * ```js
 * const { key, value } = await select({ data: stream.read(buffer), tick: sleep(1000) });
 * ```
 *
 * @throws TypeError for what is no future
 */
export function select<B extends Branches>(branches: B, options?: OpOptions): Future<Selected<B>> {
  if (typeof branches !== 'object' || branches === null)
    throw invalidType('branches', 'of type object', branches);
  const entries = Object.entries(branches);
  if (entries.length === 0) throw invalidType('branches', 'an object with at least one future', branches);
  for (const [key, future] of entries) checkFuture(`branches.${key}`, future);
  const refused = refusal(options);
  if (refused !== undefined) {
    for (const [, future] of entries) {
      future.cancel(refused);
      future.catch(() => {});
    }
    return rejected(refused);
  }
  return bound(new Race(branches) as unknown as Future<Selected<B>>, options);
}

/** What a `select` came to. */
interface Outcome {
  readonly value: unknown;
  readonly late: Readonly<Record<string, unknown>>;
}

/** Closes handles that came about although nobody wanted them any more. */
function closeAll(late: Readonly<Record<string, unknown>>): void {
  for (const value of Object.values(late)) {
    const { [Symbol.asyncDispose]: dispose } = Object(value) as Partial<AsyncDisposable>;
    if (typeof dispose === 'function') Promise.resolve(dispose.call(value)).catch(() => {});
  }
}

class FirstOf<T> extends Future<T> {
  readonly #race: Future<Outcome>;

  constructor(race: Future<Outcome>) {
    super();
    this.#race = race;
    race.then(
      ({ value, late }) => {
        closeAll(late);
        this.fulfil(value as T);
      },
      (error: unknown) => {
        closeAll((error as { late?: Record<string, unknown> } | undefined)?.late ?? {});
        this.fail(error);
      },
    );
  }

  override cancel(reason?: unknown): void {
    this.#race.cancel(reason);
  }
}
awaitFast(FirstOf);

/** What `race` resolves to: whatever one of them does. */
export type First<F extends readonly Future<unknown>[]> = ValueOf<F[number]>;
type ValueOf<F> = F extends Future<infer T> ? T : never;

/**
 * As `select`, for a list: resolves to the value of the first. Late values of the others are dropped; files and sockets
 * among them are closed.
 *
 * @throws TypeError for what is no list of futures, or an empty one
 */
export function race<const F extends readonly Future<unknown>[]>(
  futures: F,
  options?: OpOptions,
): Future<First<F>> {
  if (!Array.isArray(futures) || futures.length === 0)
    throw invalidType('futures', 'an array with at least one future', futures);
  const list: readonly Future<unknown>[] = [...futures]; // in which a hole is seen
  for (const [index, future] of list.entries()) checkFuture(`futures[${index}]`, future);
  return new FirstOf<First<F>>(select(Object.fromEntries(list.entries()), options));
}

/**
 * Gives a future `ms` milliseconds: then it is cancelled, and rejects with `code: 'ETIMEDOUT'` once it has let go.
 *
 * @returns the same future
 */
export function timeout<F extends Future<unknown>>(future: F, ms: number): F {
  checkFuture('future', future);
  checkMs('ms', ms);
  return bound(future, { timeout: ms });
}

function checkFuture(name: string, value: unknown): void {
  if (!(value instanceof Future)) throw invalidType(name, 'an instance of Future', value);
}
