import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { File, readFile } from '@ouro/fs';
import { ETIMEDOUT } from '@ouro/native/abi';
import { TcpListener, TcpStream } from '@ouro/net';
import {
  batch,
  chain,
  type Future,
  link,
  metrics,
  Scope,
  sleep,
  spawn,
  submit,
  TaskGroup,
  timeout,
} from '@ouro/runtime';
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

/** A pipe that nobody writes to, as a descriptor of ours. */
const silent = (): Descriptor => new OrdinaryDescriptor(openSync(fifo(dir), 'r+'));

/** SQEs that `body` brings about. */
async function sqes(body: () => unknown): Promise<number> {
  await submitted();
  const before = metrics();
  await body();
  const after = metrics();
  return after.sqes + after.queued - before.sqes - before.queued;
}

describe('the timeout of an op', () => {
  it('is a linked timeout of the kernel: one SQE more, and no timer besides', async () => {
    await using pipe = silent();
    expect(await sqes(() => failure(submit(read(pipe, Buffer.alloc(1)), { timeout: 5 })))).toBe(2);
    expect(await sqes(() => submit(nop(), { timeout: 1000 }))).toBe(2);
  });

  it('that runs out rejects with ETIMEDOUT of the system call', async () => {
    await using pipe = silent();
    const error = await failure(submit(read(pipe, Buffer.alloc(1)), { timeout: 5 }));
    expect(error).toMatchObject({ code: 'ETIMEDOUT', errno: ETIMEDOUT, syscall: 'read' });
    expect(error.message).toBe('ETIMEDOUT: the operation timed out after 5 ms, read');
  });

  it('is told by its length, also where the path or the address belongs to the message', async () => {
    const path = fifo(dir);
    const opening = File.open(path, constants.O_WRONLY, { timeout: 5 });
    await expect(opening).rejects.toMatchObject({
      message: `ETIMEDOUT: the operation timed out after 5 ms, open '${path}'`,
      path,
    });
    await using pipe = silent();
    const linked = chain([link(read(pipe, Buffer.alloc(1)), { timeout: 5 }), nop()]);
    await expect(linked).rejects.toMatchObject({
      cause: { message: 'ETIMEDOUT: the operation timed out after 5 ms, read' },
    });
  });

  it('leaves nothing behind, whether it ran out or not', async () => {
    await leavesNothing(async () => {
      await using pipe = silent();
      await failure(submit(read(pipe, Buffer.alloc(1)), { timeout: 1 }));
      await submit(nop(), { timeout: FOREVER });
      await submit(write(pipe, 'x'), { timeout: FOREVER });
      await submit(read(pipe, Buffer.alloc(1)), { timeout: FOREVER });
    });
  });

  it('of 0 lets succeed what need not wait', async () => {
    await using pipe = silent();
    expect(await submit(nop(1), { timeout: 0 })).toBe(1);
    expect(await submit(write(pipe, 'x'), { timeout: 0 })).toBe(1);
    expect(await submit(read(pipe, Buffer.alloc(9)), { timeout: 0 })).toBe(1);
    await expect(submit(read(pipe, Buffer.alloc(9)), { timeout: 0 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
    });
  });

  it('of Infinity or undefined is none', async () => {
    expect(await sqes(() => submit(nop(), { timeout: Number.POSITIVE_INFINITY }))).toBe(1);
    expect(await sqes(() => submit(nop(), { timeout: undefined }))).toBe(1);
  });

  it.each([
    ['1', TypeError],
    [null, TypeError],
    [-1, RangeError],
    [Number.NaN, RangeError],
    [Number.NEGATIVE_INFINITY, RangeError],
    [2 ** 53, RangeError],
  ])('of %s is refused by whatever takes one', (value, kind) => {
    const options = { timeout: value as number };
    const before = metrics().pending;
    expect(() => submit(nop(), options)).toThrow(kind);
    expect(() => chain([nop()], options)).toThrow(kind);
    expect(() => batch([nop()], options)).toThrow(kind);
    expect(() => sleep(1, options)).toThrow(kind);
    expect(() => TaskGroup.run(() => {}, options)).toThrow(kind);
    expect(() => spawn(() => {}, options)).toThrow(kind);
    expect(() => readFile('/dev/null', options)).toThrow(kind);
    expect(() =>
      timeout(
        spawn(() => {}),
        value as number,
      ),
    ).toThrow(kind);
    expect(metrics().pending).toBe(before);
  });

  it('does not keep a scope or a signal when it is refused', () => {
    const scope = new Scope();
    expect(() => spawn(() => {}, { scope, timeout: -1 })).toThrow(RangeError);
    expect(scope.size).toBe(0);
  });

  it('says how many bytes had moved', async () => {
    const path = fifo(dir);
    await using file = await File.open(path, 'r+');
    const error = await failure(file.write(Buffer.alloc(1 << 20), null, { timeout: 10 }));
    expect(error).toMatchObject({ code: 'ETIMEDOUT', syscall: 'write', bytesTransferred: 65536 });
  });

  it("is not blamed for somebody else's cancelling", async () => {
    await using pipe = silent();
    const reading = submit(read(pipe, Buffer.alloc(1)), { timeout: FOREVER });
    await submitted();
    pipe.cancel('by the handle');
    await expect(reading).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'by the handle' });
  });

  it('is not blamed for the closing of the handle', async () => {
    const pipe = silent();
    const reading = submit(read(pipe, Buffer.alloc(1)), { timeout: FOREVER });
    await submitted();
    const closing = pipe.close();
    await expect(reading).rejects.toMatchObject({ code: 'ECANCELED', syscall: 'read' });
    await closing;
  });

  it('of one op is not that of the next on the same handle', async () => {
    await using pipe = silent();
    const short = submit(read(pipe, Buffer.alloc(1)), { timeout: 1 });
    const long = submit(read(pipe, Buffer.alloc(1)), { timeout: FOREVER });
    await expect(short).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    await submit(write(pipe, 'x'));
    expect(await long).toBe(1);
    await expect(submit(read(pipe, Buffer.alloc(1)), { timeout: 1 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
    });
  });

  it('does not touch the ops queued behind', async () => {
    await using pipe = silent();
    const all: Future<unknown>[] = [];
    for (let i = 0; i < 100; i++) {
      all.push(submit(read(pipe, Buffer.alloc(1)), { timeout: 1 }), submit(nop(i), { timeout: FOREVER }));
    }
    const settled = await Promise.allSettled(all);
    expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(100);
  });
});

