import { closeSync, existsSync, openSync, read, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  CompressionStream,
  DecompressionStream,
  ReadableStream,
  TextDecoderStream,
  TransformStream,
} from 'node:stream/web';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { File, type WritableChunk } from '@ouro/fs';
import { describe, expect, it } from 'vitest';
import { begun, descriptorInfo, failure, fifo, submitted, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
const CONTENT = Buffer.from(Array.from({ length: 300_007 }, (_, i) => (i * 31 + (i >> 8) * 7) & 0xff));
writeFileSync(path, CONTENT);

let names = 0;
const newPath = (): string => join(dir, `new-${names++}`);

async function openPipe(): Promise<{ readonly file: File; readonly peer: number }> {
  const name = fifo(newPath());
  const file = await File.open(name, 'r+');
  return { file, peer: openSync(name, 'r+') };
}

async function all(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** By a thread of Node's: the poll engine writes the rest in turns of this one. */
const readFrom = async (fd: number, into: Buffer): Promise<number> =>
  (await promisify(read)(fd, into, 0, into.length, null)).bytesRead;

const isOpen = (fd: number): boolean => existsSync(`/proc/self/fd/${fd}`);

describe('readable', () => {
  it('is a stream of all bytes of the file', async () => {
    await using file = await File.open(path);
    const stream = file.readable();
    expect(stream).toBeInstanceOf(ReadableStream);
    expect((await all(stream)).equals(CONTENT)).toBe(true);
  });

  it.each([1000, 65_536, 1 << 20])('brings chunks of %i bytes', async (chunkSize) => {
    await using file = await File.open(path);
    const reader = file.readable({ chunkSize }).getReader();
    const { value } = await reader.read();
    expect(value?.length).toBe(Math.min(chunkSize, CONTENT.length));
    await reader.cancel();
  });

  it('may be of a part', async () => {
    await using file = await File.open(path);
    const stream = file.readable({ start: 1000, end: 200_000, chunkSize: 777 });
    expect((await all(stream)).equals(CONTENT.subarray(1000, 200_001))).toBe(true);
  });

  it('reads nothing before it is asked for, and little ahead: back-pressure', async () => {
    await using file = await File.open(path);
    const before = begun();
    const stream = file.readable({ chunkSize: 1000, ahead: 3 });
    await submitted();
    expect(begun() - before).toBe(1);
    const reader = stream.getReader();
    await reader.read();
    for (let turn = 0; turn < 10; turn++) await submitted();
    expect(begun() - before).toBeLessThanOrEqual(1 + 10 + 4);
    await reader.cancel();
  });

  it('fills the buffers of a reader that brings its own', async () => {
    await using file = await File.open(path);
    const reader = file.readable({ chunkSize: 10_000 }).getReader({ mode: 'byob' });
    const found: Buffer[] = [];
    let memory = new ArrayBuffer(7001);
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(memory, 1));
      if (done || value === undefined) break;
      expect([value.byteOffset, value.length]).toEqual([1, value.length]);
      found.push(Buffer.from(value));
      memory = value.buffer;
      expect(memory.byteLength).toBe(7001);
    }
    expect(Buffer.concat(found).equals(CONTENT)).toBe(true);
  });

  it('serves readers of both kinds, one after the other', async () => {
    await using file = await File.open(path);
    const stream = file.readable({ chunkSize: 10_000 });
    const found: Buffer[] = [];
    for (let round = 0; ; round++) {
      let chunk: Uint8Array | undefined;
      if (round % 2 === 0) {
        const reader = stream.getReader({ mode: 'byob' });
        ({ value: chunk } = await reader.read(new Uint8Array(300)));
        reader.releaseLock();
      } else {
        const reader = stream.getReader();
        ({ value: chunk } = await reader.read());
        reader.releaseLock();
      }
      if (chunk === undefined || chunk.length === 0) break;
      found.push(Buffer.from(chunk));
    }
    expect(Buffer.concat(found).equals(CONTENT)).toBe(true);
  });

  it('can be read as any kind of view', async () => {
    await using file = await File.open(path);
    const reader = file.readable().getReader({ mode: 'byob' });
    const { value } = await reader.read(new Uint32Array(4));
    expect(Buffer.from(value?.buffer ?? new ArrayBuffer(0)).equals(CONTENT.subarray(0, 16))).toBe(true);
    await reader.cancel();
  });

  it('gives chunks that are the reader’s: their memory is nobody else’s', async () => {
    await using file = await File.open(path);
    const chunks: Uint8Array[] = [];
    for await (const chunk of file.readable({ chunkSize: 10_000 })) {
      chunks.push(chunk);
      chunk.fill(0);
    }
    expect(new Set(chunks.map(({ buffer }) => buffer)).size).toBe(chunks.length);
    const [first] = chunks;
    const moved = structuredClone(first?.buffer, { transfer: [first?.buffer as ArrayBuffer] });
    expect([moved?.byteLength, first?.length]).toEqual([10_000, 0]);
  });

  it('brings what a pipe has, as it comes', async () => {
    const { file, peer } = await openPipe();
    const reader = file.readable().getReader();
    const waiting = reader.read();
    await submitted();
    writeSync(peer, 'one');
    expect(Buffer.from((await waiting).value ?? []).toString()).toBe('one');
    writeSync(peer, 'two');
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe('two');
    await reader.cancel();
    closeSync(peer);
    await file.close();
  });

  it('that is cancelled gives up what is in flight, and the file stays open', async () => {
    const { file, peer } = await openPipe();
    const reader = file.readable().getReader();
    const waiting = reader.read();
    await submitted();
    await reader.cancel('enough');
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect([file.descriptor.idle, isOpen(file.fd)]).toEqual([true, true]);
    writeSync(peer, 'still there');
    expect(await file.read(Buffer.alloc(20))).toBe(11);
    closeSync(peer);
    await file.close();
  });

  it('that is cancelled while a reader’s own buffer waits gives that up too', async () => {
    const { file, peer } = await openPipe();
    const reader = file.readable().getReader({ mode: 'byob' });
    const waiting = reader.read(new Uint8Array(10));
    await submitted();
    await reader.cancel();
    expect((await waiting).done).toBe(true);
    closeSync(peer);
    await file.close();
  });

  it('fails where reading fails', async () => {
    await using file = await File.open(dir);
    expect(await failure(all(file.readable()))).toMatchObject({ code: 'EISDIR', syscall: 'read' });
  });

  it('fails when its file is closed, or its signal aborts', async () => {
    const { file, peer } = await openPipe();
    const controller = new AbortController();
    const aborted = failure(file.readable({ signal: controller.signal }).getReader().read());
    await submitted();
    controller.abort();
    expect(await aborted).toMatchObject({ code: 'ABORT_ERR' });
    const closed = failure(file.readable().getReader().read());
    await submitted();
    await file.close();
    expect(await closed).toMatchObject({ code: 'ECANCELED' });
    expect(await failure(file.readable().getReader().read())).toMatchObject({ code: 'EBADF' });
    closeSync(peer);
  });

  describe('with autoClose closes the file', () => {
    it('at its end', async () => {
      const file = await File.open(path);
      const { fd } = file;
      await all(file.readable({ autoClose: true }));
      expect([file.fd, isOpen(fd)]).toEqual([-1, false]);
    });

    it('at its end for a reader with a buffer of its own', async () => {
      const file = await File.open(path);
      const reader = file.readable({ autoClose: true, start: CONTENT.length }).getReader({ mode: 'byob' });
      expect(await reader.read(new Uint8Array(10))).toEqual({ done: true, value: new Uint8Array(0) });
      expect(file.fd).toBe(-1);
    });

    it('when it is cancelled', async () => {
      const file = await File.open(path);
      const stream = file.readable({ autoClose: true });
      for await (const _ of stream) break;
      expect(file.fd).toBe(-1);
    });

    it('when it fails', async () => {
      const file = await File.open(dir);
      await failure(all(file.readable({ autoClose: true })));
      expect(file.fd).toBe(-1);
    });
  });

  it('without it leaves the file open', async () => {
    await using file = await File.open(path);
    await all(file.readable());
    expect(isOpen(file.fd)).toBe(true);
  });

  it('refuses bad arguments at once', async () => {
    await using file = await File.open(path);
    for (const [name, value, code] of [
      ['chunkSize', 0, 'ERR_OUT_OF_RANGE'],
      ['chunkSize', 'x', 'ERR_INVALID_ARG_TYPE'],
      ['start', -1, 'ERR_OUT_OF_RANGE'],
      ['ahead', 0, 'ERR_OUT_OF_RANGE'],
      ['autoClose', 1, 'ERR_INVALID_ARG_TYPE'],
      ['signal', 1, 'ERR_INVALID_ARG_TYPE'],
    ] as const) {
      expect(thrown(() => file.readable({ [name]: value } as never))).toMatchObject({
        code,
        message: expect.stringContaining(`options.${name}`),
      });
    }
  });
});

