import { AsyncLocalStorage } from 'node:async_hooks';
import {
  batch,
  chain,
  interval,
  Scope,
  select,
  sleep,
  spawn,
  submit,
  type Task,
  TaskGroup,
} from '@ouro/runtime';
import { nop } from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { FOREVER, failure, failures, leavesNothing, submitted } from './support.ts';

/** Sleeps until its task is cancelled. */
const forever = (task: Task<unknown>): Promise<void> => sleep(FOREVER, { scope: task.scope });

describe('a task', () => {
  it('says what it is at', async () => {
    const done = spawn(() => sleep(0));
    expect(done.state).toBe('running');
    await done;
    expect(done.state).toBe('done');
    const failed = spawn(() => Promise.reject(new Error('no')));
    await failure(failed);
    expect(failed.state).toBe('failed');
    const cancelled = spawn(forever);
    cancelled.cancel();
    expect(cancelled.state).toBe('cancelling');
    await failure(cancelled);
    expect(cancelled.state).toBe('cancelled');
  });

  it('that returns although it was cancelled is done', async () => {
    const task = spawn(async (self) => {
      await forever(self).catch(() => {});
      return 'cleaned up';
    });
    await submitted();
    task.cancel();
    expect(await task).toBe('cleaned up');
    expect(task.state).toBe('done');
  });

  it('cancels its children when they are in its scope', async () => {
    const seen: string[] = [];
    const parent = spawn(async (self) => {
      const child = spawn(
        (inner) => forever(inner).catch((error: Error) => void seen.push(String(error.cause))),
        { scope: self.scope },
      );
      await child;
    });
    await submitted();
    parent.cancel('all of you');
    await parent;
    expect(seen).toEqual(['all of you']);
  });

  it.each([[undefined], ['body'], [{}]])('cannot be made of %j', (body) => {
    expect(() => spawn(body as never)).toThrow(TypeError);
    expect(() => TaskGroup.run(body as never)).toThrow(TypeError);
  });

  it.each([[{ name: 5 }], [{ signal: {} }], [{ scope: {} }]])('refuses the options %j', (options) => {
    expect(() => spawn(() => {}, options as never)).toThrow(TypeError);
  });

  it.each([
    ['', ''],
    ['a scope', '{ scope: new Scope() }'],
    ['a signal', '{ signal: new AbortController().signal }'],
    ['a timeout', '{ timeout: 1e6 }'],
  ])('whose failure nobody handles is an unhandledRejection %s', async (_name, options) => {
    const { stdout, code } = await runProgram(`
      import { spawn, sleep, Scope, chain, batch, TaskGroup } from '@ouro/runtime';
      import { nop } from '@ouro/runtime/ops';
      process.on('unhandledRejection', (error) => console.log('unhandled', error.message));
      const options = ${options || 'undefined'};
      const body = async () => { await sleep(1); throw new Error('nobody cares'); };
      spawn(body, options);
      TaskGroup.run(body, options);
      batch([nop(-5)], options);
      chain([nop(-5)], options);
      const handled = spawn(body, options);
      await handled.catch(() => {});
    `);
    const lines = stdout.trim().split('\n').sort();
    expect(lines).toEqual([
      'unhandled EIO: i/o error, nop',
      'unhandled Link 0 of 1 (nop) failed: EIO: i/o error, nop',
      'unhandled nobody cares',
      'unhandled nobody cares',
    ]);
    expect(code).toBe(0);
  });

  it('keeps its AsyncLocalStorage through all that it awaits', async () => {
    const storage = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const see = (): void => void seen.push(storage.getStore());
    await storage.run('mine', () =>
      spawn(async (self) => {
        see();
        await sleep(1);
        see();
        await submit(nop());
        see();
        await chain([nop(), nop()]);
        see();
        await batch([nop(), nop()]);
        see();
        for await (const _ticks of interval(1)) {
          see();
          break;
        }
        await select({ one: sleep(0), other: sleep(FOREVER) });
        see();
        self.signal.addEventListener('abort', see);
        const sleeping = sleep(FOREVER, { scope: self.scope }).catch(see);
        const inner = spawn(() => see());
        await inner;
        self.cancel();
        await sleeping;
        await TaskGroup.run(async (group) => {
          group.spawn(see);
        });
      }),
    );
    expect(seen).toEqual(Array(11).fill('mine'));
  });
});

