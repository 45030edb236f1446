import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { batch, chain, metrics, Op, opKind, Scope, submit } from '@ouro/runtime';
import { type Descriptor, OrdinaryDescriptor } from '@ouro/runtime/driver';
import { nop } from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import {
  FOREVER,
  failure,
  fifo,
  leavesNothing,
  open,
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

/** An op of an opcode that no kernel has, done by `result`. */
class Elsewhere extends Op<number> {
  readonly #result: () => PromiseLike<number>;

  constructor(result: () => PromiseLike<number>) {
    super(opKind<number>('future'), 250);
    this.#result = result;
  }

  override elsewhere(): PromiseLike<number> {
    return this.#result();
  }
}

describe('a batch', () => {
  it('resolves to what each op does, in their order', async () => {
    expect(await batch([nop(1), pause(3), nop(2)])).toEqual([1, undefined, 2]);
    expect(await batch([])).toEqual([]);
    expect(await batch([], { settle: true })).toEqual([]);
  });

  it('of hundreds of ops is one system call', async () => {
    const { stdout } = await runProgram(`
      import { batch, metrics, run, submit } from '@ouro/runtime';
      import { nop } from '@ouro/runtime/ops';
      await run(async () => {
        // (Not the first turns, in which libuv has its say too.)
        for (let i = 0; i < 5; i++) await batch([nop(), nop()]);
        const before = metrics();
        const values = await batch(Array.from({ length: 500 }, (_, i) => nop(i)));
        const after = metrics();
        console.log(values.every((value, i) => value === i), after.sqes - before.sqes, after.enters - before.enters, after.batches - before.batches);
      }, { entries: 512 });
    `);
    expect(stdout).toBe('true 500 1 1\n');
  });

  it('may have more ops than the queue has entries', async () => {
    const values = await batch(Array.from({ length: 10_000 }, (_, i) => nop(i)));
    expect(values).toHaveLength(10_000);
    expect(values.every((value, i) => value === i)).toBe(true);
  });

  it('takes the same op twice, with its scratch', async () => {
    await leavesNothing(async () => {
      const opening = open(path);
      const fds = await batch([opening, opening, opening]);
      expect(new Set(fds).size).toBe(3);
      for (const fd of fds) {
        expect(readFileSync(fd, 'utf8')).toBe('content');
        closeSync(fd);
      }
    });
  });

  it('rejects with the first failure, which cancels the others, once all have ended', async () => {
    await leavesNothing(async () => {
      await using pipe = silent();
      const running = batch([nop(1), read(pipe, Buffer.alloc(1)), open(nowhere), pause(FOREVER)]);
      const error = await failure(running);
      expect(error).toMatchObject({ code: 'ENOENT', syscall: 'open', path: nowhere, index: 2 });
      expect(pipe.idle).toBe(true);
      expect(error.results).toMatchObject([
        { status: 'fulfilled', value: 1 },
        { status: 'rejected', reason: { code: 'ECANCELED' } },
        { status: 'rejected', reason: { code: 'ENOENT' } },
        { status: 'rejected' },
      ]);
    });
  });

  it('that fails closes what it has opened', async () => {
    await leavesNothing(async () => {
      await expect(batch([open(path), open(nowhere), open(path)])).rejects.toMatchObject({ index: 1 });
    });
  });

  it('with settle lets each succeed or fail for itself', async () => {
    await leavesNothing(async () => {
      const [first, second, third] = await batch([nop(1), open(nowhere), open(path)], { settle: true });
      expect(first).toEqual({ status: 'fulfilled', value: 1 });
      expect(second).toMatchObject({ status: 'rejected', reason: { code: 'ENOENT', path: nowhere } });
      if (third.status === 'fulfilled') closeSync(third.value);
      else throw third.reason;
    });
  });

  it('whose decode throws fails with that', async () => {
    const BAD = opKind<never>('mine', {
      decode: () => {
        throw new TypeError('cannot decode');
      },
    });
    const bad = (): Op<never> => new Op(BAD, 0);
    await leavesNothing(async () => {
      await expect(batch([nop(), bad()])).rejects.toMatchObject({ message: 'cannot decode', index: 1 });
      const settled = await batch([nop(4), bad()], { settle: true });
      expect(settled).toMatchObject([{ value: 4 }, { reason: { message: 'cannot decode' } }]);
    });
  });

  it('with a hole is refused, and nothing of it begins', async () => {
    await leavesNothing(async () => {
      await using pipe = silent();
      const ops = [read(pipe, Buffer.alloc(1)), read(pipe, Buffer.alloc(1))];
      delete ops[1];
      expect(() => batch(ops)).toThrow(TypeError);
      expect(() => chain(ops)).toThrow(TypeError);
      expect(pipe.idle).toBe(true);
    });
  });

  it('on a closed handle refuses that op', async () => {
    const pipe = silent();
    const op = read(pipe, Buffer.alloc(1));
    await pipe.close();
    await expect(batch([nop(), op])).rejects.toMatchObject({ code: 'EBADF', index: 1 });
    const settled = await batch([nop(4), op], { settle: true });
    expect(settled).toMatchObject([
      { value: 4 },
      { status: 'rejected', reason: { code: 'EBADF', syscall: 'read' } },
    ]);
  });

  it('does elsewhere what the kernel lacks, or refuses it', async () => {
    await leavesNothing(async () => {
      expect(await batch([nop(1), new Elsewhere(async () => 2)])).toEqual([1, 2]);
      await expect(batch([nop(1), new Op(opKind('future'), 250)])).rejects.toMatchObject({
        code: 'ERR_OURO_UNSUPPORTED',
        index: 1,
      });
      await expect(batch([new Elsewhere(async () => -2)])).rejects.toMatchObject({
        code: 'ENOENT',
        index: 0,
      });
    });
  });

  it('ends when what is done elsewhere rejects or throws', async () => {
    await leavesNothing(async () => {
      await using pipe = silent();
      const rejecting = new Elsewhere(() => Promise.reject(new Error('later')));
      const throwing = new Elsewhere(() => {
        throw new Error('at once');
      });
      await expect(batch([read(pipe, Buffer.alloc(1)), rejecting])).rejects.toThrow('later');
      await expect(batch([read(pipe, Buffer.alloc(1)), throwing])).rejects.toThrow('at once');
      const settled = await batch([nop(1), rejecting, throwing], { settle: true });
      expect(settled).toMatchObject([{ value: 1 }, { status: 'rejected' }, { status: 'rejected' }]);
    });
  });

  it('truncates through the thread pool where the kernel cannot', async () => {
    const target = join(dir, 'truncated');
    writeFileSync(target, '0123456789');
    const { stdout, stderr } = await runProgram(
      `
        import { openSync } from 'node:fs';
        import { batch, metrics } from '@ouro/runtime';
        import { nop } from '@ouro/runtime/ops';
        import { ftruncate } from '@ouro/fs/ops';
        const fd = openSync(process.argv[1], 'r+');
        console.log(await batch([nop(1), ftruncate(fd, 4), nop(2)]), metrics().sqes);
        await batch([ftruncate(openSync(process.argv[1]), 4)]).catch((error) => console.log(error.code, error.index));
      `,
      { env: { OURO_WITHOUT: 'FTRUNCATE', OURO_DRIVER: 'uring' }, args: [target] },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('[ 1, undefined, 2 ] 2\nEINVAL 0\n');
    expect(readFileSync(target, 'utf8')).toBe('0123');
  });

  it.each([[undefined], ['ops'], [[{}]], [[nop(), null]]])('refuses %j', (ops) => {
    expect(() => batch(ops as never)).toThrow(TypeError);
  });
});

describe('a cancelled batch', () => {
  it('ends with an AbortError that says what came of each op', async () => {
    await leavesNothing(async () => {
      await using pipe = silent();
      const running = batch([nop(1), read(pipe, Buffer.alloc(1)), pause(FOREVER)]);
      await submitted();
      running.cancel('enough');
      const error = await failure(running);
      expect(error).toMatchObject({ code: 'ABORT_ERR', cause: 'enough' });
      expect(error.results).toMatchObject([
        { status: 'fulfilled', value: 1 },
        { status: 'rejected', reason: { code: 'ABORT_ERR' } },
        { status: 'rejected', reason: { code: 'ABORT_ERR' } },
      ]);
    });
  });

  it('with settle resolves, each op having been quicker or not', async () => {
    const running = batch([nop(1), pause(FOREVER)], { settle: true });
    await submitted();
    running.cancel('enough');
    expect(await running).toMatchObject([
      { status: 'fulfilled', value: 1 },
      { status: 'rejected', reason: { code: 'ABORT_ERR', cause: 'enough' } },
    ]);
  });

  it('that had done all there was to do succeeds', async () => {
    const running = batch([nop(1), nop(2)]);
    running.cancel();
    expect(await running).toEqual([1, 2]);
    await leavesNothing(async () => {
      const opening = batch([nop(1), open(path)]);
      opening.cancel();
      await expect(opening).rejects.toMatchObject({ code: 'ABORT_ERR' });
    });
  });

  it('is cancelled by scope, timeout, or a handle of one of its ops', async () => {
    await using pipe = silent();
    const scope = new Scope();
    const ops = (): [Op<number>, Op<void>] => [read(pipe, Buffer.alloc(1)), pause(FOREVER)];
    const byScope = batch(ops(), { scope });
    await submitted();
    scope.cancel('scope');
    await expect(byScope).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'scope' });
    await expect(batch(ops(), { timeout: 5 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    const byHandle = batch(ops());
    await submitted();
    pipe.cancel('handle');
    await expect(byHandle).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'handle' });
  });

  it('whose handle is closed fails with ECANCELED, and the handle waits for it', async () => {
    await leavesNothing(async () => {
      const pipe = silent();
      const running = batch([read(pipe, Buffer.alloc(1)), pause(FOREVER)]);
      await submitted();
      const closing = pipe.close();
      await expect(running).rejects.toMatchObject({ code: 'ECANCELED', syscall: 'read' });
      await closing;
    });
  });

  it('leaves the process free to end if its handle does', async () => {
    const { stdout, code } = await runProgram(
      `
        import { batch, chain, stream, submit, Op, opKind } from '@ouro/runtime';
        import { nop } from '@ouro/runtime/ops';
        import { OrdinaryDescriptor } from '@ouro/runtime/driver';
        import { openSync } from 'node:fs';
        const pipe = new OrdinaryDescriptor(openSync(process.argv[1], 'r+'));
        pipe.setRef(false);
        const poll = (multishot = 0) => new Op(opKind('poll', { endsWithHandle: true }), 6, 0, 0, multishot, 1).on(pipe);
        batch([poll()]); chain([poll()]); submit(poll()); stream(poll(1)).next();
        await submit(nop());
        console.log('end');
      `,
      { args: [fifo(dir)] },
    );
    expect(stdout).toBe('end\n');
    expect(code).toBe(0);
  });

  it('leaves nothing of thousands of ops', async () => {
    await leavesNothing(async () => {
      const running = batch(Array.from({ length: 3000 }, () => pause(FOREVER)));
      running.cancel();
      await failure(running);
      expect(metrics().overflows).toBe(0);
      const file = await submit(open(path));
      expect(await failure(batch([write(file, 'x', 0), nop()]))).toMatchObject({ code: 'EBADF' });
      closeSync(file);
    });
  });
});