describe('a readable file goes into', () => {
  it('a writable one, by pipeTo', async () => {
    const copy = newPath();
    await using from = await File.open(path);
    const to = await File.open(copy, 'w');
    await from.readable().pipeTo(to.writable({ autoClose: true }));
    expect(to.fd).toBe(-1);
    expect(readFileSync(copy).equals(CONTENT)).toBe(true);
  });

  it('Readable.fromWeb', async () => {
    await using file = await File.open(path);
    expect((await all(Readable.fromWeb(file.readable()))).equals(CONTENT)).toBe(true);
  });

  it('a pipeline of Node streams', async () => {
    const copy = newPath();
    await using from = await File.open(path);
    await using to = await File.open(copy, 'w');
    await pipeline(Readable.fromWeb(from.readable()), Writable.fromWeb(to.writable()));
    expect(readFileSync(copy).equals(CONTENT)).toBe(true);
  });

  it('a Response', async () => {
    await using file = await File.open(path);
    const response = new Response(file.readable() as never);
    expect(Buffer.from(await response.arrayBuffer()).equals(CONTENT)).toBe(true);
  });

  it('a CompressionStream and out of a DecompressionStream', async () => {
    const packed = newPath();
    await using file = await File.open(path);
    await using to = await File.open(packed, 'w+');
    await file.readable().pipeThrough(new CompressionStream('gzip')).pipeTo(to.writable());
    expect(gunzipSync(readFileSync(packed)).equals(CONTENT)).toBe(true);
    const unpacked = to.readable({ start: 0 }).pipeThrough(new DecompressionStream('gzip'));
    expect((await all(unpacked)).equals(CONTENT)).toBe(true);
  });

  it('a TextDecoderStream', async () => {
    const text = 'näxt: € 😀 '.repeat(1000);
    const name = newPath();
    writeFileSync(name, text);
    await using file = await File.open(name);
    let found = '';
    for await (const piece of file.readable({ chunkSize: 7 }).pipeThrough(new TextDecoderStream()))
      found += piece;
    expect(found).toBe(text);
  });

  it('two, by tee', async () => {
    await using file = await File.open(path);
    const [one, other] = file.readable({ chunkSize: 10_000 }).tee();
    const found = await Promise.all([all(one), all(other)]);
    for (const each of found) expect(each.equals(CONTENT)).toBe(true);
  });
});

