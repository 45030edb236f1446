import { getEventListeners } from 'node:events';
import { interval, metrics, Scope, sleep } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { failure, leavesNothing, submitted } from './support.ts';

describe('an interval', () => {
  it('ticks again and again with one op', async () => {
    await submitted();
    const before = metrics();
    const ticking = interval(1);
    let ticks = 0;
    while (ticks < 20) ticks += (await ticking.next()).value ?? 0;
    expect(metrics().sqes - before.sqes).toBe(1);
    await ticking.return();
  });

  it('ticks op by op where the kernel has no multishot timeout', async () => {
    const { stdout } = await runProgram(
      `
        import { interval, metrics } from '@ouro/runtime';
        let ticks = 0;
        for await (const n of interval(1)) { ticks += n; if (ticks >= 5) break; }
        console.log(metrics().sqes >= 5, metrics().pending, metrics().inFlight);
      `,
      { env: { OURO_WITHOUT: 'READ_MULTISHOT' } },
    );
    expect(stdout).toBe('true 0 0\n');
  });

  it('tells ticks that fell together as one', async () => {
    const ticking = interval(1);
    let ticks = 0;
    while (ticks <= 1) {
      await sleep(10);
      ticks = (await ticking.next()).value ?? 0;
    }
    await ticking.return();
  });

  it('ends with its loop, and leaves nothing', async () => {
    await leavesNothing(async () => {
      for await (const ticks of interval(1)) {
        expect(ticks).toBeGreaterThan(0);
        break;
      }
      await using disposed = interval(1);
      await disposed.next();
    });
  });

  it('can be left at any moment: also while a tick is on its way', async () => {
    await leavesNothing(async () => {
      for (let round = 0; round < 100; round++) {
        const ticking = interval(0.5);
        await sleep(round / 40);
        await ticking.return();
      }
    });
  });

  it('that has been left is done, for each who leaves', async () => {
    await leavesNothing(async () => {
      const ticking = interval(1);
      const waiting = ticking.next();
      const done = { done: true, value: undefined };
      expect(await Promise.all([ticking.return(), ticking.return(), waiting])).toEqual([done, done, done]);
      expect(await ticking.next()).toEqual(done);
    });
  });

  it('is cancelled by itself, signal or scope: who waits gets an AbortError, once', async () => {
    await leavesNothing(async () => {
      const controller = new AbortController();
      const scope = new Scope();
      const all = [interval(1e6), interval(1e6, { signal: controller.signal }), interval(1e6, { scope })];
      const waiting = all.map((each) => each.next());
      all[0]?.cancel('why');
      controller.abort('why');
      scope.cancel('why');
      for (const each of waiting)
        await expect(each).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'why' });
      for (const each of all) expect(await each.next()).toEqual({ done: true, value: undefined });
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
      expect(scope.size).toBe(0);
    });
  });

  it('that was cancelled while nobody waited tells the next who comes', async () => {
    const ticking = interval(1e6);
    ticking.cancel();
    expect(await failure(ticking.next())).toMatchObject({ code: 'ABORT_ERR' });
    expect(await ticking.next()).toEqual({ done: true, value: undefined });
    await ticking.return();
  });

  it('has one who waits; waiting can be given up', async () => {
    const ticking = interval(1e6);
    const waiting = ticking.next();
    await expect(ticking.next()).rejects.toMatchObject({ code: 'ERR_INVALID_STATE' });
    waiting.cancel('no more');
    await expect(waiting).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'no more' });
    const again = ticking.next();
    await ticking.return();
    expect(await again).toEqual({ done: true, value: undefined });
  });

  it('keeps the process alive unless it is told not to', async () => {
    const { stdout, code } = await runProgram(`
      import { interval } from '@ouro/runtime';
      const first = interval(1, { ref: false });
      const second = interval(1).unref();
      interval(1).unref().ref().unref();
      await first.next;
      process.on('exit', () => console.log('exit'));
    `);
    expect([stdout, code]).toEqual(['exit\n', 0]);
    const kept = await runProgram(`
      import { interval } from '@ouro/runtime';
      const ticking = interval(1, { ref: false }).ref();
      let n = 0;
      for await (const ticks of ticking) if ((n += ticks) > 5) break;
      console.log('end');
    `);
    expect([kept.stdout, kept.code]).toEqual(['end\n', 0]);
  });

  it.each([
    ['1', TypeError],
    [undefined, TypeError],
    [0, RangeError],
    [-1, RangeError],
    [Number.NaN, RangeError],
    [Number.POSITIVE_INFINITY, RangeError],
  ])('of %s ms is refused', (ms, kind) => {
    expect(() => interval(ms as never)).toThrow(kind);
  });

  it('is refused by a signal that has aborted or a scope that has been cancelled', async () => {
    const scope = new Scope();
    scope.cancel();
    expect(() => interval(1, { signal: AbortSignal.abort() })).toThrow('aborted');
    expect(() => interval(1, { scope })).toThrow('aborted');
    await sleep(0);
  });
});
