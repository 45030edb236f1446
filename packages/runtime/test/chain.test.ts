import { closeSync, constants, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ENOENT } from '@ouro/native/abi';
import {
  AbortError,
  ChainError,
  chain,
  files,
  link,
  metrics,
  Op,
  opKind,
  Scope,
  sleep,
  submit,
} from '@ouro/runtime';
import { type Descriptor, OrdinaryDescriptor } from '@ouro/runtime/driver';
import { close, nop } from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import { polls } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';
import {
  FOREVER,
  failure,
  fifo,
  leavesNothing,
  open,
  openInto,
  POLL,
  pause,
  read,
  submitted,
  temporaryDirectory,
  write,
} from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
const nowhere = join(dir, 'nowhere');
writeFileSync(path, 'content');
const silent = (): Descriptor => new OrdinaryDescriptor(openSync(fifo(dir), 'r+'));

describe('a chain', () => {
  it('runs its ops one after the other, and resolves to what each of them does', async () => {
    expect(await chain([nop(1), pause(2), nop(3)])).toEqual([1, undefined, 3]);
    expect(await chain([])).toEqual([]);
    expect(await chain([nop(5)])).toEqual([5]);
  });

  it('writes, and reads back what it wrote', async () => {
    const fd = openSync(join(dir, 'written'), 'w+');
    const buffer = Buffer.alloc(5);
    expect(await chain([write(fd, 'hello', 0), read(fd, buffer, 0)])).toEqual([5, 5]);
    expect(buffer.toString()).toBe('hello');
    closeSync(fd);
  });

  it('opens, reads and closes in one submission, through a direct descriptor', async () => {
    await leavesNothing(async () => {
      const place = files().allocate();
      const buffer = Buffer.alloc(7);
      await submitted();
      const before = metrics();
      const [opened, count] = await chain([openInto(path, place), read(place, buffer, 0), close(place)]);
      expect(opened).toBe(place);
      expect([count, buffer.toString()]).toEqual([7, 'content']);
      expect(place.closed).toBe(true);
      expect(metrics().sqes - before.sqes).toBe(3);
    });
  });

  it('that fails says which link, why, and what came of each', async () => {
    const error = await failure(chain([nop(1), open(nowhere), nop(2)]));
    expect(error).toBeInstanceOf(ChainError);
    expect(error).toMatchObject({
      name: 'ChainError',
      index: 1,
      code: 'ENOENT',
      errno: ENOENT,
      syscall: 'open',
    });
    expect(error.message).toContain(
      `Link 1 of 3 (open) failed: ENOENT: no such file or directory, open '${nowhere}'`,
    );
    expect(error.cause).toMatchObject({ code: 'ENOENT', path: nowhere });
    expect(error.results).toMatchObject([
      { status: 'fulfilled', value: 1 },
      { status: 'rejected', reason: { code: 'ENOENT' } },
      { status: 'rejected', reason: { code: 'ECANCELED' } },
    ]);
  });

  it('does not run what is behind a failure', async () => {
    const fd = openSync(path, 'r+');
    await expect(chain([open(nowhere), write(fd, 'WRONG', 0)])).rejects.toMatchObject({ index: 0 });
    expect(readFileSync(path, 'utf8')).toBe('content');
    closeSync(fd);
  });

  it('runs what is tied hard, whatever came before', async () => {
    const target = join(dir, 'hard');
    const fd = openSync(target, 'w');
    const error = await failure(chain([link(open(nowhere), { hard: true }), write(fd, 'done', 0)]));
    expect(error).toMatchObject({
      index: 0,
      code: 'ENOENT',
      results: [{}, { status: 'fulfilled', value: 4 }],
    });
    expect(readFileSync(target, 'utf8')).toBe('done');
    closeSync(fd);
  });

  it('that moves less than asked ends there, with ERR_OURO_SHORT of that link', async () => {
    const fd = openSync(path, 'r');
    const error = await failure(chain([nop(), read(fd, Buffer.alloc(100), 0), nop()]));
    expect(error).toMatchObject({ index: 1, code: 'ERR_OURO_SHORT', syscall: 'read' });
    expect(error.message).toContain('read moved 7 of 100 bytes');
    expect(error.results).toMatchObject([{ value: 0 }, { value: 7 }, { status: 'rejected' }]);
    closeSync(fd);
  });

  it('may end with a short transfer', async () => {
    const fd = openSync(path, 'r');
    expect(await chain([nop(), read(fd, Buffer.alloc(100), 0)])).toEqual([0, 7]);
    closeSync(fd);
  });

  it('whose decode throws fails at that link', async () => {
    const BAD = opKind<never>('mine', {
      decode: () => {
        throw new TypeError('cannot decode');
      },
    });
    const error = await failure(chain([nop(1), new Op(BAD, 0), nop(2)]));
    expect(error).toMatchObject({ index: 1, syscall: 'mine', cause: { message: 'cannot decode' } });
    expect(error.results).toMatchObject([{ value: 1 }, { status: 'rejected' }, { value: 2 }]);
  });

  it('takes the same op twice, with its scratch', async () => {
    await leavesNothing(async () => {
      const opening = open(path);
      const fds = await chain([opening, opening, opening]);
      expect(new Set(fds).size).toBe(3);
      for (const fd of fds) closeSync(fd);
    });
  });

  it.each([
    [undefined, TypeError],
    ['ops', TypeError],
    [[{}], TypeError],
    [[nop(), null], TypeError],
  ])('refuses %j', (links, kind) => {
    expect(() => chain(links as never)).toThrow(kind);
  });

  it('refuses bad ties', () => {
    expect(() => link({} as never)).toThrow(TypeError);
    expect(() => link(nop(), { timeout: -1 })).toThrow(RangeError);
    expect(() => link(nop(), { timeout: 'x' as never })).toThrow(TypeError);
  });

  it('on a closed handle or place is refused as a whole', async () => {
    const pipe = silent();
    const place = files().allocate();
    const ops = [read(pipe, Buffer.alloc(1)), openInto(path, place), close(place)];
    await pipe.close();
    await place.close();
    const before = metrics();
    for (const op of ops) await expect(chain([nop(), op])).rejects.toMatchObject({ code: 'EBADF' });
    expect(metrics().sqes + metrics().queued).toBe(before.sqes + before.queued);
  });

  it('of an op that the kernel lacks is refused as a whole', async () => {
    const { stdout } = await runProgram(
      `
        import { chain, metrics } from '@ouro/runtime';
        import { nop } from '@ouro/runtime/ops';
        import { ftruncate } from '@ouro/fs/ops';
        await chain([nop()]);
        const { sqes } = metrics();
        await chain([nop(), ftruncate(5, 0)]).catch((error) => console.log(error.code, error.message, metrics().sqes - sqes));
      `,
      { env: { OURO_WITHOUT: 'FTRUNCATE' } },
    );
    expect(stdout).toBe(
      `ERR_OURO_UNSUPPORTED ${polls ? 'The poll engine' : 'This kernel'} cannot do IORING_OP_FTRUNCATE (Linux 6.9), ftruncate 0\n`,
    );
  });

  it('is never torn apart by a full queue, nor drags along what is queued behind', async () => {
    const { stdout } = await runProgram(`
      import { chain, metrics, run, submit, Op, opKind, link } from '@ouro/runtime';
      import { nop } from '@ouro/runtime/ops';
      const fails = () => nop(-5);
      await run(async () => {
        await submit(nop());
        const out = [];
        for (let queued = 0; queued <= 8; queued++) {
          const before = Array.from({ length: queued }, () => submit(nop()));
          // Torn apart, the second half would not know that the first link failed.
          const torn = chain([fails(), nop(), nop(), nop(), nop(), nop(), nop(), nop()]).catch((error) => error);
          const behind = submit(nop(9));
          const error = await torn;
          const cancelled = error.results.filter(({ reason }) => reason?.code === 'ECANCELED').length;
          await Promise.all(before);
          out.push(error.index + ':' + cancelled + ':' + (await behind));
        }
        console.log(new Set(out).size, out[0]);
        // With timeouts that makes 8 SQEs.
        const timed = await chain([1, 2, 3, 4].map((n) => link(nop(n), { timeout: 1000 })));
        console.log(timed.join());
        for (const links of [Array(9).fill(nop()), Array(5).fill(link(nop(), { timeout: 1 }))]) {
          const { pending } = metrics();
          try { chain(links); } catch (error) {
            console.log(error.name, error.code, metrics().pending - pending, error.message.includes('which has 8 entries'));
          }
        }
        console.log(await submit(nop(3)), metrics().pending, metrics().inFlight);
      }, { entries: 8, cqEntries: 64 });
    `);
    expect(stdout).toBe(
      '1 0:7:9\n1,2,3,4\nRangeError ERR_OUT_OF_RANGE 0 true\nRangeError ERR_OUT_OF_RANGE 0 true\n3 0 0\n',
    );
  });

  it('that is too long holds on to no handle', async () => {
    await using pipe = silent();
    expect(() => chain(Array.from({ length: 5000 }, () => read(pipe, Buffer.alloc(1))))).toThrow(RangeError);
    expect(pipe.idle).toBe(true);
  });
});

