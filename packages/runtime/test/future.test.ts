import { AsyncLocalStorage } from 'node:async_hooks';
import { type Future, sleep } from '@ouro/runtime';
import { flow, nop, rejected, resolved } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';

describe('a future', () => {
  it('is a promise', async () => {
    const future = nop();
    expect(future).toBeInstanceOf(Promise);
    expect(await future).toBe(0);
  });

  it('gives plain promises from then, catch and finally', async () => {
    const future = nop();
    for (const promise of [future.then(), future.catch(() => {}), future.finally(() => {})]) {
      expect(promise.constructor).toBe(Promise);
      expect('cancel' in promise).toBe(false);
      await promise;
    }
  });

  it('works with all, race, any and allSettled', async () => {
    expect(await Promise.all([nop(), nop()])).toEqual([0, 0]);
    expect(await Promise.race([nop()])).toBe(0);
    expect(await Promise.any([nop(-5), nop()])).toBe(0);
    expect((await Promise.allSettled([nop(-5)]))[0]?.status).toBe('rejected');
  });

  it('can be awaited twice', async () => {
    const future = nop();
    expect([await future, await future]).toEqual([0, 0]);
  });

  it('rejects with the error of the system call', async () => {
    await expect(nop(-5)).rejects.toMatchObject({
      code: 'EIO',
      errno: -5,
      syscall: 'nop',
      message: 'EIO: i/o error, nop',
    });
  });

  it('names an errno that libuv does not know', async () => {
    await expect(nop(-523)).rejects.toMatchObject({ errno: -523, code: 'Unknown system error -523' });
  });

  it('rejects with an AbortError once cancelled, the reason as its cause', async () => {
    const future = sleep(1e6);
    const reason = new Error('no longer needed');
    future.cancel(reason);
    await expect(future).rejects.toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: reason });
  });

  it('keeps its result if it is cancelled after it has settled', async () => {
    const future = nop();
    await future;
    future.cancel();
    expect(await future).toBe(0);
  });

  it('gives the result if the op was quicker than the cancellation', async () => {
    const future = nop();
    future.cancel();
    expect(await future).toBe(0);
  });

  it('may be cancelled twice', async () => {
    const future = sleep(1e6);
    future.cancel('first');
    future.cancel('second');
    await expect(future).rejects.toMatchObject({ cause: 'first' });
  });

  it('carries AsyncLocalStorage through await and then', async () => {
    const storage = new AsyncLocalStorage<string>();
    const seen = await Promise.all(
      ['a', 'b', 'c'].map((name) =>
        storage.run(name, async () => {
          await nop();
          const inThen = await sleep(1).then(() => storage.getStore());
          return [storage.getStore(), inThen];
        }),
      ),
    );
    expect(seen).toEqual([
      ['a', 'a'],
      ['b', 'b'],
      ['c', 'c'],
    ]);
  });

  it('that nobody handles is an unhandled rejection', async () => {
    const seen = new Promise((resolve) => process.once('unhandledRejection', resolve));
    const others = process.listeners('unhandledRejection').filter((_, i, all) => i < all.length - 1);
    for (const other of others) process.off('unhandledRejection', other);
    void nop(-5);
    expect(await seen).toMatchObject({ code: 'EIO' });
    for (const other of others) process.on('unhandledRejection', other);
  });
});

describe('a signal', () => {
  it('cancels the op', async () => {
    const controller = new AbortController();
    const future = sleep(1e6, { signal: controller.signal });
    controller.abort('enough');
    await expect(future).rejects.toMatchObject({ name: 'AbortError', cause: 'enough' });
  });

  it('aborted before lets nothing begin', async () => {
    const { metrics } = await import('@ouro/runtime');
    await nop();
    const before = metrics().sqes + metrics().queued;
    await expect(sleep(1e6, { signal: AbortSignal.abort('never') })).rejects.toMatchObject({
      cause: 'never',
    });
    expect(metrics().sqes + metrics().queued).toBe(before);
  });

  it('is let go of when the op has settled', async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    };
    await sleep(0, { signal });
    await nop();
    expect(listeners).toBe(0);
  });

  it('must be one', () => {
    expect(() => sleep(1, { signal: {} as AbortSignal })).toThrow(TypeError);
  });
});

describe('a flow', () => {
  it('cancels the step it waits for', async () => {
    let step: Future<void> | undefined;
    const future = flow(async (steps) => {
      step = sleep(1e6);
      await steps.step(step);
    });
    future.cancel('stop');
    await expect(future).rejects.toMatchObject({ name: 'AbortError', cause: 'stop' });
    await expect(step).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('cancels the steps that come after the cancellation', async () => {
    const future = flow(async (steps) => {
      await nop();
      await steps.step(sleep(1e6));
    });
    future.cancel('early');
    await expect(future).rejects.toMatchObject({ cause: 'early' });
  });
});

describe('a value that is there already', () => {
  it('is a future too', async () => {
    const future = resolved(7);
    future.cancel();
    expect(await future).toBe(7);
    await expect(rejected(new Error('x'))).rejects.toThrow('x');
  });
});
