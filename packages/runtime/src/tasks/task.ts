import { UringUnavailableError } from '@ouro/native';
import { checkSignal } from '../base/cancel.ts';
import { invalidType } from '../base/errors.ts';
import type { RunOptions } from '../base/options.ts';
import { configure, reactor } from '../engine/thread.ts';
import { awaitFast, Future } from '../future/future.ts';
import { checkScope, Scope } from '../future/scope.ts';
import type { OpOptions } from '../operation/op-options.ts';
import { bound } from '../time/time.ts';

/** How a task is started. */
export interface SpawnOptions extends OpOptions {
  /** Shown in diagnostics. @default the function's name */
  readonly name?: string | undefined;
}

/** What a task is at. */
export type TaskState =
  /** Running, or waiting for something. */
  | 'running'
  /** Cancelled, and not at its end yet. */
  | 'cancelling'
  /** It returned. */
  | 'done'
  /** It threw. */
  | 'failed'
  /** It threw after it had been cancelled. */
  | 'cancelled';

let lastId = 0;

/**
 * A function running on its own: a future of its result. Cancelling it cancels its `scope`, and aborts its `signal`,
 * which the function hands to the ops that it awaits.
 */
export class Task<T> extends Future<T> {
  readonly id: number = ++lastId;
  readonly name: string;
  /** For the ops of this task: `{ scope: task.scope }`. */
  readonly scope: Scope = new Scope();
  #state: TaskState = 'running';

  /** @internal */
  constructor(name: string) {
    super();
    this.name = name;
  }

  /** The scope as a signal. Made when first asked for. */
  get signal(): AbortSignal {
    return this.scope.signal;
  }

  get state(): TaskState {
    return this.#state;
  }

  override cancel(reason?: unknown): void {
    if (this.#state !== 'running') return;
    this.#state = 'cancelling';
    this.scope.cancel(reason);
  }

  /** @internal */
  start(body: (task: Task<unknown>) => T | PromiseLike<T>): void {
    // From a microtask, so that the caller has the task in hand before its first line runs.
    Promise.resolve()
      .then(() => body(this))
      .then(
        (value) => {
          this.#state = 'done';
          this.fulfil(value);
        },
        (error: unknown) => {
          this.#state = this.#state === 'cancelling' ? 'cancelled' : 'failed';
          this.fail(error);
        },
      );
  }
}

awaitFast(Task);

/**
 * Starts `body` as a task. An error nobody awaits is an `unhandledRejection`, as with any promise.
 *
 * @param options `signal`, `scope` and `timeout` cancel the task
 * @throws TypeError if `body` is not a function, or for bad options
 */
export function spawn<T>(
  body: (task: Task<unknown>) => T | PromiseLike<T>,
  options: SpawnOptions = {},
): Task<T> {
  if (typeof body !== 'function') throw invalidType('body', 'of type function', body);
  const { name = body.name || 'task', signal, scope } = options;
  if (typeof name !== 'string') throw invalidType('options.name', 'of type string', name);
  checkSignal(signal);
  checkScope('options.scope', scope);
  const task = new Task<T>(name);
  bound(task, options);
  if (signal?.aborted) task.cancel(signal.reason);
  if (scope?.cancelled) task.cancel(scope.reason);
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
export function run<T>(main: (task: Task<unknown>) => T | PromiseLike<T>, options?: RunOptions): Task<T> {
  if (typeof main !== 'function') throw invalidType('main', 'of type function', main);
  const denied = options === undefined ? null : refusalOf(options);
  return spawn(
    (task) => {
      if (denied !== null) throw denied;
      reactor();
      return main(task);
    },
    { name: main.name || 'main' },
  );
}

/** Sets the options; what throws here are arguments that are wrong, and not a ring that is switched off. */
function refusalOf(options: RunOptions): UringUnavailableError | null {
  try {
    configure(options);
    return null;
  } catch (error) {
    if (error instanceof UringUnavailableError) return error;
    throw error;
  }
}
