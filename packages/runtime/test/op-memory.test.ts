import { openSync, writeSync } from 'node:fs';
import { IORING_CQE_BUFFER_SHIFT, IORING_OP_READ, IOSQE_BUFFER_SELECT } from '@ouro/native/abi';
import { AbortError, Op, opKind, stream, submit } from '@ouro/runtime';
import { BufferRing } from '@ouro/runtime/driver';
import {
  MADV_COLD,
  MADV_HUGEPAGE,
  MADV_NOHUGEPAGE,
  MADV_NORMAL,
  MADV_PAGEOUT,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  MADV_RANDOM,
  MADV_SEQUENTIAL,
  MADV_WILLNEED,
  madvise,
  provideBuffers,
  readMultishot,
  removeBuffers,
} from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import { namedPipe } from './named-pipe.ts';

const MADV_DONTNEED = 4;
const MADV_FREE = 8;

describe('madvise', () => {
  it('takes all advice that leaves the contents as they are', async () => {
    const memory = Buffer.alloc(1 << 20, 'x');
    const advice = [MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_COLD, MADV_PAGEOUT];
    advice.push(MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_POPULATE_READ, MADV_POPULATE_WRITE);
    for (const each of advice) expect(await submit(madvise(memory, each))).toBe(undefined);
    expect(memory.every((byte) => byte === 'x'.charCodeAt(0))).toBe(true);
  });

  it('has pages made before they are touched', async () => {
    const bytes = 64 << 20;
    const memory = new Uint8Array(new SharedArrayBuffer(bytes));
    const before = process.memoryUsage.rss();
    await submit(madvise(memory, MADV_POPULATE_WRITE));
    expect(process.memoryUsage.rss() - before).toBeGreaterThan(bytes / 2);
  });

  it('concerns whole pages within the view only', () => {
    const memory = Buffer.alloc(1 << 16);
    const { addr, len } = madvise(memory.subarray(1, 40_000), MADV_COLD);
    expect(addr % 4096).toBe(0);
    expect(len % 4096).toBe(0);
    expect(len).toBeLessThan(40_000);
    expect(madvise(memory.subarray(1, 100), MADV_COLD).len).toBe(0);
  });

  it('fails where the kernel knows no such advice', async () => {
    const op = madvise(Buffer.alloc(1 << 16), MADV_COLD);
    op.opFlags = 9999;
    await expect(submit(op)).rejects.toMatchObject({ code: 'EINVAL', errno: -22, syscall: 'madvise' });
  });

  it('is refused for what destroys contents, and for memory that may move', () => {
    const memory = Buffer.alloc(1 << 16);
    for (const advice of [MADV_DONTNEED, MADV_FREE]) {
      expect(() => madvise(memory, advice)).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }));
    }
    expect(() => madvise('x' as never, MADV_COLD)).toThrow(TypeError);
    const resizable = Reflect.construct(ArrayBuffer, [65_536, { maxByteLength: 131_072 }]) as ArrayBuffer;
    expect(() => madvise(new Uint8Array(resizable), MADV_COLD)).toThrow(/stays in place/);
    const detached = new Uint8Array(65_536);
    structuredClone(detached, { transfer: [detached.buffer] });
    expect(() => madvise(detached, MADV_COLD)).toThrow(TypeError);
  });
});

/** A read into whichever buffer of a group the kernel takes: the number of that, and how much. */
const SELECTED = opKind<[number, number]>('read', {
  decode: (count, _op, _slot, flags) => [flags >>> IORING_CQE_BUFFER_SHIFT, count],
});

function readInto(group: number, fd: number): Op<[number, number]> {
  const op = new Op(SELECTED, IORING_OP_READ, -1, 0, 100);
  op.flags = IOSQE_BUFFER_SELECT;
  op.buf = group;
  return op.on(fd);
}