describe('the timeout of a link', () => {
  const late = { code: 'ETIMEDOUT', syscall: 'read' };

  it.each([
    ['first', 0],
    ['middle', 1],
    ['last', 2],
  ])('ends the chain where it is the %s', async (_name, at) => {
    await leavesNothing(async () => {
      await using pipe = silent();
      const links = [link(nop()), link(nop()), link(nop())];
      links[at] = link(read(pipe, Buffer.alloc(1)), { timeout: 5 });
      const error = await failure(chain(links));
      expect(error).toMatchObject({ index: at, ...late });
      expect(error).toBeInstanceOf(ChainError);
      expect(error.results).toHaveLength(3);
    });
  });

  it('does not end what is tied to it hard', async () => {
    await using pipe = silent();
    const error = await failure(
      chain([link(read(pipe, Buffer.alloc(1)), { timeout: 5, hard: true }), nop(7)]),
    );
    expect(error).toMatchObject({ index: 0, ...late, results: [{}, { status: 'fulfilled', value: 7 }] });
  });

  it('that is not needed changes nothing', async () => {
    await leavesNothing(async () => {
      const timeout = FOREVER;
      expect(
        await chain([link(nop(1), { timeout }), link(nop(2), { timeout }), link(nop(3), { timeout })]),
      ).toEqual([1, 2, 3]);
      const error = await failure(
        chain([link(nop(1), { timeout }), link(open(nowhere), { timeout }), link(nop(), { timeout })]),
      );
      expect(error).toMatchObject({ index: 1, code: 'ENOENT' });
    });
  });

  it('works for ops that a thread of the kernel does', async () => {
    await leavesNothing(async () => {
      const waits = open(fifo(dir), constants.O_WRONLY | constants.O_CREAT);
      const error = await failure(chain([nop(), link(waits, { timeout: 5 }), nop()]));
      expect(error).toMatchObject({ index: 1, code: 'ETIMEDOUT', syscall: 'open' });
    });
  });

  it('is beside that of the whole', async () => {
    await using pipe = silent();
    const links = [link(read(pipe, Buffer.alloc(1)), { timeout: FOREVER })];
    const error = await failure(chain(links, { timeout: 5 }));
    expect(error).toMatchObject({ code: 'ETIMEDOUT' });
    expect(error).not.toBeInstanceOf(ChainError);
    await expect(chain([link(pause(FOREVER), { timeout: 5 })], { timeout: FOREVER })).rejects.toMatchObject({
      index: 0,
      code: 'ETIMEDOUT',
    });
  });
});

