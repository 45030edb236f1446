import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import {
  ETIME,
  IORING_ACCEPT_MULTISHOT,
  IORING_OP_ACCEPT,
  IORING_OP_POLL_ADD,
  IORING_OP_TIMEOUT,
  IORING_POLL_ADD_MULTI,
  IORING_TIMEOUT_ETIME_SUCCESS,
  IORING_TIMEOUT_MULTISHOT,
} from '@ouro/native/abi';
import { TcpListener, TcpStream } from '@ouro/net';
import { metrics, Op, opKind, Scope, sleep, stream, submit } from '@ouro/runtime';
import {
  type Descriptor,
  directKind,
  END_OF_STREAM,
  OrdinaryDescriptor,
  openInto,
  placeTimespec,
  reactor,
} from '@ouro/runtime/driver';
import { nop } from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import { failures, fifo, leavesNothing, POLL, submitted, temporaryDirectory, write } from './support.ts';

const dir = temporaryDirectory();
const silent = (): Descriptor => new OrdinaryDescriptor(openSync(fifo(dir), 'r+'));

const POLL_KIND = opKind<number>('poll', { endsWithHandle: true });

/** A multishot poll for something to read. */
function polling(target: Descriptor): Op<number> {
  return new Op(POLL_KIND, IORING_OP_POLL_ADD, 0, 0, IORING_POLL_ADD_MULTI, 1).on(target);
}

const ACCEPT = opKind<number>('accept', { resultIsFd: true, endsWithHandle: true });

/** A multishot accept. */
function accepting(listener: TcpListener, kind = ACCEPT): Op<number> {
  const op = new Op(kind, IORING_OP_ACCEPT).on(listener);
  op.ioprio = IORING_ACCEPT_MULTISHOT;
  return op;
}

const connect = (listener: TcpListener): PromiseLike<TcpStream> =>
  TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });

