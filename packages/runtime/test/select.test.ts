import { closeSync, openSync, readdirSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { File } from '@ouro/fs';
import { Future, metrics, race, select, sleep, spawn, submit } from '@ouro/runtime';
import { Deferred, OrdinaryDescriptor } from '@ouro/runtime/driver';
import { nop } from '@ouro/runtime/ops';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { FOREVER, failure, fifo, leavesNothing, read, submitted, temporaryDirectory } from './support.ts';

const dir = temporaryDirectory();

describe('select', () => {
  it('tells which future was first, and its value', async () => {
    await leavesNothing(async () => {
      expect(await select({ slow: sleep(FOREVER), quick: submit(nop(5)) })).toEqual({
        key: 'quick',
        value: 5,
        late: {},
      });
    });
  });

  it('cancels the others and waits until they have let go', async () => {
    const pipe = new OrdinaryDescriptor(openSync(fifo(dir), 'r+'));
    let cleaned = false;
    const slow = spawn(async (task) => {
      await sleep(FOREVER, { scope: task.scope }).catch(() => sleep(5));
      cleaned = true;
    });
    const reading = submit(read(pipe, Buffer.alloc(1)));
    const { key, late } = await select({ reading, slow, tick: sleep(1) });
    expect([key, cleaned, pipe.idle]).toEqual(['tick', true, true]);
    expect(late).toHaveProperty('slow');
    await expect(reading).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'another one was first' });
    await pipe.close();
  });

  it('hands over values that came all the same', async () => {
    const path = fifo(dir);
    const fd = openSync(path, 'r+');
    writeSync(fd, 'data');
    const buffer = Buffer.alloc(8);
    const { key, late } = await select({ first: submit(nop()), bytes: submit(read(fd, buffer)) });
    expect([key, late.bytes, buffer.toString('utf8', 0, 4)]).toEqual(['first', 4, 'data']);
    closeSync(fd);
  });

  it('rejects if the first one failed', async () => {
    await leavesNothing(async () => {
      await expect(select({ bad: submit(nop(-5)), slow: sleep(FOREVER) })).rejects.toMatchObject({
        code: 'EIO',
      });
    });
  });

  it('is cancelled with all its futures, and tells what came late', async () => {
    await leavesNothing(async () => {
      const value = new Deferred<string>();
      value.cancel = () => value.resolve('late');
      const running = select({ value, slow: sleep(FOREVER) });
      running.cancel('enough');
      const error = await failure(running);
      expect(error).toMatchObject({ code: 'ABORT_ERR', cause: 'enough', late: { value: 'late' } });
      await expect(select({ slow: sleep(FOREVER) }, { timeout: 5 })).rejects.toMatchObject({
        code: 'ETIMEDOUT',
      });
    });
  });

  it('that is refused cancels its futures', async () => {
    await leavesNothing(async () => {
      const slow = sleep(FOREVER);
      const running = select({ slow }, { signal: AbortSignal.abort('before') });
      await expect(running).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'before' });
      await expect(slow).rejects.toMatchObject({ code: 'ABORT_ERR' });
    });
  });

  it('takes the same future twice', async () => {
    const future = submit(nop(3));
    expect(await select({ one: future, two: future })).toMatchObject({ key: 'one', value: 3 });
  });

  it.each([[undefined], [null], [5], [{}], [{ a: Promise.resolve() }], [{ a: 5 }]])(
    'refuses %j',
    (branches) => {
      expect(() => select(branches as never)).toThrow(TypeError);
    },
  );
});

describe('race', () => {
  it('resolves to the value of the first', async () => {
    await leavesNothing(async () => {
      expect(await race([sleep(FOREVER), submit(nop(7))])).toBe(7);
    });
    expect(await race([submit(nop(7))])).toBe(7);
  });

  it('rejects with the error of the first', async () => {
    await leavesNothing(async () => {
      await expect(race([submit(nop(-5)), sleep(FOREVER)])).rejects.toMatchObject({ code: 'EIO' });
    });
  });

  it('is cancelled with its futures', async () => {
    await leavesNothing(async () => {
      const running = race([sleep(FOREVER), sleep(FOREVER)]);
      await submitted();
      running.cancel('enough');
      await expect(running).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'enough' });
      expect(running).toBeInstanceOf(Future);
    });
  });

  it('is typed as what any of them resolves to', async () => {
    const same = race(Array.from({ length: 3 }, () => submit(nop(7))));
    expectTypeOf(same).toEqualTypeOf<Future<number>>();
    expect(await same).toBe(7);
    const mixed = race([submit(nop(7)), sleep(FOREVER), spawn(() => 'text')]);
    // biome-ignore lint/suspicious/noConfusingVoidType: it is what a sleep resolves to
    expectTypeOf(mixed).toEqualTypeOf<Future<number | void | string>>();
    await mixed;
  });

  it.each([
    [undefined, 'The "futures" argument must be an array with at least one future. Received undefined'],
    [[], 'The "futures" argument must be an array with at least one future. Received an instance of Array'],
    [
      [Promise.resolve()],
      'The "futures[0]" argument must be an instance of Future. Received an instance of Promise',
    ],
    // biome-ignore lint/suspicious/noSparseArray: a hole is what is tested
    [[, 1], 'The "futures[0]" argument must be an instance of Future. Received undefined'],
  ])('names what is wrong with %j', (futures, message) => {
    expect(() => race(futures as never)).toThrow(message);
  });

  it.each([[undefined], [5], [[]], [[1]]])('refuses %j', (futures) => {
    const before = metrics().pending;
    expect(() => race(futures as never)).toThrow(TypeError);
    expect(metrics().pending).toBe(before);
  });
});

describe('race', () => {
  it('closes a handle that came about although another one was first', async () => {
    writeFileSync(join(dir, 'file'), 'x');
    const before = readdirSync('/proc/self/fd').length;
    for (let i = 0; i < 20; i++) {
      const winner = await race([File.open(join(dir, 'file')), File.open(join(dir, 'file'))]);
      await winner.close();
    }
    await submit(nop());
    expect(readdirSync('/proc/self/fd').length).toBe(before);
  });
});