describe('a cancelled chain', () => {
  it('ends with an AbortError that says what came of each link', async () => {
    await leavesNothing(async () => {
      const running = chain([nop(1), pause(FOREVER), nop(2)]);
      await submitted();
      await submitted();
      running.cancel('enough');
      const error = await failure(running);
      expect(error).toBeInstanceOf(AbortError);
      expect(error).toMatchObject({ code: 'ABORT_ERR', cause: 'enough' });
      expect(error.results).toMatchObject([{ value: 1 }, { status: 'rejected' }, { status: 'rejected' }]);
    });
  });

  it('ends wherever it is: what was quicker than the cancelling does not let it wait on', async () => {
    await leavesNothing(async () => {
      await using pipe = silent();
      for (let round = 0; round < 200; round++) {
        const running = chain([nop(), nop(), read(pipe, Buffer.alloc(1)), nop()]);
        // Before it is submitted, while it runs, or later.
        if (round % 4 === 1) await submitted();
        if (round % 4 === 2) await sleep(0);
        if (round % 4 === 3) queueMicrotask(() => running.cancel());
        else running.cancel();
        expect(await failure(running)).toMatchObject({ code: 'ABORT_ERR' });
      }
    });
  });

  it('ends when what is tied hard would go on', async () => {
    await leavesNothing(async () => {
      const running = chain([
        link(pause(FOREVER), { hard: true }),
        link(pause(FOREVER), { hard: true }),
        pause(FOREVER),
      ]);
      await submitted();
      running.cancel();
      await expect(running).rejects.toMatchObject({ code: 'ABORT_ERR' });
    });
  });

  it('closes what is closed at its end, and what it has opened', async () => {
    await leavesNothing(async () => {
      const place = files().allocate();
      const running = chain([openInto(path, place), link(pause(FOREVER), { hard: true }), close(place)]);
      await submitted();
      running.cancel();
      await failure(running);
      expect(place.closed).toBe(true);
      const opening = chain([open(path), pause(FOREVER)]);
      await submitted();
      opening.cancel();
      await failure(opening);
    });
  });

  it('that had done all there was to do succeeds', async () => {
    const running = chain([nop(1), nop(2)]);
    running.cancel();
    expect(await running).toEqual([1, 2]);
    await leavesNothing(async () => {
      // But not if it has opened something, which nobody would close.
      const opening = chain([nop(), open(path)]);
      opening.cancel();
      await expect(opening).rejects.toMatchObject({ code: 'ABORT_ERR' });
    });
  });

  it('is cancelled by scope, signal, or a handle of one of its ops', async () => {
    await using pipe = silent();
    const scope = new Scope();
    const controller = new AbortController();
    const ops = (): [Op<number>, Op<number>] => [nop(), read(pipe, Buffer.alloc(1))];
    const byScope = chain(ops(), { scope });
    const bySignal = chain(ops(), { signal: controller.signal });
    const byHandle = chain(ops());
    await submitted();
    scope.cancel('scope');
    await expect(byScope).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'scope' });
    controller.abort('signal');
    await expect(bySignal).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'signal' });
    pipe.cancel('handle');
    await expect(byHandle).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'handle' });
  });

  it('whose handle is closed fails with ECANCELED, and the handle waits for it', async () => {
    await leavesNothing(async () => {
      const pipe = silent();
      const running = chain([nop(), read(pipe, Buffer.alloc(1)), nop()]);
      await submitted();
      const closing = pipe.close();
      await expect(running).rejects.toMatchObject({
        name: 'ChainError',
        index: 1,
        code: 'ECANCELED',
        syscall: 'read',
      });
      await closing;
    });
  });

  it('lets writing be finished when the handle is closed', async () => {
    await leavesNothing(async () => {
      const target = join(dir, 'finished');
      const file = new OrdinaryDescriptor(openSync(target, 'w'));
      const running = chain([pause(20), write(file, 'all of it', 0)]);
      await submitted();
      await file.close();
      expect(await running).toEqual([undefined, 9]);
      expect(readFileSync(target, 'utf8')).toBe('all of it');
    });
  });
});

