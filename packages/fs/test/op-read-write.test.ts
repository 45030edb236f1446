import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { File } from '@ouro/fs';
import { pipe, RWF_APPEND, RWF_DSYNC, RWF_HIPRI, RWF_NOWAIT, read, readv, write, writev } from '@ouro/fs/ops';
import { BufferPool, type Op, submit } from '@ouro/runtime';
import { close } from '@ouro/runtime/driver';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { descriptorInfo, failure, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
let fd = -1;

beforeEach(() => {
  writeFileSync(path, '0123456789');
  fd = openSync(path, 'r+');
});
afterEach(() => closeSync(fd));

const content = (): string => readFileSync(path, 'utf8');

/** What is marked as untransferable cannot be resized away either, so it goes through memory of the op's own. */
function resizable(length: number): { view: Uint8Array; buffer: ArrayBuffer & { resize(to: number): void } } {
  const Resizable = ArrayBuffer as unknown as new (
    length: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resize(to: number): void };
  const buffer = new Resizable(length, { maxByteLength: 64 });
  return { view: new Uint8Array(buffer), buffer };
}

describe('read', () => {
  it('reads at a position and leaves the current one', async () => {
    const buffer = Buffer.alloc(4);
    expect(await submit(read(fd, buffer, 3))).toBe(4);
    expect(buffer.toString()).toBe('3456');
    expect(descriptorInfo(fd).pos).toBe(0);
  });

  it.each([undefined, null])(
    'with position %s reads at the current one, which moves on',
    async (position) => {
      const buffer = Buffer.alloc(4);
      await submit(read(fd, buffer, position));
      await submit(read(fd, buffer, position));
      expect(buffer.toString()).toBe('4567');
      expect(descriptorInfo(fd).pos).toBe(8);
    },
  );

  it('takes a bigint as position, and a File as target', async () => {
    await using file = await File.open(path);
    const buffer = Buffer.alloc(2);
    expect(await submit(read(file, buffer, 8n))).toBe(2);
    expect(buffer.toString()).toBe('89');
  });

  it('brings fewer bytes at the end of the file, and then none', async () => {
    expect(await submit(read(fd, Buffer.alloc(8), 6))).toBe(4);
    expect(await submit(read(fd, Buffer.alloc(8), 10))).toBe(0);
  });

  it('of a descriptor that is not open for reading fails with EBADF', async () => {
    const writable = openSync(path, 'w');
    expect(await failure(submit(read(writable, Buffer.alloc(1))))).toMatchObject({
      message: 'EBADF: bad file descriptor, read',
      code: 'EBADF',
      errno: -9,
      syscall: 'read',
    });
    closeSync(writable);
  });

  it('of a directory fails with EISDIR', async () => {
    const directory = openSync(dir, 'r');
    expect((await failure(submit(read(directory, Buffer.alloc(1), 0)))).code).toBe('EISDIR');
    closeSync(directory);
  });

  it('with RWF_NOWAIT fails with EAGAIN where it would wait', async () => {
    const [from, to] = await submit(pipe());
    expect((await failure(submit(read(from, Buffer.alloc(1), null, { flags: RWF_NOWAIT })))).code).toBe(
      'EAGAIN',
    );
    await Promise.all([close(from), close(to)]);
  });

  it('with RWF_HIPRI needs a ring that polls', async () => {
    expect((await failure(submit(read(fd, Buffer.alloc(1), 0, { flags: RWF_HIPRI })))).code).toBe('EINVAL');
  });

  it('into a resizable buffer brings as much as that still takes', async () => {
    const { view, buffer } = resizable(8);
    const reading = submit(read(fd, view, 0));
    buffer.resize(3);
    expect(await reading).toBe(3);
    expect(Buffer.from(buffer).toString()).toBe('012');
  });

  it('that waits is given up with its signal and after its timeout', async () => {
    const [from, to] = await submit(pipe());
    const controller = new AbortController();
    const reading = submit(read(from, Buffer.alloc(1)), { signal: controller.signal });
    controller.abort();
    expect((await failure(reading)).code).toBe('ABORT_ERR');
    expect((await failure(submit(read(from, Buffer.alloc(1)), { timeout: 1 }))).code).toBe('ETIMEDOUT');
    await Promise.all([close(from), close(to)]);
  });
});

describe('write', () => {
  it('writes at a position', async () => {
    expect(await submit(write(fd, Buffer.from('ab'), 4))).toBe(2);
    expect(content()).toBe('0123ab6789');
  });

  it('at the current position moves that on', async () => {
    await submit(write(fd, Buffer.from('ab')));
    await submit(write(fd, Buffer.from('cd'), null));
    expect(content()).toBe('abcd456789');
  });

  it('with RWF_APPEND writes at the end, with RWF_DSYNC to the device', async () => {
    expect(await submit(write(fd, Buffer.from('ab'), 0, { flags: RWF_APPEND | RWF_DSYNC }))).toBe(2);
    expect(content()).toBe('0123456789ab');
  });

  it('to a full device fails with ENOSPC', async () => {
    const full = openSync('/dev/full', 'w');
    expect(await failure(submit(write(full, Buffer.from('x'))))).toMatchObject({
      code: 'ENOSPC',
      syscall: 'write',
    });
    closeSync(full);
  });

  it('to a pipe that nobody reads fails with EPIPE', async () => {
    const [from, to] = await submit(pipe());
    await close(from);
    expect((await failure(submit(write(to, Buffer.from('x'))))).code).toBe('EPIPE');
    await close(to);
  });

  it('from a resizable buffer writes what was there when the op was made', async () => {
    const { view, buffer } = resizable(3);
    view.set(Buffer.from('abc'));
    const writing = submit(write(fd, view, 0));
    buffer.resize(0);
    expect(await writing).toBe(3);
    expect(content()).toBe('abc3456789');
  });

  it('survives that its buffer is transferred away', async () => {
    const bytes = new Uint8Array(Buffer.from('abc'));
    const op = write(fd, bytes, 0);
    try {
      structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    } catch {
      // Later versions of Node refuse.
    }
    await submit(op);
    expect(content()).toBe('abc3456789');
  });
});

describe.each([
  ['readv', readv],
  ['writev', writev],
] as const)('%s', (name, vectored) => {
  it('takes 1024 buffers and no more', async () => {
    const buffers = (count: number): Buffer[] => Array.from({ length: count }, () => Buffer.from('x'));
    expect(await submit(vectored(fd, buffers(1024), 0))).toBe(name === 'readv' ? 10 : 1024);
    for (const count of [0, 1025]) {
      expect(thrown(() => vectored(fd, buffers(count)))).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    }
  });

  it('names the buffer that is none', () => {
    const buffers = [Buffer.alloc(1), 'x'] as unknown as Buffer[];
    expect(thrown(() => vectored(fd, buffers)).message).toMatch(/"buffers\[1\]"/);
    expect(thrown(() => vectored(fd, Buffer.alloc(1) as unknown as Buffer[])).code).toBe(
      'ERR_INVALID_ARG_TYPE',
    );
  });

  it('of a descriptor that is not open fails with EBADF', async () => {
    expect(await failure(submit(vectored(99_999, [Buffer.alloc(1)])))).toMatchObject({
      code: 'EBADF',
      syscall: name.slice(0, -1),
    });
  });

  it('refuses a detached buffer', () => {
    const { port1, port2 } = new MessageChannel();
    const buffer = new Uint8Array(8);
    port1.postMessage(buffer, [buffer.buffer]);
    expect(thrown(() => vectored(fd, [buffer])).name).toBe('TypeError');
    port1.close();
    port2.close();
  });
});

describe('readv', () => {
  // 31 vectors are what the memory takes that an op has of its own; more go apart.
  it.each([1, 30, 31, 32, 33, 200])('fills %i buffers one after the other', async (count) => {
    const bytes = Buffer.alloc(count * 3, '0123456789');
    writeFileSync(path, bytes);
    const buffers = Array.from({ length: count }, () => Buffer.alloc(3));
    expect(await submit(readv(fd, buffers, 0))).toBe(count * 3);
    expect(Buffer.concat(buffers)).toEqual(bytes);
  });

  it('mixes all kinds of views', async () => {
    const { view } = resizable(3);
    const shared = new Uint8Array(new SharedArrayBuffer(2));
    const data = new DataView(new ArrayBuffer(4), 1, 2);
    const empty = new Uint8Array(0);
    expect(await submit(readv(fd, [view, empty, shared, data, Buffer.alloc(8)], 1))).toBe(9);
    expect(Buffer.from(view).toString()).toBe('123');
    expect(Buffer.from(shared).toString()).toBe('45');
    expect(Buffer.from(data.buffer).toString()).toBe('\x0067\0');
  });

  it('that waits is cancelled', async () => {
    const [from, to] = await submit(pipe());
    const reading = submit(readv(from, [Buffer.alloc(1)]));
    reading.cancel();
    expect((await failure(reading)).code).toBe('ABORT_ERR');
    await Promise.all([close(from), close(to)]);
  });
});

describe('writev', () => {
  it('writes at the current position, at another, and at the end', async () => {
    const ab = (): Buffer[] => [Buffer.from('a'), Buffer.from('b')];
    await submit(writev(fd, ab()));
    await submit(writev(fd, ab(), 8));
    await submit(writev(fd, ab(), 0, { flags: RWF_APPEND }));
    expect(content()).toBe('ab234567abab');
  });
});

describe('in registered memory', () => {
  it('all four are the ops for that, by themselves', async () => {
    using pool = new BufferPool({ count: 2, size: 4096, register: true });
    using lease = await pool.acquire();
    const bytes = lease.buffer;
    bytes.set(Buffer.from('abcdef'));
    const opcodes = (...ops: Op<unknown>[]): number[] => ops.map(({ opcode }) => opcode);
    const parts = [bytes.subarray(0, 2), bytes.subarray(2, 6)];
    expect(opcodes(read(fd, bytes), write(fd, bytes), readv(fd, parts), writev(fd, parts))).toEqual([
      4, 5, 60, 61,
    ]);
    expect(opcodes(readv(fd, [parts[0], Buffer.alloc(1)]))).toEqual([1]);
    expect(await submit(writev(fd, parts, 1))).toBe(6);
    expect(content()).toBe('0abcdef789');
    expect(await submit(readv(fd, parts, 4))).toBe(6);
    expect(Buffer.from(bytes.subarray(0, 6)).toString()).toBe('def789');
    expect(await submit(write(fd, bytes.subarray(0, 3), 0))).toBe(3);
    expect(await submit(read(fd, bytes.subarray(0, 3), 7))).toBe(3);
    expect(Buffer.from(bytes.subarray(0, 3)).toString()).toBe('789');
  });
});

describe('File.readv and File.writev', () => {
  it('move several buffers', async () => {
    await using file = await File.open(path, 'r+');
    expect(await file.writev([Buffer.from('ab'), Buffer.from('cd')])).toBe(4);
    expect(await file.writev([Buffer.from('x')], 9)).toBe(1);
    const buffers = [Buffer.alloc(5), Buffer.alloc(50)];
    expect(await file.readv(buffers, 0)).toBe(10);
    expect(buffers[0].toString()).toBe('abcd4');
  });

  it('writev writes on where the kernel took only a part', async () => {
    const [from, to] = await submit(pipe());
    const buffers = Array.from({ length: 40 }, (_, i) => Buffer.alloc(10_000, i));
    await using file = File.fromFd(to);
    const writing = file.writev(buffers);
    const got: Buffer[] = [];
    for (let left = 400_000; left > 0; ) {
      const buffer = Buffer.alloc(30_000);
      const count = await submit(read(from, buffer));
      got.push(buffer.subarray(0, count));
      left -= count;
    }
    expect(await writing).toBe(400_000);
    expect(Buffer.concat(got).equals(Buffer.concat(buffers))).toBe(true);
    await close(from);
  });

  it('writev that is given up says how much was written', async () => {
    const [from, to] = await submit(pipe());
    await using file = File.fromFd(to);
    const error = await file
      .writev([Buffer.alloc(100_000), Buffer.alloc(100_000)], null, { timeout: 50 })
      .then(
        () => null,
        (reason: unknown) => reason,
      );
    expect(error).toMatchObject({ code: 'ETIMEDOUT', syscall: 'write' });
    await close(from);
  });

  it('of a closed file fail with EBADF', async () => {
    const file = await File.open(path);
    await file.close();
    expect((await failure(file.readv([Buffer.alloc(1)]))).code).toBe('EBADF');
    expect((await failure(file.writev([Buffer.alloc(1)]))).code).toBe('EBADF');
  });
});
