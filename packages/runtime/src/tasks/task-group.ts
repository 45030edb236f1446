import { cancellation, Expired, invalidType } from '../base/errors.ts';
import { awaitFast, Future, rejected } from '../future/future.ts';
import { Scope } from '../future/scope.ts';
import { type OpOptions, refusal } from '../operation/op-options.ts';
import { bound } from '../time/time.ts';
import { type SpawnOptions, spawn, type Task } from './task.ts';

/**
 * Tasks that end together: nothing that was started in the group outlives it. When one fails the others are cancelled
 * and awaited, and the group fails with that error; where several fail with errors of their own, with an `AggregateError`
 * of them.
 *
 * ```js
 * await TaskGroup.run(async (group) => {
 *   group.spawn(produce);
 *   group.spawn(consume);
 * }, { timeout: 5000 });
 * ```
 */
export class TaskGroup implements AsyncDisposable {
  /** All tasks' scopes are in this one. */
  readonly scope: Scope = new Scope();
  readonly #tasks: Set<Task<unknown>> = new Set();
  readonly #errors: unknown[] = [];
  #joined = false;
  readonly #idle: (() => void)[] = [];

  /** Tasks that have not ended. */
  get size(): number {
    return this.#tasks.size;
  }

  /**
   * Starts a task in the group.
   *
   * @throws Error with `code: 'ERR_INVALID_STATE'` once the group has ended
   */
  spawn<T>(body: (task: Task<unknown>) => T | PromiseLike<T>, options: SpawnOptions = {}): Task<T> {
    if (this.#joined && this.#tasks.size === 0) {
      throw Object.assign(new Error('The task group has ended'), { code: 'ERR_INVALID_STATE' });
    }
    const task = spawn(body, options);
    this.#tasks.add(task);
    if (this.scope.cancelled) task.cancel(this.scope.reason);
    else this.scope.add(task);
    task.then(
      () => this.#ended(task),
      (error: unknown) => {
        this.#failed(task, error);
        this.#ended(task);
      },
    );
    return task;
  }

  #failed(task: Task<unknown>, error: unknown): void {
    // A task that ends because it was cancelled says nothing new: the group knows why, or somebody cancelled just that one.
    if (task.state === 'cancelled' && isCancellation(error, this.scope.reason)) return;
    this.#errors.push(error);
    this.scope.cancel(error);
  }

  #ended(task: Task<unknown>): void {
    this.#tasks.delete(task);
    this.scope.delete(task);
    if (this.#tasks.size === 0) for (const then of this.#idle.splice(0)) then();
  }

  /** Cancels all tasks of the group. That they end so is no failure of it. */
  cancel(reason?: unknown): void {
    this.scope.cancel(reason);
  }

  /** Waits for all tasks, those included that they start meanwhile. Rejects as the class says. */
  async join(): Promise<void> {
    this.#joined = true;
    if (this.#tasks.size > 0) {
      await new Promise<void>((idle) => this.#idle.push(idle));
    }
    const errors = this.#errors;
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) {
      throw Object.assign(new AggregateError(errors, `${errors.length} tasks of the group failed`), {
        cause: errors[0],
      });
    }
  }

  /** Cancels what still runs, and waits for it as `join` does. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel();
    await this.join();
  }

  /**
   * Runs `body` and waits for it and for every task that was started in the group. A failure of `body` is one of the
   * group: it cancels the tasks.
   *
   * @param options `signal`, `scope` and `timeout` cancel the group
   * @returns what `body` returns
   */
  static run<T>(body: (group: TaskGroup) => T | PromiseLike<T>, options?: OpOptions): Future<T> {
    if (typeof body !== 'function') throw invalidType('body', 'of type function', body);
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    return bound(new GroupRun(body), options);
  }
}

class GroupRun<T> extends Future<T> {
  readonly #group = new TaskGroup();
  #cancelled = false;
  #reason: unknown;

  constructor(body: (group: TaskGroup) => T | PromiseLike<T>) {
    super();
    const group = this.#group;
    const main = group.spawn(() => body(group), { name: body.name || 'group' });
    group.join().then(
      () => {
        if (this.#cancelled) this.fail(cancellation(this.#reason));
        else this.fulfil(main);
      },
      (error: unknown) => this.fail(error),
    );
  }

  override cancel(reason?: unknown): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    this.#reason = reason;
    this.#group.cancel(reason);
  }
}
awaitFast(GroupRun);

/**
 * Whether an error is what cancelling for `reason` brings about: ours, or what `signal.throwIfAborted()`, `fetch` and the
 * like make of the task's signal.
 */
function isCancellation(error: unknown, reason: unknown): boolean {
  if (error === reason) return true;
  if (!(error instanceof Error)) return false;
  if (error.name === 'AbortError') return true;
  if (!(reason instanceof Expired)) return false;
  return error.name === 'TimeoutError' || (error as { code?: string }).code === 'ETIMEDOUT';
}
