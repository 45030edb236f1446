import { inspect } from 'node:util';
import { invalidType } from '@ouro/runtime/driver';

/** Items that are asked for while those before are still coming. */
const MOST_WAITING = 64;

/** Checks that `items` can be iterated. */
export function checkIterable(name: string, items: unknown): void {
  const iterable =
    typeof items === 'object' &&
    items !== null &&
    (Symbol.asyncIterator in items || Symbol.iterator in items);
  if (!iterable) throw invalidType(name, 'an Iterable or AsyncIterable', items);
}

/** What is to be done, taken piece by piece: from what is there, or as it comes. */
export class Source<T> {
  readonly #items: Iterator<T> | AsyncIterator<T>;
  readonly #came: () => void;
  readonly #waiting: T[] = [];
  #asking = false;
  #over = false;
  /** What the iterator has thrown; null if nothing. */
  error: Error | null = null;

  /** @param came called when there is more to take, or the end has come, after `take` had nothing to give */
  constructor(items: Iterable<T> | AsyncIterable<T>, came: () => void) {
    this.#items = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
    this.#came = came;
  }

  /** Whether there will be nothing to take any more. */
  get ended(): boolean {
    return this.#over && this.#waiting.length === 0;
  }

  /** The next item; undefined if there is none now. */
  take(): T | undefined {
    const waiting = this.#waiting.shift();
    if (waiting !== undefined || this.#over || this.#asking) {
      if (waiting !== undefined) this.#ask();
      return waiting;
    }
    return this.#ask();
  }

  /** Asks for the next item, and returns it if it comes at once. */
  #ask(): T | undefined {
    if (this.#over || this.#asking || this.#waiting.length >= MOST_WAITING) return undefined;
    try {
      const next: unknown = this.#items.next();
      if (!isThenable(next)) return this.#taken(next as IteratorResult<T>);
      this.#asking = true;
      Promise.resolve(next as PromiseLike<IteratorResult<T>>)
        .then((result) => {
          const item = this.#taken(result);
          if (item !== undefined) this.#waiting.push(item);
        })
        .catch((error: unknown) => this.#failed(error))
        .then(() => this.#arrived());
    } catch (error) {
      this.#asking = false;
      this.#failed(error);
    }
    return undefined;
  }

  #arrived(): void {
    this.#asking = false;
    this.#came();
    this.#ask();
  }

  #taken(result: IteratorResult<T>): T | undefined {
    const { done } = result;
    // (It may have been stopped from within the iterator.)
    if (this.#over) return undefined;
    // Nothing is not the same as nothing now: whoever gets it says that it is no item.
    if (done !== true) return result.value ?? (null as T);
    this.#over = true;
    return undefined;
  }

  #failed(error: unknown): void {
    this.#over = true;
    this.error ??=
      error instanceof Error ? error : new Error(typeof error === 'string' ? error : inspect(error));
  }

  /** No more is wanted. */
  stop(): void {
    if (this.#over) return;
    this.#over = true;
    this.#waiting.length = 0;
    try {
      Promise.resolve(this.#items.return?.()).catch(() => {});
    } catch {
      // It is not asked any more, whatever it says.
    }
  }
}

/** Whether it is to be awaited: not every promise is of this realm, or one of the language's. */
function isThenable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
