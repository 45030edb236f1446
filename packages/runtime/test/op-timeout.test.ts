import { AbortError, chain, sleep, stream, submit } from '@ouro/runtime';
import { nop, POLLIN, pollAdd, timeout, timeoutRemove, timeoutUpdate } from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import { namedPipe } from './named-pipe.ts';

/** Longer than any test. */
const AGES = 1_000_000;

describe('timeout', () => {
  it.each(['monotonic', 'boottime', 'realtime'] as const)(
    'ends after its time by the %s clock',
    async (clock) => {
      const before = performance.now();
      expect(await submit(timeout(20, { clock }))).toBe(undefined);
      expect(performance.now() - before).toBeGreaterThanOrEqual(19);
    },
  );

  it('ends at a time of the real-time clock', async () => {
    const at = Date.now() + 20;
    await submit(timeout(at, { clock: 'realtime', absolute: true }));
    expect(Date.now()).toBeGreaterThanOrEqual(at);
  });

  it('ends at once at a time that has passed', async () => {
    await submit(timeout(1, { absolute: true }));
  });

  it('ends when so many ops have completed', async () => {
    const counting = submit(timeout(AGES, { count: 2 }));
    await submit(nop());
    await submit(nop());
    await counting;
  });

  it('ticks again and again as a stream', async () => {
    let ticks = 0;
    for await (const tick of stream(timeout(1, { repeat: true }))) {
      expect(tick).toBe(undefined);
      if (++ticks === 3) break;
    }
    expect(ticks).toBe(3);
  });

  it('holds up what comes behind it in a chain', async () => {
    const long = submit(timeout(AGES));
    expect(await chain([timeout(5), timeoutUpdate(long, 1), nop(7)])).toEqual([undefined, undefined, 7]);
    await long;
  });

  it('can be cancelled, and given up with a signal', async () => {
    const cancelled = submit(timeout(AGES));
    cancelled.cancel('enough');
    await expect(cancelled).rejects.toThrow(AbortError);
    await expect(submit(timeout(AGES), { signal: AbortSignal.timeout(5) })).rejects.toMatchObject({
      code: 'ABORT_ERR',
    });
  });

  it('is refused for what is no time, clock or count', () => {
    const refused = (ms: never, options: object) => () => timeout(ms, options);
    expect(refused('1' as never, {})).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }));
    expect(refused(-1 as never, {})).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }));
    expect(refused(Number.NaN as never, { absolute: true })).toThrow(RangeError);
    expect(refused(1 as never, { clock: 'sundial' })).toThrow(/options.clock/);
    expect(refused(1 as never, { count: 1.5 })).toThrow(/options.count/);
    expect(refused(1 as never, { repeat: true, count: 1 })).toThrow(/options.repeat/);
  });
});

describe('timeoutUpdate', () => {
  it('gives a timeout in flight another time', async () => {
    const long = submit(timeout(AGES));
    await submit(timeoutUpdate(long, 1));
    await long;
  });

  it('gives it a time of its own clock', async () => {
    const long = submit(timeout(AGES, { clock: 'realtime' }));
    await submit(timeoutUpdate(long, Date.now(), { absolute: true }));
    await long;
  });

  it('also moves a sleep', async () => {
    const long = sleep(AGES);
    await submit(timeoutUpdate(long, 1));
    await long;
  });

  it('fails for an op that is no timeout', async () => {
    using pipe = namedPipe();
    const waiting = submit(pollAdd(pipe.reader, POLLIN));
    await expect(submit(timeoutUpdate(waiting, 1))).rejects.toMatchObject({
      code: 'ENOENT',
      errno: -2,
      syscall: 'timeout_update',
    });
    waiting.cancel();
    await expect(waiting).rejects.toThrow(AbortError);
  });

  it('is refused for an op that has ended, and for what is no op', async () => {
    const over = submit(nop());
    await over;
    expect(() => timeoutUpdate(over, 1)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_STATE' }));
    expect(() => timeoutUpdate(Promise.resolve() as never, 1)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
    );
  });
});

describe('timeoutRemove', () => {
  it('ends a timeout: it rejects with ECANCELED', async () => {
    const long = submit(timeout(AGES));
    const removed = submit(timeoutRemove(long));
    await expect(long).rejects.toMatchObject({ code: 'ECANCELED', errno: -125, syscall: 'timeout' });
    expect(await removed).toBe(undefined);
  });

  it('never hits the next op in the same place', async () => {
    const first = submit(timeout(1));
    const remove = timeoutRemove(first);
    await first;
    const second = submit(timeout(20)); // in the slot of the first
    await expect(submit(remove)).rejects.toMatchObject({ code: 'ENOENT', syscall: 'timeout_remove' });
    await second;
  });
});

describe('nop', () => {
  it('ends with the result that it is told to', async () => {
    expect(await submit(nop())).toBe(0);
    expect(await submit(nop(42))).toBe(42);
    await expect(submit(nop(-5))).rejects.toMatchObject({ code: 'EIO', errno: -5, syscall: 'nop' });
    expect(() => nop('x' as never)).toThrow(TypeError);
  });
});
