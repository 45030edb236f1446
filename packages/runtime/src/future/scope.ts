import { type Cancellable, checkSignal, followersOf, Members } from '../base/cancel.ts';
import { Expired, invalidType } from '../base/errors.ts';

/** How a scope is limited. */
export interface ScopeOptions {
  /** Cancels the scope when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /** The scope that this one is in: it is cancelled with it. */
  readonly parent?: Scope | undefined;
}

/**
 * Ops, tasks and scopes that are cancelled together: pass it as `{ scope }` to whatever takes options. Much cheaper
 * than an AbortSignal, and what is begun in a scope that has been cancelled is refused.
 */
export class Scope extends Members implements Cancellable, Disposable {
  #cancelled = false;
  #reason: unknown;
  #controller: AbortController | null = null;
  readonly #above: Members[] = [];

  /** @throws TypeError for bad options */
  constructor(options: ScopeOptions = {}) {
    super();
    const { signal, parent } = options;
    checkSignal(signal);
    checkScope('options.parent', parent);
    if (signal !== undefined) this.#enter(signal.aborted, signal.reason, followersOf(signal));
    if (parent !== undefined) this.#enter(parent.cancelled, parent.reason, parent);
  }

  #enter(cancelled: boolean, reason: unknown, above: Members): void {
    if (cancelled) this.cancel(reason);
    else {
      above.add(this);
      this.#above.push(above);
    }
  }

  /** Whether `cancel` has been called, here or above. */
  get cancelled(): boolean {
    return this.#cancelled;
  }

  /** Why; undefined as long as it is not. */
  get reason(): unknown {
    return this.#reason;
  }

  /** The same as a signal, for what knows no scopes (`fetch`, `node:fs`). Made when first asked for. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#cancelled) this.#controller.abort(abortReason(this.#reason));
    }
    return this.#controller.signal;
  }

  /** Cancels all that is in the scope now, and refuses what comes later. */
  cancel(reason?: unknown): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    this.#reason = reason;
    this[Symbol.dispose](); // nothing above has anything to say any more
    try {
      this.cancelAll(reason);
    } finally {
      this.#controller?.abort(abortReason(reason));
    }
  }

  /** Leaves the scope above. What is in here goes on, and is no longer cancelled with that. */
  [Symbol.dispose](): void {
    for (const above of this.#above.splice(0)) above.delete(this);
  }
}

/** A DOMException, as `AbortSignal.timeout` has it, for what a deadline ends; undefined becomes an AbortError there. */
function abortReason(reason: unknown): unknown {
  return reason instanceof Expired
    ? new DOMException(`The operation timed out after ${reason.ms} ms`, 'TimeoutError')
    : reason;
}

/** Checks a scope given as an option. */
export function checkScope(name: string, scope: unknown): asserts scope is Scope | undefined {
  if (scope !== undefined && !(scope instanceof Scope))
    throw invalidType(name, 'an instance of Scope', scope);
}