describe('what a failed chain has opened', () => {
  it('is closed, and its place can be used again', async () => {
    await leavesNothing(async () => {
      const place = files().allocate();
      for (let round = 0; round < 5; round++) {
        const error = await failure(chain([openInto(path, place), open(nowhere), close(place)]));
        expect(error).toMatchObject({ index: 1, code: 'ENOENT' });
        expect(place.closed).toBe(false);
        await expect(submit(read(place, Buffer.alloc(1), 0))).rejects.toMatchObject({ code: 'EBADF' });
      }
      await submit(openInto(path, place));
      expect(await submit(read(place, Buffer.alloc(9), 0))).toBe(7);
      await place.close();
    });
  });

  it('is closed once: not what somebody else has opened there since', async () => {
    await leavesNothing(async () => {
      const place = files().allocate();
      const failing = chain([openInto(path, place), pause(30), open(nowhere)]);
      await submitted();
      await place.close();
      const other = files().allocate();
      await submit(openInto(path, other));
      await expect(failing).rejects.toMatchObject({ index: 2 });
      await submitted();
      expect(await submit(read(other, Buffer.alloc(9), 0))).toBe(7);
      await other.close();
    });
  });

  it('of ordinary descriptors too', async () => {
    await leavesNothing(async () => {
      await failure(chain([open(path), open(path), open(nowhere), open(path)]));
      await expect.poll(() => metrics().inFlight, POLL).toBe(0);
    });
  });
});
