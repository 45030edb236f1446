import { getEventListeners } from 'node:events';
import { openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { File } from '@ouro/fs';
import { batch, chain, metrics, Scope, sleep, spawn, stream, submit, TaskGroup } from '@ouro/runtime';
import { type Descriptor, OrdinaryDescriptor } from '@ouro/runtime/driver';
import { nop } from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import {
  FOREVER,
  failure,
  failures,
  fifo,
  leavesNothing,
  open,
  pause,
  read,
  submitted,
  temporaryDirectory,
} from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
writeFileSync(path, 'content');
const silent = (): Descriptor => new OrdinaryDescriptor(openSync(fifo(dir), 'r+'));
const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length;

describe('a scope', () => {
  it('cancels all that is in it, with the reason', async () => {
    await leavesNothing(async () => {
      await using pipe = silent();
      const scope = new Scope();
      const all = [
        sleep(FOREVER, { scope }),
        submit(read(pipe, Buffer.alloc(1)), { scope }),
        chain([nop(), pause(FOREVER)], { scope }),
        batch([pause(FOREVER), pause(FOREVER)], { scope }),
        TaskGroup.run((group) => void group.spawn((task) => sleep(FOREVER, { scope: task.scope })), {
          scope,
        }),
        spawn((task) => sleep(FOREVER, { scope: task.scope }), { scope }),
      ];
      await submitted();
      expect(scope.size).toBe(6);
      scope.cancel('enough');
      for (const error of await failures(all)) {
        expect(error).toMatchObject({ code: 'ABORT_ERR', cause: 'enough' });
      }
      expect(scope.size).toBe(0);
    });
  });

  it('lets go of what has settled', async () => {
    const scope = new Scope();
    await submit(nop(), { scope });
    await chain([nop()], { scope });
    await batch([nop()], { scope });
    await spawn(() => {}, { scope });
    await failure(submit(open(join(dir, 'nowhere')), { scope }));
    await failure(chain([open(join(dir, 'nowhere'))], { scope }));
    expect(scope.size).toBe(0);
    scope.cancel();
  });

  it('that has been cancelled refuses what comes later: nothing begins', async () => {
    const scope = new Scope();
    scope.cancel('too late');
    await using file = await File.open(path);
    const { sqes, queued } = metrics();
    const all = [
      sleep(0, { scope }),
      submit(nop(), { scope }),
      chain([nop()], { scope }),
      batch([nop()], { scope }),
      TaskGroup.run(() => {}, { scope }),
      file.read(Buffer.alloc(1), 0, { scope }),
    ];
    for (const error of await failures(all)) {
      expect(error).toMatchObject({ code: 'ABORT_ERR', cause: 'too late' });
    }
    expect(() => stream(nop(), { scope })).toThrow(expect.objectContaining({ cause: 'too late' }) as Error);
    expect(metrics().sqes + metrics().queued).toBe(sqes + queued);
  });

  it('that has been cancelled starts a task all the same, as a cancelled one', async () => {
    const scope = new Scope();
    scope.cancel('before');
    const task = spawn((self) => self.scope.reason, { scope });
    expect(task.state).toBe('cancelling');
    expect(await task).toBe('before');
  });

  it('is cancelled with the one that it is in, not the other way round', () => {
    const outer = new Scope();
    const inner = new Scope({ parent: outer });
    const innermost = new Scope({ parent: inner });
    innermost.cancel('innermost');
    expect([outer.cancelled, inner.cancelled, innermost.cancelled]).toEqual([false, false, true]);
    outer.cancel('outer');
    expect([inner.reason, innermost.reason]).toEqual(['outer', 'innermost']);
    expect(new Scope({ parent: outer })).toMatchObject({ cancelled: true, reason: 'outer' });
  });

  it('leaves the one above when it is cancelled or disposed', async () => {
    const outer = new Scope();
    const cancelled = new Scope({ parent: outer });
    const disposed = new Scope({ parent: outer });
    expect(outer.size).toBe(2);
    cancelled.cancel();
    disposed[Symbol.dispose]();
    expect(outer.size).toBe(0);
    const sleeping = sleep(5, { scope: disposed });
    outer.cancel();
    await sleeping; // no longer cancelled with it
  });

  it('is cancelled once: the first reason stays', () => {
    const scope = new Scope();
    scope.cancel('first');
    scope.cancel('second');
    expect(scope.reason).toBe('first');
  });

  it('can be had as a signal, before and after', () => {
    const scope = new Scope();
    const { signal } = scope;
    expect(scope.signal).toBe(signal);
    expect(signal.aborted).toBe(false);
    scope.cancel('why');
    expect([signal.aborted, signal.reason]).toEqual([true, 'why']);
    const late = new Scope();
    late.cancel('why');
    expect([late.signal.aborted, late.signal.reason]).toEqual([true, 'why']);
  });

  it('whose deadline has run out has a signal that says TimeoutError', async () => {
    const task = spawn(
      async (self) => {
        const { signal } = self;
        await sleep(FOREVER, { scope: self.scope }).catch(() => {});
        return (signal.reason as Error).name;
      },
      { timeout: 5 },
    );
    expect(await task).toBe('TimeoutError');
  });

  it('follows a signal', () => {
    const controller = new AbortController();
    const scope = new Scope({ signal: controller.signal });
    controller.abort('signal');
    expect(scope).toMatchObject({ cancelled: true, reason: 'signal' });
    expect(new Scope({ signal: controller.signal })).toMatchObject({ cancelled: true, reason: 'signal' });
  });

  it('cancels the others though one of them throws', () => {
    const scope = new Scope();
    const cancelled: number[] = [];
    scope.add({ cancel: () => void cancelled.push(1) });
    scope.add({
      cancel: () => {
        throw new Error('will not');
      },
    });
    scope.add({ cancel: () => void cancelled.push(3) });
    const { signal } = scope;
    expect(() => scope.cancel()).toThrow('will not');
    expect(cancelled).toEqual([1, 3]);
    expect(signal.aborted).toBe(true);
  });

  it.each([[{ signal: {} }], [{ parent: {} }], [{ signal: 5 }]])('refuses the options %j', (options) => {
    expect(() => new Scope(options as never)).toThrow(TypeError);
  });
});

describe('a signal', () => {
  it('has one listener for all that follows it, and none when nothing does', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const all = Array.from({ length: 1000 }, () => sleep(1, { signal }));
    expect(listeners(signal)).toBe(1);
    await Promise.all(all);
    expect(listeners(signal)).toBe(0);
    await Promise.all([submit(nop(), { signal }), chain([nop()], { signal }), spawn(() => {}, { signal })]);
    expect(listeners(signal)).toBe(0);
  });

  it('has none after it has aborted, when all have settled', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const all = Array.from({ length: 100 }, () => sleep(FOREVER, { signal }));
    controller.abort();
    await Promise.allSettled(all);
    expect(listeners(signal)).toBe(0);
  });

  it('that throws when it is listened to lets nothing begin, and costs nothing', async () => {
    await leavesNothing(async () => {
      await using pipe = silent();
      const { signal } = new AbortController();
      signal.addEventListener = () => {
        throw new Error('not to me');
      };
      await expect(submit(read(pipe, Buffer.alloc(1)), { signal })).rejects.toThrow('not to me');
      expect(pipe.idle).toBe(true);
      // What is made of several has begun by then: it is cancelled for that reason.
      const cause = expect.objectContaining({ message: 'not to me' }) as Error;
      await expect(chain([pause(FOREVER)], { signal })).rejects.toMatchObject({ code: 'ABORT_ERR', cause });
      await expect(batch([pause(FOREVER)], { signal })).rejects.toMatchObject({ code: 'ABORT_ERR', cause });
    });
  });

  it('whose abort handler of somebody else throws still cancels', async () => {
    const controller = new AbortController();
    const sleeping = sleep(FOREVER, { signal: controller.signal });
    controller.abort();
    await expect(sleeping).rejects.toMatchObject({ code: 'ABORT_ERR' });
  });
});

describe('a cancelled op', () => {
  it('settles when the kernel has let go, not sooner', async () => {
    await using pipe = silent();
    const reading = submit(read(pipe, Buffer.alloc(1)));
    await submitted();
    const before = metrics();
    reading.cancel();
    expect(metrics().pending).toBe(before.pending);
    await failure(reading);
    expect(metrics().pending).toBe(before.pending - 1);
    expect(metrics().cqes).toBeGreaterThan(before.cqes);
  });

  it('is cancelled once: the first reason stays', async () => {
    const sleeping = sleep(FOREVER);
    sleeping.cancel('first');
    sleeping.cancel('second');
    await expect(sleeping).rejects.toMatchObject({ cause: 'first' });
  });

  it('that opens something has it closed', async () => {
    await leavesNothing(async () => {
      const all = Array.from({ length: 100 }, () => submit(open(path)));
      for (const each of all) each.cancel();
      const settled = await Promise.allSettled(all);
      expect(settled.every(({ status }) => status === 'rejected')).toBe(true);
    });
  });
});