describe('writable', () => {
  it('writes text and bytes of every kind', async () => {
    const name = newPath();
    await using file = await File.open(name, 'w');
    const writer = file.writable().getWriter();
    const chunks: WritableChunk[] = [
      'text ä',
      Buffer.from('buffer'),
      new Uint8Array([1, 2, 3]).subarray(1),
      new DataView(new ArrayBuffer(2)),
      Uint16Array.of(0x4241),
      new Uint8Array([9]).buffer,
      new SharedArrayBuffer(1),
      '',
      new Uint8Array(0),
    ];
    for (const chunk of chunks) await writer.write(chunk);
    await writer.close();
    expect(readFileSync(name, 'latin1')).toBe('text \u00c3\u00a4buffer\x02\x03\0\0AB\t\0');
  });

  it('begins where the file stands, which moves on, or at a start, which leaves it', async () => {
    const name = newPath();
    writeFileSync(name, '0123456789');
    await using file = await File.open(name, 'r+');
    await file.read(Buffer.alloc(2));
    const here = file.writable().getWriter();
    await here.write('ab');
    await here.write('cd');
    expect(descriptorInfo(file.fd).pos).toBe(6);
    const there = file.writable({ start: 7n }).getWriter();
    await there.write('x');
    await there.write('yz');
    expect([descriptorInfo(file.fd).pos, readFileSync(name, 'utf8')]).toEqual([6, '01abcd6xyz']);
  });

  it('makes writers wait: back-pressure', async () => {
    const { file, peer } = await openPipe();
    const writer = file.writable({ highWaterMark: 100_000 }).getWriter();
    expect(writer.desiredSize).toBe(100_000);
    await writer.ready;
    const writes = [Buffer.alloc(70_000), Buffer.alloc(70_000)].map((chunk) => writer.write(chunk));
    expect(writer.desiredSize).toBe(-40_000);
    let ready = false;
    const waiting = writer.ready.then(() => {
      ready = true;
    });
    await submitted();
    expect(ready).toBe(false);
    const buffer = Buffer.alloc(65_536);
    for (let length = 0; length < 140_000; ) length += await readFrom(peer, buffer);
    await Promise.all([...writes, waiting]);
    await writer.close();
    closeSync(peer);
    await file.close();
  });

  it('that is aborted gives up the write in hand', async () => {
    const { file, peer } = await openPipe();
    const writer = file.writable().getWriter();
    const writing = failure(writer.write(Buffer.alloc(1 << 20)));
    await submitted();
    await writer.abort(new Error('enough'));
    expect(await writing).toMatchObject({ code: 'ABORT_ERR' });
    expect([file.descriptor.idle, isOpen(file.fd)]).toEqual([true, true]);
    closeSync(peer);
    await file.close();
  });

  it('that is aborted by the stream it is piped from says why', async () => {
    const name = newPath();
    const file = await File.open(name, 'w');
    const from = new ReadableStream<WritableChunk>({
      start: (controller) => controller.enqueue('begin'),
      pull: (controller) => controller.error(new Error('mine')),
    });
    await expect(from.pipeTo(file.writable({ autoClose: true }))).rejects.toThrow('mine');
    expect([file.fd, readFileSync(name, 'utf8')]).toEqual([-1, 'begin']);
  });

  it('fails where writing fails, and for what is no data', async () => {
    await using file = await File.open(path);
    const writer = file.writable().getWriter();
    const closed = failure(writer.closed);
    expect(await failure(writer.write('x'))).toMatchObject({ code: 'EBADF', syscall: 'write' });
    expect(await closed).toMatchObject({ code: 'EBADF' });
    const other = file.writable().getWriter();
    other.closed.catch(() => {});
    expect(await failure(other.write(5 as never))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    const last = file.writable().getWriter();
    last.closed.catch(() => {});
    const gone = new Uint8Array(4);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    expect((await failure(last.write(gone))).name).toBe('TypeError');
  });

  it('fails with ENOSPC where nothing fits any more, which ends what is piped into it', async () => {
    const from = await File.open(path);
    const to = await File.open('/dev/full', 'w');
    const piping = from.readable({ autoClose: true }).pipeTo(to.writable({ autoClose: true }));
    expect(await failure(piping)).toMatchObject({ code: 'ENOSPC', syscall: 'write' });
    expect([from.fd, to.fd]).toEqual([-1, -1]);
  });

  it('fails when its file is closed or its signal has aborted', async () => {
    const file = await File.open(newPath(), 'w');
    const writer = file.writable().getWriter();
    writer.closed.catch(() => {});
    const aborted = file.writable({ signal: AbortSignal.abort() }).getWriter();
    aborted.closed.catch(() => {});
    expect(await failure(aborted.write('x'))).toMatchObject({ code: 'ABORT_ERR' });
    await file.close();
    expect(await failure(writer.write('x'))).toMatchObject({ code: 'EBADF' });
  });

  it('leaves the file open, and with autoClose closes it: when closed, aborted or failed', async () => {
    const file = await File.open(newPath(), 'w');
    await file.writable().close();
    expect(isOpen(file.fd)).toBe(true);
    await file.writable({ autoClose: true }).close();
    expect(file.fd).toBe(-1);
    const aborted = await File.open(newPath(), 'w');
    await aborted.writable({ autoClose: true }).abort();
    expect(aborted.fd).toBe(-1);
    const failed = await File.open(path);
    const writer = failed.writable({ autoClose: true }).getWriter();
    writer.closed.catch(() => {});
    await failure(writer.write('x'));
    expect(failed.fd).toBe(-1);
  });

  it('of a file opened for appending writes at its end', async () => {
    const name = newPath();
    writeFileSync(name, 'there,');
    await using file = await File.open(name, 'a');
    const writer = file.writable({ start: 0 }).getWriter();
    await writer.write('more');
    expect(readFileSync(name, 'utf8')).toBe('there,more');
  });

  it('writes what a TransformStream brings', async () => {
    const name = newPath();
    await using from = await File.open(path);
    await using to = await File.open(name, 'w');
    const inverted = new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => controller.enqueue(chunk.map((byte) => byte ^ 0xff)),
    });
    await from.readable().pipeThrough(inverted).pipeTo(to.writable());
    expect(readFileSync(name).equals(Buffer.from(CONTENT.map((byte) => byte ^ 0xff)))).toBe(true);
  });

  it('refuses bad arguments at once', async () => {
    await using file = await File.open(path);
    for (const [name, value, code] of [
      ['start', -1, 'ERR_OUT_OF_RANGE'],
      ['start', 'x', 'ERR_INVALID_ARG_TYPE'],
      ['highWaterMark', -1, 'ERR_OUT_OF_RANGE'],
      ['autoClose', 'yes', 'ERR_INVALID_ARG_TYPE'],
      ['timeout', -1, 'ERR_OUT_OF_RANGE'],
    ] as const) {
      expect(thrown(() => file.writable({ [name]: value } as never))).toMatchObject({
        code,
        message: expect.stringContaining(`options.${name}`),
      });
    }
  });
});

