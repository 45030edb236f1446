// An op's fields are public, and one op may be in flight several times: what is changed meanwhile must not concern flights
// that have begun, and nothing of it the ring.
import { openSync } from 'node:fs';
import {
  IORING_OP_NOP,
  IORING_OP_READ,
  IOSQE_ASYNC,
  IOSQE_CQE_SKIP_SUCCESS,
  IOSQE_IO_DRAIN,
  IOSQE_IO_HARDLINK,
  IOSQE_IO_LINK,
} from '@ouro/native/abi';
import { batch, type Future, Op, opKind, sleep, stream, submit } from '@ouro/runtime';
import { OrdinaryDescriptor } from '@ouro/runtime/driver';
import { nop, pollAdd, timeoutUpdate } from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { failure, fifo, temporaryDirectory } from './support.ts';

const dir = temporaryDirectory();
const POLLIN = 1;
const SIZE = 1 << 21; // too large for what remembers the last buffer

/** Nothing ever comes through it. */
function pipe(): OrdinaryDescriptor {
  return new OrdinaryDescriptor(openSync(fifo(dir), 'r+'));
}

describe('the flags of an op', () => {
  it.each([
    ['IOSQE_IO_LINK', IOSQE_IO_LINK],
    ['IOSQE_IO_HARDLINK', IOSQE_IO_HARDLINK],
    ['IOSQE_IO_DRAIN', IOSQE_IO_DRAIN],
    ['IOSQE_CQE_SKIP_SUCCESS', IOSQE_CQE_SKIP_SUCCESS],
    ['more than a byte', 0x100],
  ])('refuse %s', (_name, bit) => {
    const op = nop();
    expect(() => {
      op.flags |= bit;
    }).toThrow(RangeError);
    expect(op.flags).toBe(0);
  });

  it('cannot be given with the opcode', async () => {
    const op = new Op(opKind<number>('nop'), IORING_OP_NOP | (IOSQE_CQE_SKIP_SUCCESS << 8));
    expect(op.flags).toBe(0);
    expect(await submit(op)).toBe(0);
    op.flags |= IOSQE_ASYNC;
    expect(await submit(op)).toBe(0);
  });
});

describe('an op that is changed while it is in flight', () => {
  it('keeps the memory that the flight was begun with', async () => {
    // In a program of its own: the collector has to be asked.
    const { stdout, stderr } = await runProgram(
      `
      import { Op, opKind, sleep, submit, batch } from '@ouro/runtime';
      import { addressOf } from '@ouro/runtime/driver';
      import { execFileSync } from 'node:child_process';
      import { mkdtempSync, openSync, rmSync } from 'node:fs';
      const dir = mkdtempSync('/tmp/ouro-changed-');
      execFileSync('mkfifo', [dir + '/pipe']);
      const fd = openSync(dir + '/pipe', 'r+');
      rmSync(dir, { recursive: true });
      const op = new Op(opKind('read'), ${IORING_OP_READ}, -1).on(fd);
      const begin = (how) => {
        const buffer = Buffer.allocUnsafeSlow(${SIZE});
        op.addr = addressOf(buffer);
        op.len = buffer.length;
        op.hold = buffer;
        return [new WeakRef(buffer), how(op)];
      };
      const flights = [begin(submit), begin((op) => batch([op])), begin((op) => submit(op, { timeout: 60_000 }))];
      op.hold = null;
      for (let i = 0; i < 5; i++) {
        await sleep(5);
        globalThis.gc();
      }
      console.log(flights.map(([buffer]) => buffer.deref() !== undefined).join());
      for (const [, future] of flights) future.cancel();
      await Promise.allSettled(flights.map(([, future]) => future));
      for (const each of flights) each.length = 1;
      for (let i = 0; i < 5; i++) {
        await sleep(5);
        globalThis.gc();
      }
      console.log(flights.map(([buffer]) => buffer.deref() !== undefined).join());
      `,
      { flags: ['--expose-gc'] },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('true,true,true\nfalse,false,false\n');
  });

  it.each<[string, (op: Op<number>) => Future<unknown>]>([
    ['submit', (op) => submit(op)],
    ['batch', (op) => batch([op])],
    ['stream', (op) => stream(op).next()],
  ])('is still its handle’s: %s', async (name, how) => {
    const begin = (op: Op<number>, then: OrdinaryDescriptor): Future<unknown> => {
      const future = how(op);
      op.on(then);
      return future;
    };
    await using handle = pipe();
    await using other = pipe();
    const waiting = begin(pollAdd(handle, POLLIN, { multishot: name === 'stream' }), other);
    waiting.catch(() => {});
    await handle.close();
    await Promise.allSettled([waiting]);
    expect(handle.idle).toBe(true);
  });

  it('gives back the other handle that the flight was about', async () => {
    await using handle = pipe();
    await using also = pipe();
    const op = pollAdd(handle, POLLIN);
    op.also = also;
    const waiting = failure(submit(op));
    op.also = null;
    await also.close();
    expect(await waiting).toMatchObject({ code: 'ECANCELED' });
  });
});

describe('an op whose result is being decoded', () => {
  it('has no slot any more: cancelling it is nothing to who has that', async () => {
    let next: Future<void> | undefined;
    let named: Future<void> | undefined;
    const KIND = opKind<number>('nop', {
      decode: () => {
        next = sleep(5);
        named = submit(timeoutUpdate(running, 60_000));
        running.cancel();
        return 1;
      },
    });
    const running: Future<number> = submit(new Op(KIND, IORING_OP_NOP));
    expect(await running).toBe(1);
    await expect(named).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await next).toBe(undefined);
  });

  it('does not keep the process alive', async () => {
    const { code, stderr } = await runProgram(`
      import { Op, opKind, submit } from '@ouro/runtime';
      const KIND = opKind('nop', {
        decode: () => {
          running.setRef(false);
          running.setRef(true);
          return 1;
        },
      });
      const running = submit(new Op(KIND, ${IORING_OP_NOP}));
      await running;
      setTimeout(() => process.exit(3), 2000).unref();
    `);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });
});