describe('a stream', () => {
  it('brings the completions of one op, one after the other', async () => {
    await leavesNothing(async () => {
      await using pipe = silent();
      const { sqes } = metrics();
      await using polls = stream(polling(pipe));
      for (let round = 0; round < 3; round++) {
        const next = polls.next();
        await submit(write(pipe, 'x'));
        expect(await next).toEqual({ done: false, value: 1 });
      }
      expect(metrics().sqes - sqes).toBe(4);
    });
  });

  it('does not begin before somebody waits', async () => {
    await using pipe = silent();
    await submitted();
    const { sqes, queued } = metrics();
    const polls = stream(polling(pipe));
    expect(metrics().sqes + metrics().queued).toBe(sqes + queued);
    expect(await polls.return()).toEqual({ done: true, value: undefined });
    expect(await polls.next()).toEqual({ done: true, value: undefined });
  });

  it('of an op with one completion queues it again for each who waits', async () => {
    await leavesNothing(async () => {
      const values: number[] = [];
      for await (const value of stream(nop(4))) if (values.push(value) === 5) break;
      expect(values).toEqual([4, 4, 4, 4, 4]);
    });
  });

  it('lets several wait, each for another result', async () => {
    await leavesNothing(async () => {
      await using listener = await TcpListener.bind({ host: '127.0.0.1' });
      await using accepts = stream(accepting(listener));
      const waiting = [accepts.next(), accepts.next(), accepts.next()];
      const clients = await Promise.all([connect(listener), connect(listener), connect(listener)]);
      const fds = (await Promise.all(waiting)).map(({ value }) => value ?? -1);
      expect(new Set(fds).size).toBe(3);
      for (const fd of fds) closeSync(fd);
      for (const client of clients) await client.close();
    });
  });

  it('lets waiting be given up without losing a result', async () => {
    await leavesNothing(async () => {
      await using pipe = silent();
      await using polls = stream(polling(pipe));
      const given = polls.next();
      given.cancel('no more');
      await expect(given).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'no more' });
      await submit(write(pipe, 'x'));
      expect(await polls.next()).toEqual({ done: false, value: 1 });
    });
  });

  it('ends with what the kind says is its end', async () => {
    await leavesNothing(async () => {
      let left = 3;
      const KIND = opKind<number>('nop', { decode: () => (left-- > 0 ? left : END_OF_STREAM) });
      const values: number[] = [];
      for await (const value of stream(new Op(KIND, 0))) values.push(value);
      expect(values).toEqual([2, 1, 0]);
    });
  });

  it('ends with an error of the op, told once', async () => {
    await leavesNothing(async () => {
      const failing = stream(nop(-5));
      const waiting = [failing.next(), failing.next()];
      await expect(waiting[0]).rejects.toMatchObject({ code: 'EIO', syscall: 'nop' });
      expect(await waiting[1]).toEqual({ done: true, value: undefined });
      expect(await failing.next()).toEqual({ done: true, value: undefined });
    });
  });

  it('whose decode throws ends with that, and closes what it was about', async () => {
    await leavesNothing(async () => {
      await using listener = await TcpListener.bind({ host: '127.0.0.1' });
      const BAD = opKind<number>('accept', {
        resultIsFd: true,
        decode: () => {
          throw new TypeError('cannot decode');
        },
      });
      const accepts = stream(accepting(listener, BAD));
      const next = accepts.next();
      await using client = await connect(listener);
      await expect(next).rejects.toThrow('cannot decode');
      expect(await client.read(Buffer.alloc(1))).toBe(0);
      await accepts.return();
    });
  });

  it('holds no more than highWater; the rest waits in the kernel', async () => {
    await leavesNothing(async () => {
      await using listener = await TcpListener.bind({ host: '127.0.0.1' });
      await using accepts = stream(accepting(listener), { highWater: 2 });
      const first = accepts.next();
      const clients = [await connect(listener)];
      const fds = [(await first).value ?? -1];
      for (let i = 0; i < 9; i++) clients.push(await connect(listener));
      await submitted();
      await submitted();
      expect(accepts.buffered).toBeGreaterThanOrEqual(2);
      while (fds.length < 10) fds.push((await accepts.next()).value ?? -1);
      expect(new Set(fds).size).toBe(10);
      for (const fd of fds) closeSync(fd);
      for (const client of clients) await client.close();
    });
  });

  it('closes what nobody has taken when it is left: numbers and places', async () => {
    await leavesNothing(async () => {
      await using listener = await TcpListener.bind({ host: '127.0.0.1' });
      const direct = openInto(accepting(listener, directKind(ACCEPT) as never), 'any');
      for (const op of [accepting(listener), direct]) {
        const accepts = stream(op);
        const first = accepts.next();
        const clients = [await connect(listener), await connect(listener), await connect(listener)];
        const { value } = await first;
        await expect.poll(() => accepts.buffered, POLL).toBe(2);
        await accepts.return();
        if (typeof value === 'number') closeSync(value);
        else await (value as unknown as Descriptor).close();
        for (const client of clients) expect(await client.read(Buffer.alloc(1))).toBe(0);
        for (const client of clients) await client.close();
      }
    });
  });

  it('is cancelled by itself, scope, signal or handle: the first who waits gets an AbortError', async () => {
    await leavesNothing(async () => {
      const scope = new Scope();
      const controller = new AbortController();
      await using pipe = silent();
      const all = [
        stream(polling(pipe), { scope }),
        stream(polling(pipe), { signal: controller.signal }),
        stream(polling(pipe)),
        stream(polling(pipe)),
      ];
      const errors = failures(all.map((each) => each.next()));
      await submitted();
      scope.cancel('why');
      controller.abort('why');
      all[2]?.cancel('why');
      pipe.cancel('why');
      for (const error of await errors) expect(error).toMatchObject({ code: 'ABORT_ERR', cause: 'why' });
      await Promise.all(all.map((each) => each.return()));
      expect(pipe.idle).toBe(true);
      expect(scope.size).toBe(0);
    });
  });

  it('ends when its handle is closed; on a closed handle it fails', async () => {
    await leavesNothing(async () => {
      const pipe = silent();
      const polls = stream(polling(pipe));
      const later = stream(polling(pipe));
      const next = polls.next();
      await submitted();
      await pipe.close();
      expect(await next).toEqual({ done: true, value: undefined });
      await expect(later.next()).rejects.toMatchObject({ code: 'EBADF', syscall: 'poll' });
    });
  });

  it('of a multishot timeout can be left at any moment', async () => {
    class Ticks extends Op<number> {
      constructor() {
        const flags = IORING_TIMEOUT_ETIME_SUCCESS | IORING_TIMEOUT_MULTISHOT;
        super(opKind<number>('timeout', { passes: ETIME }), IORING_OP_TIMEOUT, 0, 0, 1, flags);
      }
      override place(slot: number): void {
        this.addr = placeTimespec(reactor(), slot, 0.5);
      }
    }
    await leavesNothing(async () => {
      for (let round = 0; round < 50; round++) {
        const ticks = stream(new Ticks());
        await ticks.next();
        await sleep(round / 20);
        await ticks.return();
      }
    });
  });

  it('reads what it polled for', async () => {
    await leavesNothing(async () => {
      const fd = openSync(fifo(dir), 'r+');
      const pipe = new OrdinaryDescriptor(fd);
      const buffer = Buffer.alloc(10);
      setImmediate(() => writeSync(fd, 'one'));
      for await (const events of stream(polling(pipe))) {
        expect(events & 1).toBe(1);
        expect(readSync(fd, buffer)).toBe(3);
        break;
      }
      await pipe.close();
    });
  });

  it.each([
    [undefined, undefined, TypeError],
    [nop(), { highWater: 0 }, RangeError],
    [nop(), { highWater: Number.NaN }, RangeError],
    [nop(), { highWater: '5' }, TypeError],
    [nop(), { signal: {} }, TypeError],
    [nop(), { scope: {} }, TypeError],
  ])('refuses %s with %j', (op, options, kind) => {
    expect(() => stream(op as never, options as never)).toThrow(kind);
  });

  it('is refused where it may not begin, or the kernel lacks the op', () => {
    expect(() => stream(nop(), { signal: AbortSignal.abort() })).toThrow('aborted');
    expect(() => stream(new Op(opKind('future'), 250))).toThrow(
      expect.objectContaining({ code: 'ERR_OURO_UNSUPPORTED' }) as Error,
    );
  });
});