describe('memory', () => {
  it('of a reader’s own buffer may be taken away while its read waits', async () => {
    const { file, peer } = await openPipe();
    const reader = file.readable().getReader({ mode: 'byob' });
    const memory = new ArrayBuffer(64);
    const waiting = reader.read(new Uint8Array(memory));
    expect(memory.byteLength).toBe(0); // it is the stream's now
    await submitted();
    writeSync(peer, 'arrived');
    const { value } = await waiting;
    expect(Buffer.from(value ?? []).toString()).toBe('arrived');
    structuredClone(value?.buffer, { transfer: [value?.buffer as ArrayBuffer] });
    await reader.cancel();
    closeSync(peer);
    await file.close();
  });

  it.each([100, 100_000])(
    'of %i bytes that has been written can be used again for the next chunk',
    async (size) => {
      const name = newPath();
      await using from = await File.open(path);
      await using to = await File.open(name, 'w');
      const reader = from.readable().getReader({ mode: 'byob' });
      const writer = to.writable().getWriter();
      let memory = new ArrayBuffer(size);
      let length = 0;
      while (length < 300_000) {
        const { value } = await reader.read(new Uint8Array(memory));
        if (value === undefined) break;
        await writer.write(value);
        length += value.length;
        memory = value.buffer;
      }
      await reader.cancel();
      expect(readFileSync(name).equals(CONTENT.subarray(0, length))).toBe(true);
      expect(structuredClone(memory, { transfer: [memory] }).byteLength).toBe(size);
      expect(memory.byteLength).toBe(0);
    },
  );

  it('that is being written stays, whatever becomes of the chunk', async () => {
    const { file, peer } = await openPipe();
    const writer = file.writable().getWriter();
    const chunk = new Uint8Array(200_000).fill(7);
    const writing = writer.write(chunk);
    await submitted();
    try {
      structuredClone(chunk.buffer, { transfer: [chunk.buffer] });
    } catch {
      // Node 22 and newer
    }
    const found = Buffer.alloc(200_000);
    for (let length = 0; length < found.length; ) length += await readFrom(peer, found.subarray(length));
    await writing;
    expect(found.equals(Buffer.alloc(200_000, 7))).toBe(true);
    closeSync(peer);
    await file.close();
  });
});
