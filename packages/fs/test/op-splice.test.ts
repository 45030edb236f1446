import { once } from 'node:events';
import { closeSync, constants, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { File } from '@ouro/fs';
import { openat, pipe, read, SPLICE_F_NONBLOCK, splice, tee, write } from '@ouro/fs/ops';
import { batch, chain, files, stream, submit } from '@ouro/runtime';
import { close, OrdinaryDescriptor } from '@ouro/runtime/driver';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { polls } from '../../../testing/engine.ts';
import {
  descriptorInfo,
  failure,
  openDescriptors,
  submitted,
  temporaryDirectory,
  thrown,
} from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
writeFileSync(path, '0123456789');

const O_CLOEXEC = 0o2000000;

/** What lies in a pipe. */
async function drained(fd: number): Promise<string> {
  const buffer = Buffer.alloc(100);
  const count = await submit(read(fd, buffer));
  return buffer.subarray(0, count).toString();
}

/** Takes all numbers below `fd`, which is free: whoever opens something next gets that. */
function lowerThan(fd: number): number[] {
  const taken: number[] = [];
  for (;;) {
    const lowest = openSync('/dev/null', 'r');
    if (lowest < fd) taken.push(lowest);
    else {
      closeSync(lowest);
      return taken;
    }
  }
}

describe('pipe', () => {
  it('makes two ends, closed on exec', async () => {
    const [from, to] = await submit(pipe());
    await submit(write(to, Buffer.from('through')));
    expect(await drained(from)).toBe('through');
    for (const fd of [from, to]) {
      expect(Number.parseInt(descriptorInfo(fd).flags, 8) & O_CLOEXEC).toBe(O_CLOEXEC);
      await close(fd);
    }
  });

  it('takes O_NONBLOCK', async () => {
    const [from, to] = await submit(pipe(constants.O_NONBLOCK));
    for (const fd of [from, to]) {
      expect(Number.parseInt(descriptorInfo(fd).flags, 8) & constants.O_NONBLOCK).not.toBe(0);
    }
    await Promise.all([close(from), close(to)]);
  });

  it('fails with EINVAL for flags that it does not know', async () => {
    expect(await failure(submit(pipe(constants.O_APPEND)))).toMatchObject({
      message: 'EINVAL: invalid argument, pipe2',
      code: 'EINVAL',
      syscall: 'pipe2',
    });
    expect(thrown(() => pipe(-1)).code).toBe('ERR_OUT_OF_RANGE');
    expect(thrown(() => pipe(0, { into: files().allocate() as unknown as 'any' })).code).toBe(
      'ERR_INVALID_ARG_TYPE',
    );
  });

  it('makes two direct descriptors', async () => {
    const before = openDescriptors();
    const numbers = polls ? 2 : 0;
    const [from, to] = await submit(pipe(0, { into: 'any' }));
    expect(openDescriptors()).toBe(before + numbers);
    const buffer = Buffer.alloc(3);
    await submit(write(to, Buffer.from('abc')));
    await submit(read(from, buffer));
    expect(buffer.toString()).toBe('abc');
    await Promise.all([from.close(), to.close()]);
    expect(openDescriptors()).toBe(before);
  });

  it('whose op is cancelled too late is closed', async () => {
    const before = openDescriptors();
    const making = submit(pipe());
    making.cancel();
    expect((await failure(making)).code).toBe('ABORT_ERR');
    await submitted();
    expect(openDescriptors()).toBe(before);
  });

  it('of direct descriptors whose op is cancelled too late is closed', async () => {
    const making = submit(pipe(0, { into: 'any' }));
    making.cancel();
    expect((await failure(making)).code).toBe('ABORT_ERR');
    await submitted();
    const [from, to] = await submit(pipe(0, { into: 'any' }));
    // The same places again: they are free.
    expect(new Set([from.fd, to.fd]).size).toBe(2);
    await Promise.all([from.close(), to.close()]);
  });

  it('of a chain or batch that fails is closed', async () => {
    const before = openDescriptors();
    await failure(chain([pipe(), openat(join(dir, 'none'))]));
    await failure(batch([pipe(), openat(join(dir, 'none'))]));
    await submitted();
    expect(openDescriptors()).toBe(before);
  });

  it('of direct descriptors of a chain or batch that fails gives its places back', async () => {
    const { adopted } = files();
    await failure(chain([pipe(0, { into: 'any' }), openat(join(dir, 'none'))]));
    await failure(batch([pipe(0, { into: 'any' }), openat(join(dir, 'none'))]));
    await submitted();
    expect(files().adopted).toBe(adopted);
  });

  it('is another one each time that its op is in flight', async () => {
    const before = openDescriptors();
    const op = pipe();
    const made = [...(await Promise.all([submit(op), submit(op)])), ...(await batch([op, op]))];
    made.push(...(await chain([op, op])));
    expect(new Set(made.flat()).size).toBe(12);
    await Promise.all(made.flat().map((fd) => close(fd)));
    expect(openDescriptors()).toBe(before);
    const running = [submit(op), submit(op), submit(op)];
    running[0].cancel();
    running[2].cancel();
    const [, second] = await Promise.allSettled(running);
    if (second.status === 'fulfilled') await Promise.all(second.value.map((fd) => close(fd)));
    await failure(batch([op, op, openat(join(dir, 'none'))]));
    await failure(chain([op, op, openat(join(dir, 'none'))]));
    await submitted();
    expect(openDescriptors()).toBe(before);
  });

  it('of a worker that is terminated is closed, wherever it was on its way', async () => {
    const source = `
      const { workerData } = require('node:worker_threads');
      Promise.all([import('@ouro/runtime'), import('@ouro/fs/ops')]).then(([{ submit }, { pipe }]) => {
        const go = () => { for (let i = 0; i < 5; i++) submit(pipe()).then(() => {}, () => {}); };
        setInterval(go, 0);
        require('node:worker_threads').parentPort.postMessage('on');
        if (workerData === 'queued') setInterval(() => { go(); process.exit(); }, 3);
      });`;
    const before = openDescriptors();
    for (let i = 0; i < 12; i++) {
      const worker = new Worker(source, { eval: true, workerData: i % 2 === 0 ? 'queued' : '' });
      const ended = once(worker, 'exit');
      await once(worker, 'message');
      if (i % 2 === 1) await worker.terminate();
      await ended;
    }
    expect(openDescriptors()).toBeLessThanOrEqual(before);
  });

  it('of a chain comes with its results', async () => {
    const [first, second] = await chain([pipe(), pipe()]);
    expect(new Set([...first, ...second]).size).toBe(4);
    await Promise.all([...first, ...second].map((fd) => close(fd)));
  });
});

describe('splice and tee', () => {
  let fd = -1;
  let from = -1;
  let to = -1;

  beforeEach(async () => {
    writeFileSync(path, '0123456789');
    fd = openSync(path, 'r+');
    [from, to] = await submit(pipe());
  });
  afterEach(async () => {
    closeSync(fd);
    await Promise.all([close(from), close(to)]);
  });

  it('splice moves from a file to a pipe, at a position or the current one', async () => {
    expect(await submit(splice(fd, 4, to, null, 3))).toBe(3);
    expect(await submit(splice(fd, null, to, null, 2))).toBe(2);
    expect(await submit(splice(fd, null, to, null, 2))).toBe(2);
    expect(await drained(from)).toBe('4560123');
    expect(descriptorInfo(fd).pos).toBe(4);
  });

  it('splice moves from a pipe to a file', async () => {
    await submit(write(to, Buffer.from('abcd')));
    expect(await submit(splice(from, null, fd, 8, 100))).toBe(4);
    expect(readFileSync(path, 'utf8')).toBe('01234567abcd');
  });

  it('splice moves from and to direct descriptors', async () => {
    await using file = await submit(openat(path, 'r', undefined, { into: 'any' }));
    const [begin, end] = await submit(pipe(0, { into: 'any' }));
    expect(await submit(splice(file, 1, end, null, 3))).toBe(3);
    expect(await submit(splice(begin, null, to, null, 3))).toBe(3);
    expect(await drained(from)).toBe('123');
    await Promise.all([begin.close(), end.close()]);
  });

  it('splice moves nothing at the end of a file', async () => {
    expect(await submit(splice(fd, 10, to, null, 5))).toBe(0);
  });

  it('splice fails without a pipe, and with a position of one', async () => {
    const error = { message: 'EINVAL: invalid argument, splice', code: 'EINVAL', syscall: 'splice' };
    expect(await failure(submit(splice(fd, 0, fd, 5, 1)))).toMatchObject(error);
    expect((await failure(submit(splice(from, 0, fd, 0, 1)))).code).toBe('ESPIPE');
    expect((await failure(submit(splice(99_999, 0, to, null, 1)))).code).toBe('EBADF');
    expect((await failure(submit(splice(from, null, fd, 0, 1, SPLICE_F_NONBLOCK)))).code).toBe('EAGAIN');
  });

  it('a stream of splices ends with the handle that it takes from, and does not meet who has its number then', async () => {
    const [from, to] = await submit(pipe());
    const [out, into] = await submit(pipe());
    const source = new OrdinaryDescriptor(from);
    const moved = stream(splice(source, null, into, null, 10));
    await submit(write(to, Buffer.from('abc')));
    expect(await moved.next()).toEqual({ done: false, value: 3 });
    const waiting = moved.next();
    await submitted();
    await source.close();
    expect(await waiting).toEqual({ done: true, value: undefined });
    const lower = lowerThan(from);
    const [again, other] = await submit(pipe());
    expect(again).toBe(from);
    await submit(write(other, Buffer.from('secret')));
    expect(await moved.next()).toEqual({ done: true, value: undefined });
    const op = splice(source, null, into, null, 10);
    expect(await failure(stream(op).next())).toMatchObject({ code: 'EBADF' });
    expect(await drained(again)).toBe('secret');
    await Promise.all([to, out, into, again, other, ...lower].map((fd) => close(fd)));
  });

  it('a stream of opens does not open into a place that is somebody else’s by now', async () => {
    const { used } = files();
    const place = files().allocate();
    const opened = stream(openat(path, 'r', 0, { into: place }));
    expect((await opened.next()).value).toBe(place);
    await place.close();
    expect(await opened.next()).toEqual({ done: true, value: undefined });
    expect(files().used).toBe(used);
  });

  it('tee copies, and leaves the bytes where they are', async () => {
    const [other, into] = await submit(pipe());
    await submit(write(to, Buffer.from('abcd')));
    expect(await submit(tee(from, into, 3))).toBe(3);
    expect(await drained(other)).toBe('abc');
    expect(await drained(from)).toBe('abcd');
    await Promise.all([close(other), close(into)]);
  });

  it('tee fails without two pipes', async () => {
    expect(await failure(submit(tee(fd, to, 3)))).toMatchObject({ code: 'EINVAL', syscall: 'tee' });
    expect((await failure(submit(tee(from, to, 3)))).code).toBe('EINVAL');
  });

  it.each(['splice', 'tee'] as const)('%s that waits is given up', async (name) => {
    const [other, into] = await submit(pipe());
    const waiting = (): ReturnType<typeof splice> =>
      name === 'tee' ? tee(from, into, 1) : splice(from, null, into, null, 1);
    const cancelled = submit(waiting());
    await submitted();
    cancelled.cancel();
    expect((await failure(cancelled)).code).toBe('ABORT_ERR');
    expect(await failure(submit(waiting(), { timeout: 10 }))).toMatchObject({
      code: 'ETIMEDOUT',
      syscall: name,
    });
    await Promise.all([close(other), close(into)]);
  });

  it.each(['from', 'to'] as const)(
    'splice that waits is given up when the handle is closed that it goes %s',
    async (which) => {
      const [begin, end] = await submit(pipe());
      const [other, into] = await submit(pipe());
      const source = File.fromFd(begin);
      const target = File.fromFd(into);
      const waiting = submit(splice(source, null, target, null, 1));
      await submitted();
      expect([source.descriptor.idle, target.descriptor.idle]).toEqual([false, false]);
      const [error] = await Promise.all([
        failure(waiting),
        which === 'from' ? source.close() : target.close(),
      ]);
      expect(error).toMatchObject({ code: 'ECANCELED', syscall: 'splice' });
      expect([source.descriptor.idle, target.descriptor.idle]).toEqual([true, true]);
      await Promise.all([source.close(), target.close(), close(end), close(other)]);
    },
  );

  it('refuse what makes no sense', () => {
    expect(thrown(() => splice(-1, 0, to, null, 1)).message).toMatch(/"from"/);
    expect(thrown(() => splice(fd, -1, to, null, 1)).message).toMatch(/"offIn"/);
    expect(thrown(() => splice(fd, 0, to, 1.5, 1)).message).toMatch(/"offOut"/);
    expect(thrown(() => tee(from, to, 2 ** 32)).message).toMatch(/"length"/);
    expect(thrown(() => tee(from, to, 1, -1)).message).toMatch(/"flags"/);
  });
});
