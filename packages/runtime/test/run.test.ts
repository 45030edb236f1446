import runtimeDefault, { type Future, metrics, run, sleep, spawn, Task, TaskGroup } from '@ouro/runtime';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

describe('run', () => {
  it('resolves to what main returns', async () => {
    expect(await run(async () => 42)).toBe(42);
    expect(await run(() => 'sync')).toBe('sync');
  });

  it('is there as runtime.run too', async () => {
    expect(runtimeDefault.run).toBe(run);
    expect(await runtimeDefault.run(() => 1)).toBe(1);
  });

  it('rejects with what main throws', async () => {
    await expect(
      run(() => {
        throw new Error('boom');
      }),
    ).rejects.toThrow('boom');
  });

  it('whose failure nobody handles ends the process with an error', async () => {
    const { code, stderr } = await runProgram(`
      import runtime from '@ouro/runtime';
      runtime.run(async () => { await runtime.sleep(1); throw new Error('main failed'); });
    `);
    expect(code).toBe(1);
    expect(stderr).toContain('main failed');
  });

  it('lets the process end when nothing is left to do', async () => {
    const { code, stdout } = await runProgram(`
      import { run, sleep } from '@ouro/runtime';
      process.on('exit', () => console.log('exit'));
      run(async () => { await sleep(5); console.log('done'); });
    `);
    expect(stdout).toBe('done\nexit\n');
    expect(code).toBe(0);
  });

  it.each([
    [{ entries: 63 }, RangeError],
    [{ entries: 4 }, RangeError],
    [{ entries: 65536 }, RangeError],
    [{ entries: 1.5 }, RangeError],
    [{ entries: '64' }, TypeError],
    [{ entries: 64, cqEntries: 32 }, RangeError],
    [null, TypeError],
    [7, TypeError],
  ])('refuses the options %j', (options, kind) => {
    expect(() => run(() => {}, options as never)).toThrow(kind);
  });

  it('refuses other options once the ring is there', async () => {
    await sleep(0);
    expect(() => run(() => {}, { entries: 64 })).toThrow(
      expect.objectContaining({
        code: 'ERR_OURO_RING_ACTIVE',
        message: expect.stringContaining('entries from 256 to 64') as string,
      }) as Error,
    );
  });

  it('takes a driver that is the one that runs, or any', async () => {
    await sleep(0);
    const { driver } = metrics();
    if (driver === null) throw new Error('no engine');
    expect(await run(() => 1, { driver })).toBe(1);
    expect(await run(() => 2, { driver: 'fusion' })).toBe(2);
    const other = driver === 'poll' ? 'uring' : 'poll';
    const outcome = async () => await run(() => 3, { driver: other });
    await expect(outcome()).rejects.toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^ERR_OURO_/) as string }) as Error,
    );
  });

  it('refuses a main that is no function', () => {
    expect(() => run(5 as never)).toThrow(TypeError);
  });
});

describe('spawn', () => {
  it('is typed by what its function returns, whether that takes the task or not', async () => {
    expectTypeOf(spawn(async (_task) => 5)).toEqualTypeOf<Task<number>>();
    expectTypeOf(spawn(() => 'text')).toEqualTypeOf<Task<string>>();
    expectTypeOf(run((task) => task.id)).toEqualTypeOf<Task<number>>();
    const sum = TaskGroup.run(async (group) => {
      const one = group.spawn(async (task) => task.id);
      expectTypeOf(one).toEqualTypeOf<Task<number>>();
      return (await one) > 0;
    });
    expectTypeOf(sum).toEqualTypeOf<Future<boolean>>();
    expect(await sum).toBe(true);
  });

  it('runs beside its caller and is a future of the result', async () => {
    const order: string[] = [];
    const task = spawn(async () => {
      order.push('task');
      await sleep(0);
      return 'result';
    });
    order.push('caller');
    expect(await task).toBe('result');
    expect(order).toEqual(['caller', 'task']);
    expect(task).toBeInstanceOf(Task);
  });

  it('names and numbers its tasks', async () => {
    const one = spawn(async function worker() {});
    const two = spawn(async () => {}, { name: 'other' });
    expect([one.name, two.name]).toEqual(['worker', 'other']);
    expect(two.id).toBe(one.id + 1);
    await Promise.all([one, two]);
  });

  it('hands its function a signal that cancel aborts', async () => {
    const task = spawn((self) => sleep(1e6, { signal: self.signal }));
    await sleep(0);
    task.cancel('why');
    await expect(task).rejects.toMatchObject({ name: 'AbortError', cause: 'why' });
  });

  it('hands over a signal aborted before the function asked for it', async () => {
    const task = spawn(async (self) => {
      await sleep(1);
      return self.signal.aborted;
    });
    task.cancel();
    expect(await task).toBe(true);
  });

  it('is cancelled by a signal of its caller', async () => {
    const controller = new AbortController();
    const task = spawn((self) => sleep(1e6, { signal: self.signal }), { signal: controller.signal });
    await sleep(0);
    controller.abort();
    await expect(task).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('sleep', () => {
  it('does not end before its time', async () => {
    const begin = process.hrtime.bigint();
    await sleep(12.5);
    expect(process.hrtime.bigint() - begin).toBeGreaterThanOrEqual(12_500_000n);
  });

  it('ends in the order of the times', async () => {
    const order: number[] = [];
    await Promise.all([30, 10, 20].map((ms) => sleep(ms).then(() => order.push(ms))));
    expect(order).toEqual([10, 20, 30]);
  });

  it('of 0 goes once through the kernel', async () => {
    await sleep(0);
  });

  it('without ref does not keep the process alive', async () => {
    const { code, stdout } = await runProgram(`
      import { sleep } from '@ouro/runtime';
      sleep(1e6, { ref: false }).then(() => console.log('never'));
      await sleep(1);
      console.log('end');
    `);
    expect(stdout).toBe('end\n');
    expect(code).toBe(0);
  });

  it.each([
    [-1, RangeError],
    [Number.NaN, RangeError],
    [Infinity, RangeError],
    ['5', TypeError],
    [undefined, TypeError],
  ])('refuses %s', (ms, kind) => {
    expect(() => sleep(ms as never)).toThrow(kind);
  });
});
