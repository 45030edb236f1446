import { invalidType } from './errors.ts';
import { awaitFast, checkSignal, Future, type OpOptions } from './future.ts';
import type { RunOptions } from './options.ts';
import { configure, reactor } from './reactor.ts';

/** How a task is started. */
export interface SpawnOptions extends OpOptions {
  /** Shown in diagnostics. @default the function's name */
  readonly name?: string | undefined;
}

let lastId = 0;

/**
 * A function running on its own: a future of its result. Cancelling it aborts `signal`, which the function hands to
 * the ops that it awaits.
 */
export class Task<T> extends Future<T> {
  readonly id: number = ++lastId;
  readonly name: string;
  #controller: AbortController | null = null;
  #cancelled = false;
  #reason: unknown;

  /** @internal */
  constructor(name: string) {
    super();
    this.name = name;
  }

  /** Aborts when the task is cancelled. Made when first asked for. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#cancelled) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  override cancel(reason?: unknown): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }

  /** @internal */
  start(body: (task: Task<T>) => T | PromiseLike<T>): void {
    // From a microtask, so that the caller has the task in hand before its first line runs.
    Promise.resolve()
      .then(() => body(this))
      .then(this.fulfil, this.fail);
  }
}

awaitFast(Task);

/**
 * Starts `body` as a task. An error nobody awaits is an `unhandledRejection`, as with any promise.
 *
 * @throws TypeError if `body` is not a function
 */
export function spawn<T>(body: (task: Task<T>) => T | PromiseLike<T>, options: SpawnOptions = {}): Task<T> {
  if (typeof body !== 'function') throw invalidType('body', 'of type function', body);
  const { name = body.name || 'task', signal } = options;
  if (typeof name !== 'string') throw invalidType('options.name', 'of type string', name);
  checkSignal(signal);
  const task = new Task<T>(name);
  if (signal !== undefined) {
    if (signal.aborted) task.cancel(signal.reason);
    else {
      const onAbort = (): void => task.cancel(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      const forget = (): void => signal.removeEventListener('abort', onAbort);
      task.then(forget, forget);
    }
  }
  task.start(body);
  return task;
}

/**
 * Runs a program on the ring: sets the ring of this thread up and starts `main` as a task. The process goes on for
 * as long as Node has something to wait for, ops in flight included; `run` adds no loop of its own and everything
 * of Node's works beside it.
 *
 * @returns a task of what `main` returns. If nobody handles its failure the process ends with an error, as Node
 * does for any promise.
 * @throws TypeError, RangeError for bad arguments
 * @throws UringUnavailableError (as a rejection) where io_uring is denied; its message says by what
 */
export function run<T>(main: (task: Task<T>) => T | PromiseLike<T>, options?: RunOptions): Task<T> {
  if (typeof main !== 'function') throw invalidType('main', 'of type function', main);
  if (options !== undefined) configure(options);
  return spawn(
    (task: Task<T>) => {
      reactor();
      return main(task);
    },
    { name: main.name || 'main' },
  );
}
