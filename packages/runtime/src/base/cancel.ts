import { invalidType } from './errors.ts';

/** What can be cancelled. */
export interface Cancellable {
  cancel(reason?: unknown): void;
}

/** Things that are cancelled together. Each leaves when it has settled. */
export class Members {
  readonly #members: Set<Cancellable> = new Set();

  get size(): number {
    return this.#members.size;
  }

  add(member: Cancellable): void {
    this.#members.add(member);
  }

  delete(member: Cancellable): void {
    this.#members.delete(member);
  }

  /** Cancels all that are here now. One that fails to be cancelled does not keep the others from it. */
  protected cancelAll(reason: unknown): void {
    const errors: unknown[] = [];
    for (const member of [...this.#members]) {
      try {
        member.cancel(reason);
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}

/**
 * What follows one AbortSignal: with one listener for all of it, because adding and removing one for each op would
 * take longer than most ops.
 */
class Followers extends Members {
  readonly #signal: AbortSignal;
  readonly #onAbort = (): void => this.cancelAll(this.#signal.reason);

  constructor(signal: AbortSignal) {
    super();
    this.#signal = signal;
  }

  override add(member: Cancellable): void {
    if (this.size === 0) this.#signal.addEventListener('abort', this.#onAbort);
    super.add(member);
  }

  override delete(member: Cancellable): void {
    super.delete(member);
    // A signal with a listener is kept alive by Node until it aborts.
    if (this.size === 0) this.#signal.removeEventListener('abort', this.#onAbort);
  }
}

const followers = new WeakMap<AbortSignal, Followers>();

/** What follows `signal`. */
export function followersOf(signal: AbortSignal): Members {
  let found = followers.get(signal);
  if (found === undefined) {
    found = new Followers(signal);
    followers.set(signal, found);
  }
  return found;
}

/** Checks `options.signal`. */
export function checkSignal(signal: unknown): asserts signal is AbortSignal | undefined {
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalidType('options.signal', 'an instance of AbortSignal', signal);
  }
}
