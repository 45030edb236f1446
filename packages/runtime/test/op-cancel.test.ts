import { IORING_OP_POLL_ADD, IORING_OP_TIMEOUT } from '@ouro/native/abi';
import { files, metrics, sleep, stream, submit } from '@ouro/runtime';
import { asyncCancel, nop, POLLIN, pollAdd, timeout } from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { namedPipe } from './named-pipe.ts';

const AGES = 1_000_000;
const canceled = (syscall: string) => ({ code: 'ECANCELED', errno: -125, syscall });

describe('asyncCancel', () => {
  it('cancels the op that a future names', async () => {
    const waiting = submit(timeout(AGES));
    const other = submit(timeout(AGES));
    const cancelling = submit(asyncCancel({ target: waiting }));
    await expect(waiting).rejects.toMatchObject(canceled('timeout'));
    expect(await cancelling).toBe(1);
    expect(await submit(asyncCancel({ target: other, all: true }))).toBe(1);
    await expect(other).rejects.toMatchObject(canceled('timeout'));
  });

  it('is no timeout to an op that has one', async () => {
    using pipe = namedPipe();
    const waiting = submit(pollAdd(pipe.reader, POLLIN), { timeout: AGES });
    const cancelling = submit(asyncCancel({ target: waiting }));
    await expect(waiting).rejects.toMatchObject(canceled('poll'));
    expect(await cancelling).toBe(1);
  });

  it('ends a stream', async () => {
    using pipe = namedPipe();
    const ready = stream(pollAdd(pipe.reader, POLLIN, { multishot: true }));
    const next = ready.next();
    const cancelling = submit(asyncCancel({ target: ready }));
    await expect(next).rejects.toMatchObject(canceled('poll'));
    expect(await cancelling).toBe(1);
    expect(await ready.next()).toEqual({ done: true, value: undefined });
  });

  it('cancels one op, or all, on a descriptor', async () => {
    using pipe = namedPipe();
    using other = namedPipe();
    const three = Array.from({ length: 3 }, () => submit(pollAdd(pipe.reader, POLLIN)));
    const elsewhere = submit(pollAdd(other.reader, POLLIN));
    const settled = Promise.allSettled(three);
    expect(await submit(asyncCancel({ fd: pipe.reader }))).toBe(1);
    expect(await submit(asyncCancel({ fd: pipe.reader, all: true }))).toBe(2);
    for (const each of await settled) expect(each).toMatchObject({ reason: canceled('poll') });
    expect(await submit(asyncCancel({ fd: pipe.reader, all: true }))).toBe(0);
    elsewhere.cancel();
    await expect(elsewhere).rejects.toMatchObject({ code: 'ABORT_ERR' });
  });

  it('cancels ops on a direct descriptor', async () => {
    using pipe = namedPipe();
    await using direct = await files().register(pipe.reader);
    const waiting = submit(pollAdd(direct, POLLIN));
    const cancelling = submit(asyncCancel({ fd: direct, all: true }));
    await expect(waiting).rejects.toMatchObject(canceled('poll'));
    expect(await cancelling).toBe(1);
  });

  it('cancels by opcode, and by both', async () => {
    using pipe = namedPipe();
    const timeouts = [submit(timeout(AGES)), submit(timeout(AGES))];
    const poll = submit(pollAdd(pipe.reader, POLLIN));
    const settled = Promise.allSettled(timeouts);
    expect(await submit(asyncCancel({ opcode: IORING_OP_TIMEOUT, all: true }))).toBe(2);
    for (const each of await settled) expect(each).toMatchObject({ reason: canceled('timeout') });
    expect(await submit(asyncCancel({ fd: pipe.reader, opcode: IORING_OP_TIMEOUT, all: true }))).toBe(0);
    const cancelling = submit(asyncCancel({ fd: pipe.reader, opcode: IORING_OP_POLL_ADD }));
    await expect(poll).rejects.toMatchObject(canceled('poll'));
    expect(await cancelling).toBe(1);
  });

  it('fails where there is nothing to be cancelled', async () => {
    using pipe = namedPipe();
    await expect(submit(asyncCancel({ fd: pipe.reader }))).rejects.toMatchObject({
      code: 'ENOENT',
      syscall: 'async_cancel',
    });
    await expect(submit(asyncCancel({ fd: 99_999 }))).rejects.toMatchObject({ code: 'EBADF' });
  });

  it('is refused without a target, with two, and with one that has ended', async () => {
    const over = submit(nop());
    await over;
    expect(() => asyncCancel({})).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }));
    expect(() => asyncCancel({ target: 'any', fd: 1 })).toThrow(TypeError);
    expect(() => asyncCancel({ target: over })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_STATE' }),
    );
    expect(() => asyncCancel({ opcode: 256 })).toThrow(RangeError);
  });

  it('of any op leaves Node its event loop', async () => {
    const { stdout, stderr, code } = await runProgram(`
      import { spawn } from 'node:child_process';
      import { once } from 'node:events';
      import { readFile } from 'node:fs/promises';
      import { metrics, sleep, submit } from '@ouro/runtime';
      import { asyncCancel, timeout } from '@ouro/runtime/ops';
      const AGES = 1_000_000;
      const first = submit(timeout(AGES)).catch((error) => console.log(error.code, error.syscall));
      const counts = [];
      for (let i = 0; i < 20; i++) {
        await new Promise(setImmediate); // by now the watch on the loop is in the kernel
        const cancelling = i % 2 === 0 ? { target: 'any' } : { opcode: 6, all: true };
        const idle = submit(timeout(AGES));
        idle.catch((error) => counts.push(error.code));
        await submit(asyncCancel(cancelling));
        await sleep(1);
      }
      await first;
      const idle = submit(timeout(AGES)); // so that the wait is in the ring, whatever Node waits for
      await new Promise((done) => setTimeout(done, 5));
      await readFile('/proc/self/status');
      const child = spawn('echo', ['hello']);
      const [data] = await once(child.stdout, 'data');
      await once(child, 'exit');
      console.log(String(data).trim(), counts.every((code) => code === 'ECANCELED'), metrics().stale);
      idle.cancel();
      await idle.catch((error) => console.log(error.code));
      process.exit(); // the timeouts that were no polls
    `);
    expect(stderr).toBe('');
    expect(stdout).toBe('ECANCELED timeout\nhello true 0\nABORT_ERR\n');
    expect(code).toBe(0);
  });

  it('leaves nothing behind', async () => {
    await sleep(0);
    expect(metrics().pending).toBe(0);
  });
});
