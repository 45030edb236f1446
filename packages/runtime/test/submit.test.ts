import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  ENOENT,
  IORING_ACCEPT_MULTISHOT,
  IORING_CQE_F_MORE,
  IORING_CQE_F_NOTIF,
  IORING_OP_ACCEPT,
  IORING_OP_NOP,
  IORING_OP_OPENAT,
  IORING_OP_POLL_ADD,
  IOSQE_ASYNC,
} from '@ouro/native/abi';
import { TcpListener, TcpStream } from '@ouro/net';
import { DirectDescriptor, files, metrics, Op, opKind, submit } from '@ouro/runtime';
import { begin, Operation, OrdinaryDescriptor, reactor, scratchOffset } from '@ouro/runtime/driver';
import { nop } from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import { polls } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';
import {
  FOREVER,
  failure,
  fifo,
  leavesNothing,
  open,
  openDescriptors,
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
writeFileSync(path, 'content');

describe('submit', () => {
  it('resolves to what the kind makes of the result', async () => {
    expect(await submit(nop())).toBe(0);
    expect(await submit(nop(7))).toBe(7);
    const DOUBLED = opKind<string>('nop', { decode: (result) => `twice ${result}` });
    expect(await submit(new Op(DOUBLED, IORING_OP_NOP))).toBe('twice 0');
  });

  it('rejects with an error as Node makes them, with the detail of the op', async () => {
    const error = await failure(submit(open(join(dir, 'nowhere'))));
    expect(error).toMatchObject({
      code: 'ENOENT',
      errno: ENOENT,
      syscall: 'open',
      path: join(dir, 'nowhere'),
      message: `ENOENT: no such file or directory, open '${join(dir, 'nowhere')}'`,
    });
  });

  it('makes errors as the kind says', async () => {
    const KIND = opKind<number>('mine', { error: (errno) => new RangeError(`errno ${errno}`) });
    const op = new Op(KIND, IORING_OP_NOP, 0, 0, -5, 1);
    await expect(submit(op)).rejects.toThrow(new RangeError('errno -5'));
  });

  it('takes an op of a kind that ouro does not have', async () => {
    // poll(2): what is ready now?
    const POLL_ONCE = opKind<number>('poll');
    const op = new Op(POLL_ONCE, IORING_OP_POLL_ADD, 0, 0, 0, 1);
    const fd = openSync(path, 'r');
    expect(await submit(op.on(fd))).toBe(1);
    closeSync(fd);
  });

  it('places what the kernel reads into the scratch of the slot, anew each time', async () => {
    const opening = open(path);
    const fds = await Promise.all([submit(opening), submit(opening), submit(opening)]);
    expect(new Set(fds).size).toBe(3);
    for (const fd of fds) {
      expect(readFileSync(fd, 'utf8')).toBe('content');
      closeSync(fd);
    }
  });

  it('keeps memory that place has made for an op that is in flight twice', async () => {
    const { stdout } = await runProgram(
      `
        import { constants } from 'node:fs';
        import { submit, Op, opKind } from '@ouro/runtime';
        import { reactor } from '@ouro/runtime/driver';
        const alive = [];
        const KIND = opKind('nop');
        class Held extends Op {
          constructor() { super(KIND, 0); }
          place() { const memory = Buffer.allocUnsafeSlow(4096); alive.push(new WeakRef(memory)); this.hold = memory; }
        }
        const op = new Held();
        const all = [submit(op), submit(op), submit(op)];
        await new Promise((done) => setImmediate(() => { globalThis.gc(); done(); }));
        await Promise.all(all);
        const second = [submit(op), submit(op)];
        globalThis.gc();
        console.log(alive.length, alive.slice(3).every((each) => each.deref() !== undefined));
        await Promise.all(second);
      `,
      { flags: ['--expose-gc'] },
    );
    expect(stdout).toBe('5 true\n');
  });

  it('decodes before the slot is given on', async () => {
    const seen: string[] = [];
    const KIND = opKind<void>('nop', {
      decode: (_result, _op, slot) => {
        const at = scratchOffset(slot);
        seen.push(
          reactor()
            .scratch(slot)
            .bytes.toString('utf8', at, at + 4),
        );
      },
    });
    class Marked extends Op<void> {
      readonly #mark: string;
      constructor(mark: string) {
        super(KIND, IORING_OP_NOP);
        this.#mark = mark;
      }
      override place(slot: number): void {
        reactor().scratch(slot).bytes.write(this.#mark, scratchOffset(slot));
      }
    }
    await Promise.all(['one.', 'two.', 'tree'].map((mark) => submit(new Marked(mark))));
    expect(seen).toEqual(['one.', 'two.', 'tree']);
  });

  it('whose decode throws rejects with that, and costs nobody else anything', async () => {
    await leavesNothing(async () => {
      const BAD = opKind<never>('nop', {
        decode: () => {
          throw new TypeError('cannot decode');
        },
      });
      const all = [submit(nop(1)), submit(new Op(BAD, IORING_OP_NOP)), submit(nop(2))];
      const settled = await Promise.allSettled(all);
      expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
      await expect(all[1]).rejects.toThrow('cannot decode');
    });
  });

  it('whose decode throws closes what was opened', async () => {
    await leavesNothing(async () => {
      const BAD = opKind<never>('open', {
        resultIsFd: true,
        decode: () => {
          throw new TypeError('no handle of it');
        },
      });
      const good = open(path);
      class Bad extends Op<never> {
        constructor() {
          super(BAD, IORING_OP_OPENAT, 0, 0, 0, 0);
          this.fd = good.fd;
        }
        override place(slot: number): void {
          good.place(slot);
          this.addr = good.addr;
        }
      }
      await expect(submit(new Bad())).rejects.toThrow('no handle of it');
    });
  });

  it('whose error maker throws rejects with what that throws', async () => {
    const BAD = opKind<never>('nop', {
      error: () => {
        throw new TypeError('cannot tell');
      },
    });
    await leavesNothing(async () => {
      await expect(submit(new Op(BAD, IORING_OP_NOP, 0, 0, -5, 1))).rejects.toThrow('cannot tell');
    });
  });

  it.each([
    [undefined, undefined, TypeError],
    [{}, undefined, TypeError],
    [nop(), { signal: {} }, TypeError],
    [nop(), { scope: {} }, TypeError],
    [nop(), { timeout: '5' }, TypeError],
    [nop(), { timeout: -1 }, RangeError],
    [nop(), { timeout: Number.NaN }, RangeError],
  ])('refuses %s with the options %j', (op, options, kind) => {
    const before = metrics().pending;
    expect(() => submit(op as never, options as never)).toThrow(kind);
    expect(metrics().pending).toBe(before);
  });

  it('of an opcode that the kernel lacks is refused, and names it', async () => {
    const op = new Op(opKind('future'), 250);
    await expect(submit(op)).rejects.toMatchObject({
      code: 'ERR_OURO_UNSUPPORTED',
      message: `${polls ? 'The poll engine' : 'This kernel'} cannot do opcode 250, future`,
    });
  });

  it('of an opcode that the kernel lacks does it elsewhere if the op knows how', async () => {
    class Elsewhere extends Op<string> {
      readonly #result: () => PromiseLike<number>;
      constructor(result: () => PromiseLike<number>) {
        super(opKind<string>('future', { decode: (result) => `got ${result}` }), 250);
        this.#result = result;
      }
      override elsewhere(): PromiseLike<number> {
        return this.#result();
      }
    }
    await leavesNothing(async () => {
      expect(await submit(new Elsewhere(async () => 4))).toBe('got 4');
      await expect(submit(new Elsewhere(async () => ENOENT))).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(
        submit(new Elsewhere(() => Promise.reject(new Error('not there either')))),
      ).rejects.toThrow('not there either');
      const throwing = new Elsewhere(() => {
        throw new Error('at once');
      });
      await expect(submit(throwing)).rejects.toThrow('at once');
    });
  });
});

describe('an op', () => {
  it('is on a number, a descriptor, or a handle with one', () => {
    const descriptor = new OrdinaryDescriptor(7);
    expect(nop().on(5)).toMatchObject({ fd: 5, descriptor: null });
    expect(nop().on(descriptor)).toMatchObject({ fd: 7, descriptor });
    expect(nop().on({ descriptor })).toMatchObject({ fd: 7, descriptor });
  });

  it('that is moved to another target forgets the first', () => {
    const place = files().allocate();
    const op = nop().on(place);
    expect(op.flags).toBe(1);
    expect(op.on(5)).toMatchObject({ fd: 5, descriptor: null, flags: 0 });
    op.on(place).on(new OrdinaryDescriptor(7));
    expect(op.flags).toBe(0);
    return place.close();
  });

  it.each([
    [-1, RangeError],
    [1.5, RangeError],
    [Number.NaN, RangeError],
    [2 ** 31, RangeError],
    ['5', TypeError],
    [null, TypeError],
    [undefined, TypeError],
    [{}, TypeError],
    [{ descriptor: 5 }, TypeError],
    [{ descriptor: null }, TypeError],
    [{ direct: true }, TypeError],
  ])('cannot be on %j', (target, kind) => {
    expect(() => nop().on(target as never)).toThrow(kind);
  });

  it('on a handle that has been closed meanwhile fails with EBADF, not on what has its number now', async () => {
    const fd = openSync(path, 'r+');
    const descriptor = new OrdinaryDescriptor(fd);
    const op = write(descriptor, 'WRONG', 0);
    await descriptor.close();
    const other = openSync(path, 'r+');
    expect(other).toBe(fd);
    await expect(submit(op)).rejects.toMatchObject({ code: 'EBADF', syscall: 'write' });
    expect(readFileSync(path, 'utf8')).toBe('content');
    closeSync(other);
  });
});

describe('the life of an op', () => {
  it('has two completions where it is a zero-copy send: it settles at the second, with what the first said', async () => {
    const operation = new Operation(nop());
    let settled = false;
    operation.then(() => {
      settled = true;
    });
    operation.complete(512, IORING_CQE_F_MORE);
    await submitted();
    expect(settled).toBe(false);
    operation.complete(0, IORING_CQE_F_NOTIF);
    expect(await operation).toBe(512);
  });

  it('with two completions keeps the error of the first', async () => {
    const operation = new Operation(nop());
    operation.complete(-32, IORING_CQE_F_MORE);
    operation.complete(0, IORING_CQE_F_NOTIF);
    await expect(operation).rejects.toMatchObject({ code: 'EPIPE' });
  });

  it('keeps its slot while the kernel says that more will come', async () => {
    const pipe = openSync(fifo(dir), 'r+');
    const MULTISHOT = opKind<number>('poll');
    const before = metrics().pending;
    // (As a driver may; `submit` refuses it.)
    const polling = begin(new Operation(new Op(MULTISHOT, IORING_OP_POLL_ADD, 0, 0, 1, 1).on(pipe)));
    await submitted();
    const written = [await submit(write(pipe, 'a')), await submit(write(pipe, 'b'))];
    expect(written).toEqual([1, 1]);
    expect(metrics().pending).toBe(before + 1);
    polling.cancel();
    await expect(polling).rejects.toMatchObject({ code: 'ABORT_ERR' });
    expect(metrics().pending).toBe(before);
    closeSync(pipe);
  });

  it('of a multishot op that opens leaves none of the descriptors behind', async () => {
    await leavesNothing(async () => {
      await using listener = await TcpListener.bind({ host: '127.0.0.1' });
      const ACCEPT = opKind<number>('accept', { resultIsFd: true });
      const op = new Op(ACCEPT, IORING_OP_ACCEPT).on(listener);
      op.ioprio = IORING_ACCEPT_MULTISHOT;
      const accepting = begin(new Operation(op));
      for (let round = 0; round < 3; round++) {
        await using client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
        expect(await client.read(Buffer.alloc(1))).toBe(0);
      }
      accepting.cancel();
      await failure(accepting);
    });
  });

  it('begins again with the same op as often as one likes', async () => {
    const op = nop(3);
    for (let round = 0; round < 10; round++) expect(await submit(op)).toBe(3);
    expect(await Promise.all(Array.from({ length: 500 }, () => submit(op)))).toEqual(Array(500).fill(3));
  });

  it('is over when it has settled: cancelling it then hits nobody else', async () => {
    const first = submit(nop());
    await first;
    const second = submit(pause(10));
    first.cancel();
    await second;
    expect(metrics().stale).toBe(0);
  });

  it('ends in a completion callback that cancels, closes and submits', async () => {
    await leavesNothing(async () => {
      const pipe = new OrdinaryDescriptor(openSync(fifo(dir), 'r+'));
      const reading = submit(read(pipe, Buffer.alloc(8)));
      const other = submit(pause(FOREVER));
      const KIND = opKind<number>('nop', {
        decode: () => {
          reading.cancel('from decode');
          other.cancel();
          void pipe.close();
          void submit(nop());
          return 1;
        },
      });
      expect(await submit(new Op(KIND, IORING_OP_NOP))).toBe(1);
      await expect(reading).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'from decode' });
      await expect(other).rejects.toMatchObject({ code: 'ABORT_ERR' });
      await pipe.close();
    });
  });

  it('closes nothing of the process when a place was closed meanwhile', async () => {
    // A place that has been closed has no index: taken for one, it would be that of descriptor 0.
    const before = openDescriptors();
    const place = files().allocate();
    const op = openInto(fifo(dir), place);
    op.flags |= IOSQE_ASYNC; // waits for a writer, in a thread of the kernel's
    const opening = submit(op);
    await submitted();
    const closing = place.close();
    await failure(opening);
    await closing;
    await expect.poll(() => openDescriptors().length, POLL).toBe(before.length);
    expect(place).toBeInstanceOf(DirectDescriptor);
  });

  it('with a path that does not exist in a directory that does is an ENOENT each time', async () => {
    mkdirSync(join(dir, 'empty'));
    const op = open(join(dir, 'empty', 'x'));
    for (let round = 0; round < 3; round++) {
      await expect(submit(op)).rejects.toMatchObject({ code: 'ENOENT' });
    }
  });
});