describe('a task group', () => {
  it('waits for all its tasks, and resolves to what its body returns', async () => {
    const ended: number[] = [];
    const value = await TaskGroup.run((group) => {
      for (const ms of [3, 1, 2]) group.spawn(() => sleep(ms).then(() => void ended.push(ms)));
      return 'value';
    });
    expect(value).toBe('value');
    expect(ended.sort()).toEqual([1, 2, 3]);
  });

  it('with a failing task cancels the others, waits for them, and fails with that error', async () => {
    await leavesNothing(async () => {
      let cleaned = false;
      const error = await failure(
        TaskGroup.run(async (group) => {
          group.spawn(async (task) => {
            await forever(task).catch(() => sleep(5));
            cleaned = true;
          });
          group.spawn(forever);
          group.spawn(async () => {
            await sleep(1);
            throw new Error('failed');
          });
        }),
      );
      expect(error.message).toBe('failed');
      expect(cleaned).toBe(true);
    });
  });

  it('whose body fails cancels its tasks', async () => {
    const tasks: Task<unknown>[] = [];
    const running = TaskGroup.run(async (group) => {
      tasks.push(group.spawn(forever), group.spawn(forever));
      await sleep(1);
      throw new Error('body failed');
    });
    await expect(running).rejects.toThrow('body failed');
    expect(tasks.map(({ state }) => state)).toEqual(['cancelled', 'cancelled']);
  });

  it('where several fail with errors of their own fails with all of them', async () => {
    const error = await failure(
      TaskGroup.run(async (group) => {
        group.spawn(async (task) => {
          await forever(task).catch(() => {});
          throw new Error('second');
        });
        group.spawn(() => Promise.reject(new Error('first')));
      }),
    );
    expect(error).toBeInstanceOf(AggregateError);
    expect(error.errors).toMatchObject([{ message: 'first' }, { message: 'second' }]);
    expect(error.cause).toMatchObject({ message: 'first' });
  });

  it('takes what a signal throws for a cancellation, not for an error of its own', async () => {
    const reason = new Error('failed');
    const throws = async (task: Task<unknown>): Promise<void> => {
      const { signal } = task; // throwIfAborted throws the very reason, as fetch does
      await forever(task).catch(() => {});
      signal.throwIfAborted();
    };
    const byFailure = TaskGroup.run(async (group) => {
      group.spawn(throws);
      group.spawn(() => Promise.reject(reason));
    });
    expect(await failure(byFailure)).toBe(reason);
    const byTime = TaskGroup.run((group) => void group.spawn(throws), { timeout: 5 });
    await expect(byTime).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    const byCancel = TaskGroup.run((group) => void group.spawn(throws));
    await submitted();
    byCancel.cancel('a string');
    await expect(byCancel).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'a string' });
  });

  it('waits for tasks that its tasks start', async () => {
    let ended = 0;
    await TaskGroup.run((group) => {
      const branch = (depth: number): void => {
        group.spawn(async () => {
          await sleep(1);
          ended++;
          if (depth > 0) {
            branch(depth - 1);
            branch(depth - 1);
          }
        });
      };
      branch(4);
    });
    expect(ended).toBe(31);
  });

  it('is cancelled as a whole, by cancel, scope or signal', async () => {
    await leavesNothing(async () => {
      const scope = new Scope();
      const controller = new AbortController();
      const body = (group: TaskGroup): void => {
        group.spawn(forever);
        group.spawn(forever);
      };
      const groups = [
        TaskGroup.run(body),
        TaskGroup.run(body, { scope }),
        TaskGroup.run(body, { signal: controller.signal }),
      ];
      await submitted();
      groups[0]?.cancel('why');
      scope.cancel('why');
      controller.abort('why');
      for (const error of await failures(groups)) {
        expect(error).toMatchObject({ code: 'ABORT_ERR', cause: 'why' });
      }
    });
  });

  it('lets one of its tasks be cancelled without failing', async () => {
    const value = await TaskGroup.run(async (group) => {
      const task = group.spawn(forever);
      await submitted();
      task.cancel();
      return 'fine';
    });
    expect(value).toBe('fine');
  });

  it('by hand: spawn, join, dispose', async () => {
    const group = new TaskGroup();
    const task = group.spawn(() => sleep(1).then(() => 'result'));
    expect(group.size).toBe(1);
    // Each who joins is told.
    await Promise.all([group.join(), group.join(), group.join()]);
    expect([await task, group.size]).toEqual(['result', 0]);
    expect(() => group.spawn(() => {})).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_STATE' }) as Error,
    );
    let cancelled: Task<unknown>;
    {
      await using disposed = new TaskGroup();
      cancelled = disposed.spawn(forever);
      await submitted();
    }
    expect(cancelled.state).toBe('cancelled');
  });

  it('that is cancelled starts tasks as cancelled ones', async () => {
    const group = new TaskGroup();
    group.cancel('before');
    const task = group.spawn((self) => self.scope.reason);
    expect(await task).toBe('before');
    await group.join();
  });
});