describe('a timeout', () => {
  it('of a sleep', async () => {
    await leavesNothing(async () => {
      await expect(sleep(FOREVER, { timeout: 1 })).rejects.toMatchObject({
        code: 'ETIMEDOUT',
        syscall: 'timeout',
      });
    });
  });

  it('of opening a pipe that nobody reads', async () => {
    await leavesNothing(async () => {
      const opening = File.open(fifo(dir), constants.O_WRONLY, { timeout: 5 });
      await expect(opening).rejects.toMatchObject({ code: 'ETIMEDOUT', syscall: 'open' });
    });
  });

  it('of readFile of a pipe that nobody writes', async () => {
    const path = fifo(dir);
    await leavesNothing(async () => {
      const peer = openSync(path, 'r+');
      await expect(readFile(path, { timeout: 5 })).rejects.toMatchObject({
        code: 'ETIMEDOUT',
        errno: ETIMEDOUT,
      });
      writeSync(peer, 'half of it');
      await expect(readFile(path, { timeout: 20 })).rejects.toMatchObject({
        code: 'ETIMEDOUT',
        bytesTransferred: 10,
      });
      closeSync(peer);
    });
  });

  it('of a connection: accept, read, write, and reading beside a loop', async () => {
    await leavesNothing(async () => {
      await using listener = await TcpListener.bind({ host: '127.0.0.1' });
      await expect(listener.accept({ timeout: 5 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
      const accepting = listener.accept();
      await using client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
      await using server = await accepting;
      await expect(client.read(Buffer.alloc(1), { timeout: 5 })).rejects.toMatchObject({
        code: 'ETIMEDOUT',
        syscall: 'read',
      });
      const flood = client.writeAll(Buffer.alloc(64 << 20), { timeout: 30 });
      const behind = client.writeAll('x', { timeout: 5 });
      await expect(behind).rejects.toMatchObject({ code: 'ETIMEDOUT' });
      const error = await failure(flood);
      expect(error).toMatchObject({ code: 'ETIMEDOUT', syscall: 'write' });
      expect(error.bytesTransferred).toBeGreaterThan(0);
      // What was in time is there.
      expect(await server.read(Buffer.alloc(10), { timeout: FOREVER })).toBe(10);
    });
  });

  it('of a chain, a batch, a task group and a task', async () => {
    await leavesNothing(async () => {
      await using pipe = silent();
      const late = { code: 'ETIMEDOUT', errno: ETIMEDOUT };
      await expect(chain([nop(), pause(FOREVER), nop()], { timeout: 5 })).rejects.toMatchObject(late);
      await expect(batch([nop(), read(pipe, Buffer.alloc(1))], { timeout: 5 })).rejects.toMatchObject(late);
      await expect(
        TaskGroup.run(
          async (group) => {
            group.spawn((task) => sleep(FOREVER, { scope: task.scope }));
            group.spawn((task) => submit(read(pipe, Buffer.alloc(1)), { scope: task.scope }));
          },
          { timeout: 5 },
        ),
      ).rejects.toMatchObject(late);
      await expect(
        spawn((task) => sleep(FOREVER, { scope: task.scope }), { timeout: 5 }),
      ).rejects.toMatchObject(late);
    });
  });

  it('leaves no timer behind when what it is for was quicker', async () => {
    await leavesNothing(async () => {
      const options = { timeout: FOREVER };
      await chain([nop(), nop()], options);
      await batch([nop(), nop()], options);
      await TaskGroup.run(() => sleep(0), options);
      await spawn(() => sleep(0), options);
      await timeout(sleep(0), FOREVER);
      await readFile('/dev/null', options);
      const fd = await submit(open('/dev/null'), options);
      closeSync(fd);
      await failure(chain([open(`${dir}/nowhere`)], options));
    });
  });
});

describe('timeout(future, ms)', () => {
  it('is the same future', async () => {
    const future = sleep(0);
    expect(timeout(future, 1000)).toBe(future);
    await future;
  });

  it('cancels it when the time has run out, and it rejects once it has let go', async () => {
    await using pipe = silent();
    const reading = submit(read(pipe, Buffer.alloc(1)));
    await expect(timeout(reading, 5)).rejects.toMatchObject({
      message: 'ETIMEDOUT: the operation timed out after 5 ms, read',
      code: 'ETIMEDOUT',
      errno: ETIMEDOUT,
      syscall: 'read',
    });
    expect(pipe.idle).toBe(true);
  });

  it.each([[undefined], [Promise.resolve()], [{}]])('refuses %s', (value) => {
    expect(() => timeout(value as never, 1)).toThrow(TypeError);
  });
});

describe('a timeout of what is no op', () => {
  it('keeps the process alive until it has run out', async () => {
    const { code, stdout } = await runProgram(`
      import { BufferPool, TaskGroup } from '@ouro/runtime';
      const pool = new BufferPool({ count: 1, size: 10 });
      pool.lease();
      await pool.acquire({ timeout: 20 }).catch((error) => console.log(error.code));
      await TaskGroup.run((group) => new Promise((_, failed) => {
        group.scope.signal.addEventListener('abort', () => failed(group.scope.signal.reason));
      }), { timeout: 20 }).catch((error) => console.log(error.code));
    `);
    expect(stdout).toBe('ETIMEDOUT\nETIMEDOUT\n');
    expect(code).toBe(0);
  });
});
