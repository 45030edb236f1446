import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { AbortError, submit } from '@ouro/runtime';
import { futexWait, futexWaitv, futexWake } from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

const shared = (words = 4): Int32Array => new Int32Array(new SharedArrayBuffer(words * 4));
const again = (syscall: string) => ({ code: 'EAGAIN', errno: -11, syscall });

describe('futexWait and futexWake', () => {
  it('wait for, and wake, another thread', async () => {
    const words = shared();
    const worker = new Worker(
      `
        const { workerData: words } = require('node:worker_threads');
        (async () => {
          const { submit } = await import('@ouro/runtime');
          const { futexWait, futexWake } = await import('@ouro/runtime/ops');
          for (let turn = 1; turn <= 100; turn++) {
            while (Atomics.load(words, 0) < turn) await submit(futexWait(words, 0, turn - 1)).catch(() => {});
            Atomics.store(words, 1, turn);
            await submit(futexWake(words, 1));
          }
        })();
      `,
      { eval: true, workerData: words },
    );
    const exited = once(worker, 'exit');
    for (let turn = 1; turn <= 100; turn++) {
      Atomics.store(words, 0, turn);
      await submit(futexWake(words, 0));
      while (Atomics.load(words, 1) < turn) await submit(futexWait(words, 1, turn - 1)).catch(() => {});
    }
    await exited;
    expect([...words]).toEqual([100, 100, 0, 0]);
  });

  it('wake as many as are asked for', async () => {
    const words = shared();
    const three = Array.from({ length: 3 }, () => submit(futexWait(words, 2, 0)));
    expect(await submit(futexWake(words, 3))).toBe(0); // another word
    expect(await submit(futexWake(words, 2, 2))).toBe(2);
    expect(await submit(futexWake(words, 2))).toBe(1);
    await Promise.all(three);
  });

  it('wake those whose mask has a bit in common', async () => {
    const words = shared();
    const odd = submit(futexWait(words, 0, 0, 0b01));
    const even = submit(futexWait(words, 0, 0, 0b10));
    expect(await submit(futexWake(words, 0, 10, 0b10))).toBe(1);
    await even;
    expect(await submit(futexWake(words, 0, 10, 0b11))).toBe(1);
    await odd;
  });

  it('do not wait where the word is not what was expected', async () => {
    const words = shared();
    words[1] = -1;
    await expect(submit(futexWait(words, 1, 0))).rejects.toMatchObject(again('futex_wait'));
    const waiting = submit(futexWait(words, 1, -1));
    expect(await submit(futexWake(words, 1))).toBe(1);
    await waiting;
  });

  it('can be cancelled, and have timeouts', async () => {
    const words = shared();
    const waiting = submit(futexWait(words, 0, 0));
    waiting.cancel();
    await expect(waiting).rejects.toThrow(AbortError);
    await expect(submit(futexWait(words, 0, 0), { timeout: 5 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    expect(await submit(futexWake(words, 0))).toBe(0);
  });

  it('end with their thread', async () => {
    const { stdout, stderr } = await runProgram(`
      import { once } from 'node:events';
      import { Worker } from 'node:worker_threads';
      import { submit } from '@ouro/runtime';
      import { futexWake } from '@ouro/runtime/ops';
      const words = new Int32Array(new SharedArrayBuffer(4));
      const worker = new Worker(\`
        import { parentPort, workerData as words } from 'node:worker_threads';
        import { sleep, submit } from '@ouro/runtime';
        import { futexWait } from '@ouro/runtime/ops';
        submit(futexWait(words, 0, 0)).catch(() => {});
        await sleep(1);
        parentPort.postMessage('waits');
      \`, { eval: true, workerData: words });
      await once(worker, 'message');
      await worker.terminate();
      console.log(await submit(futexWake(words, 0)));
    `);
    expect(stderr).toBe('');
    expect(stdout).toBe('0\n');
  });
});

describe('futexWaitv', () => {
  it('tells which of several words was woken', async () => {
    const words = shared(128);
    const waiters = Array.from({ length: 128 }, (_, index) => ({ view: words, index, value: 0 }));
    const waiting = submit(futexWaitv(waiters));
    expect(await submit(futexWake(words, 100))).toBe(1);
    expect(await waiting).toBe(100);
    expect(await submit(futexWake(words, 99))).toBe(0); // nobody waits there any more
  });

  it('does not wait where one word is not what was expected', async () => {
    const view = shared();
    const waiters = [
      { view, index: 0, value: 0 },
      { view, index: 1, value: 1 },
    ];
    await expect(submit(futexWaitv(waiters))).rejects.toMatchObject(again('futex_waitv'));
  });

  it('can be cancelled', async () => {
    const view = shared();
    const waiting = submit(futexWaitv([{ view, index: 0, value: 0 }]));
    waiting.cancel();
    await expect(waiting).rejects.toThrow(AbortError);
  });
});

describe('futexes', () => {
  it('are refused for memory that is not shared, and for words that are not there', () => {
    const words = shared();
    expect(() => futexWait(new Int32Array(4), 0, 0)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
    );
    expect(() => futexWake(new Uint8Array(words.buffer) as never, 0)).toThrow(TypeError);
    const liar = new Int32Array(4);
    Object.defineProperty(liar, 'buffer', { value: words.buffer });
    expect(() => futexWait(liar, 0, 0)).toThrow(TypeError);
    const long = shared();
    Object.defineProperty(long, 'length', { value: 1e9 });
    expect(() => futexWait(long, 4, 0)).toThrow(/index/);
    expect(() => futexWait(words, 4, 0)).toThrow(/index/);
    expect(() => futexWait(words, 0, 2 ** 33)).toThrow(/value/);
    expect(() => futexWake(words, 0, 0)).toThrow(/count/);
    expect(() => futexWake(words, 0, 1, 0)).toThrow(/mask/);
  });

  it('are refused for none, and for more than the kernel takes', () => {
    const waiter = { view: shared(), index: 0, value: 0 };
    expect(() => futexWaitv([])).toThrow(/waiters.length/);
    expect(() => futexWaitv(Array.from({ length: 129 }, () => waiter))).toThrow(/waiters.length/);
    expect(() => futexWaitv([{ ...waiter, view: [] as never }])).toThrow(/waiters\[0\].view/);
  });

  it('are refused by the poll engine', async () => {
    const { stdout, stderr } = await runProgram(
      `
        import { submit } from '@ouro/runtime';
        import { futexWait, futexWaitv, futexWake } from '@ouro/runtime/ops';
        const view = new Int32Array(new SharedArrayBuffer(4));
        for (const op of [futexWait(view, 0, 0), futexWake(view, 0), futexWaitv([{ view, index: 0, value: 0 }])]) {
          await submit(op).catch(({ code, message }) => console.log(code + ': ' + message));
        }
      `,
      { env: { OURO_DRIVER: 'poll' } },
    );
    expect(stderr).toBe('');
    expect(stdout.split('\n')).toEqual([
      'ERR_OURO_UNSUPPORTED: The poll engine cannot do IORING_OP_FUTEX_WAIT (Linux 6.7), futex_wait',
      'ERR_OURO_UNSUPPORTED: The poll engine cannot do IORING_OP_FUTEX_WAKE (Linux 6.7), futex_wake',
      'ERR_OURO_UNSUPPORTED: The poll engine cannot do IORING_OP_FUTEX_WAITV (Linux 6.7), futex_waitv',
      '',
    ]);
  });
});