describe('provideBuffers and removeBuffers', () => {
  it('give the kernel buffers to choose from', async () => {
    using pipe = namedPipe();
    const slab = Buffer.alloc(300);
    expect(await submit(provideBuffers(50, slab, 100, 3, 7))).toBe(undefined);
    writeSync(pipe.writer, 'hello');
    const [id, count] = await submit(readInto(50, pipe.reader));
    expect(id).toBeGreaterThanOrEqual(7);
    expect(slab.toString('latin1', (id - 7) * 100, (id - 7) * 100 + count)).toBe('hello');
    expect(await submit(removeBuffers(50, 1))).toBe(1);
    expect(await submit(removeBuffers(50, 100))).toBe(1);
    writeSync(pipe.writer, 'x');
    await expect(submit(readInto(50, pipe.reader))).rejects.toMatchObject({ code: 'ENOBUFS' });
  });

  it('fail for a group that is none, or that of a ring', async () => {
    await expect(submit(removeBuffers(51, 1))).rejects.toMatchObject({
      code: 'ENOENT',
      errno: -2,
      syscall: 'remove_buffers',
    });
    const ring = new BufferRing({ entries: 2, size: 100 });
    await expect(submit(provideBuffers(ring.group, Buffer.alloc(100), 100, 1))).rejects.toMatchObject({
      code: 'EINVAL',
      syscall: 'provide_buffers',
    });
    await expect(submit(removeBuffers(ring.group, 1))).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it('are refused for memory that is too small or may move', () => {
    const slab = Buffer.alloc(100);
    expect(() => provideBuffers(50, slab, 50, 3)).toThrow(
      expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }),
    );
    expect(() => provideBuffers(-1, slab, 50, 2)).toThrow(/group/);
    expect(() => provideBuffers(50, slab, 50, 2, 65_535)).toThrow(/firstId/);
    expect(() => removeBuffers(50, 0)).toThrow(/count/);
    const resizable = Reflect.construct(ArrayBuffer, [100, { maxByteLength: 200 }]) as ArrayBuffer;
    expect(() => provideBuffers(50, new Uint8Array(resizable), 50, 2)).toThrow(/stays in place/);
    const detached = new Uint8Array(100);
    structuredClone(detached, { transfer: [detached.buffer] });
    expect(() => provideBuffers(50, detached, 50, 2)).toThrow(RangeError);
  });
});

describe('readMultishot', () => {
  const ring = new BufferRing({ entries: 2, size: 4096, incremental: false });

  it('brings what comes through a pipe, until that ends', async () => {
    using pipe = namedPipe();
    const chunks: string[] = [];
    writeSync(pipe.writer, 'one');
    for await (const chunk of stream(readMultishot(pipe.reader, ring))) {
      chunks.push(chunk.toString());
      if (chunks.length < 20) writeSync(pipe.writer, `more ${chunks.length}`);
      else pipe.closeWriter();
    }
    expect(chunks).toHaveLength(20);
    expect(chunks[0]).toBe('one');
    expect(chunks[19]).toBe('more 19');
  });

  it('yields memory that is the caller’s', async () => {
    using pipe = namedPipe();
    const reading = stream(readMultishot(pipe.reader, ring));
    const chunks: Buffer[] = [];
    for (const text of ['a', 'b', 'c', 'd']) {
      const next = reading.next();
      writeSync(pipe.writer, text);
      const { value } = await next;
      if (value !== undefined) chunks.push(value);
    }
    expect(Buffer.concat(chunks).toString()).toBe('abcd');
    await reading.return();
  });

  it('gives buffers back that arrive after it was left', async () => {
    using pipe = namedPipe();
    for (let i = 0; i < 10; i++) {
      const reading = stream(readMultishot(pipe.reader, ring));
      void reading.next();
      await submit(new Op(opKind('nop'), 0)); // the read is in the kernel
      writeSync(pipe.writer, 'late');
      await reading.return();
    }
    const reading = stream(readMultishot(pipe.reader, ring));
    const next = reading.next();
    writeSync(pipe.writer, 'x');
    expect(String((await next).value)).toMatch(/x$/);
    await reading.return();
  });

  it('can be cancelled', async () => {
    using pipe = namedPipe();
    const reading = stream(readMultishot(pipe.reader, ring));
    const next = reading.next();
    reading.cancel();
    await expect(next).rejects.toThrow(AbortError);
  });

  it('fails for a file that cannot be polled, and where all buffers are in use', async () => {
    const file = openSync('/etc/passwd', 'r');
    await expect(stream(readMultishot(file, ring)).next()).rejects.toMatchObject({
      code: 'EBADFD',
      errno: -77,
      syscall: 'read',
    });
    using pipe = namedPipe();
    writeSync(pipe.writer, 'x'.repeat(65_536));
    const reading = stream(readMultishot(pipe.reader, ring));
    let bytes = 0;
    await expect(
      (async () => {
        for await (const chunk of reading) bytes += chunk.length;
      })(),
    ).rejects.toMatchObject({ code: 'ENOBUFS' });
    // Nothing is lost: the next one goes on.
    while (bytes < 65_536) {
      const next = stream(readMultishot(pipe.reader, ring));
      try {
        for await (const chunk of next) {
          bytes += chunk.length;
          if (bytes === 65_536) break;
        }
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOBUFS' });
      }
    }
    expect(() => readMultishot(pipe.reader, {} as never)).toThrow(TypeError);
  });
});
