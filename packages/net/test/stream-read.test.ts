import type { TcpStream } from '@ouro/net';
import { metrics } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import {
  bytes,
  failure,
  leavesNothing,
  mixed,
  POLL,
  pair,
  readAll,
  readExactly,
  sockets,
} from './support.ts';

/** Reads once through a loop, so that all that arrives from then on goes through the stream's own buffer. */
async function firstChunk(stream: TcpStream): Promise<string> {
  for await (const chunk of stream) return chunk.toString();
  return '';
}

/** Waits until `count` bytes lie in the stream. */
const arrived = (stream: TcpStream, count: number): Promise<void> =>
  expect.poll(() => stream.buffered, POLL).toBe(count);

describe('read', () => {
  it('resolves to the number of bytes that have arrived', async () => {
    await using ends = await pair();
    await ends.client.writeAll('hello');
    const buffer = Buffer.alloc(10);
    expect(await ends.server.read(buffer)).toBe(5);
    expect(buffer.toString('latin1')).toBe('hello\0\0\0\0\0');
  });

  it('waits for the first byte', async () => {
    await using ends = await pair();
    const buffer = Buffer.alloc(10);
    const reading = ends.server.read(buffer);
    await ends.client.writeAll('later');
    expect(await reading).toBe(5);
    expect(buffer.toString('latin1', 0, 5)).toBe('later');
  });

  it('fills no more than the buffer, and leaves the rest for the next read', async () => {
    await using ends = await pair();
    await ends.client.writeAll('abcdef');
    const parts: string[] = [];
    for (let i = 0; i < 3; i++) {
      const buffer = Buffer.alloc(2);
      await ends.server.read(buffer);
      parts.push(buffer.toString());
    }
    expect(parts).toEqual(['ab', 'cd', 'ef']);
  });

  it('writes to the view only, not to the rest of its buffer', async () => {
    await using ends = await pair();
    const whole = new Uint8Array(8).fill(0x2e);
    await ends.client.writeAll('abcdefgh');
    expect(await ends.server.read(whole.subarray(2, 5))).toBe(3);
    expect(Buffer.from(whole).toString()).toBe('..abc...');
  });

  const views: [kind: string, over: (memory: ArrayBuffer) => ArrayBufferView][] = [
    ['Uint8ClampedArray', (memory) => new Uint8ClampedArray(memory, 8, 8)],
    ['Int16Array', (memory) => new Int16Array(memory, 8, 4)],
    ['Float32Array', (memory) => new Float32Array(memory, 8, 2)],
    ['BigUint64Array', (memory) => new BigUint64Array(memory, 8, 1)],
    ['DataView', (memory) => new DataView(memory, 8, 8)],
  ];
  it.each(views)('fills a %s', async (_kind, over) => {
    await using ends = await pair();
    const memory = new ArrayBuffer(24);
    await ends.client.writeAll('12345678');
    expect(await ends.server.read(over(memory))).toBe(8);
    expect(Buffer.from(memory).toString('latin1')).toBe(`${'\0'.repeat(8)}12345678${'\0'.repeat(8)}`);
  });

  it('into an empty buffer is 0 at once, and no end', async () => {
    await using ends = await pair();
    expect(await ends.server.read(Buffer.alloc(0))).toBe(0);
    await ends.client.writeAll('x');
    expect(await ends.server.read(Buffer.alloc(1))).toBe(1);
  });

  it('is 0 at the end of the stream, every time', async () => {
    await using ends = await pair();
    await ends.client.shutdown();
    const buffer = Buffer.alloc(10);
    expect([await ends.server.read(buffer), await ends.server.read(buffer)]).toEqual([0, 0]);
  });

  it('gives what was sent before the end first', async () => {
    await using ends = await pair();
    await ends.client.writeAll('last words');
    await ends.client.close();
    expect((await readExactly(ends.server, 100)).toString()).toBe('last words');
  });

  it('takes what a loop has left behind', async () => {
    await using ends = await pair();
    await ends.client.writeAll('1');
    for await (const chunk of ends.server) {
      expect(chunk.toString()).toBe('1');
      await ends.client.writeAll('234567');
      await arrived(ends.server, 6);
      break;
    }
    expect(ends.server.buffered).toBe(6);
    const buffer = Buffer.alloc(4);
    expect(await ends.server.read(buffer)).toBe(4);
    expect(buffer.toString()).toBe('2345');
    expect(ends.server.buffered).toBe(2);
    expect((await readExactly(ends.server, 2)).toString()).toBe('67');
  });

  it('gathers several chunks that lie there into one buffer', async () => {
    await using ends = await pair();
    await ends.client.writeAll('.');
    for await (const _ of ends.server) {
      for (let i = 1; i <= 3; i++) {
        await ends.client.writeAll('abc');
        await arrived(ends.server, 3 * i);
      }
      break;
    }
    const buffer = Buffer.alloc(8);
    expect(await ends.server.read(buffer)).toBe(8);
    expect(buffer.toString()).toBe('abcabcab');
    expect((await readExactly(ends.server, 1)).toString()).toBe('c');
  });

  it('waits after a loop was left with nothing behind', async () => {
    await using ends = await pair();
    await ends.client.writeAll('first');
    expect(await firstChunk(ends.server)).toBe('first');
    const buffer = Buffer.alloc(10);
    const reading = ends.server.read(buffer);
    await ends.client.writeAll('second');
    expect(await reading).toBe(6);
  });

  it('is refused while another one waits', async () => {
    await using ends = await pair();
    const buffer = Buffer.alloc(5);
    const first = ends.server.read(buffer);
    expect(await failure(ends.server.read(Buffer.alloc(5)))).toEqual({
      message: 'Another read of this stream is waiting',
      code: 'ERR_INVALID_STATE',
    });
    await ends.client.writeAll('first');
    expect(await first).toBe(5);
    expect(buffer.toString()).toBe('first');
  });

  it('is refused while another one waits after a loop', async () => {
    await using ends = await pair();
    const chunks = ends.server[Symbol.asyncIterator]();
    await ends.client.writeAll('0');
    await chunks.next();
    const buffer = Buffer.alloc(5);
    const first = ends.server.read(buffer);
    expect(await failure(ends.server.read(Buffer.alloc(5)))).toMatchObject({ code: 'ERR_INVALID_STATE' });
    await ends.client.writeAll('first');
    expect(await first).toBe(5);
  });

  it('is refused while a loop waits', async () => {
    await using ends = await pair();
    const chunk = firstChunk(ends.server);
    expect(await failure(ends.server.read(Buffer.alloc(5)))).toMatchObject({ code: 'ERR_INVALID_STATE' });
    await ends.client.writeAll('for the loop');
    expect(await chunk).toBe('for the loop');
  });

  it('holds a loop off while it waits', async () => {
    await using ends = await pair();
    const reading = ends.server.read(Buffer.alloc(5));
    expect(await failure(firstChunk(ends.server))).toMatchObject({ code: 'ERR_INVALID_STATE' });
    await ends.client.writeAll('hello');
    expect(await reading).toBe(5);
  });

  it('can be asked for again once the other one has settled', async () => {
    await using ends = await pair();
    const first = ends.server.read(Buffer.alloc(5));
    first.cancel();
    expect(await failure(first)).toMatchObject({ code: 'ABORT_ERR' });
    await ends.client.writeAll('hello');
    expect(await ends.server.read(Buffer.alloc(5))).toBe(5);
  });

  it('does not begin with a signal that was aborted before', async () => {
    await using ends = await pair();
    const before = metrics().pending;
    const reading = ends.server.read(Buffer.alloc(5), { signal: AbortSignal.abort('before') });
    expect(metrics().pending).toBe(before);
    await expect(reading).rejects.toMatchObject({ name: 'AbortError', cause: 'before' });
  });

  it.each([undefined, null, 'text', 5, {}, [], new ArrayBuffer(8)])(
    'throws a TypeError for %o',
    async (value) => {
      await using ends = await pair();
      const read = (): unknown => ends.server.read(value as unknown as Uint8Array);
      expect(read).toThrow(TypeError);
      expect(read).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }));
    },
  );

  it('throws a TypeError for a signal that is none', async () => {
    await using ends = await pair();
    const read = (): unknown => ends.server.read(Buffer.alloc(1), { signal: {} as AbortSignal });
    expect(read).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }));
  });
});

describe('a loop over a stream', () => {
  it('gives what arrives, in chunks, until the end', async () => {
    await using ends = await pair();
    const data = bytes(300_000, 1);
    const sending = ends.client.writeAll(data).then(() => ends.client.shutdown());
    const received = await readAll(ends.server);
    await sending;
    expect(received.equals(data)).toBe(true);
  });

  it('gives Buffers that belong to the caller', async () => {
    await using ends = await pair();
    const chunks: Buffer[] = [];
    const loop = (async () => {
      for await (const chunk of ends.server) chunks.push(chunk);
    })();
    for (let i = 0; i < 100; i++) {
      await ends.client.writeAll(Buffer.alloc(100, i));
      await expect.poll(() => Buffer.concat(chunks).length, POLL).toBe(100 * (i + 1));
      chunks[0]?.fill(0); // touches nobody else's
    }
    await ends.client.shutdown();
    await loop;
    const received = Buffer.concat(chunks);
    for (let i = 1; i < 100; i++)
      expect(received.subarray(100 * i, 100 * (i + 1)).every((b) => b === i)).toBe(true);
  });

  it('gives chunks that can be seen as any typed array', async () => {
    await using ends = await pair();
    for (const length of [1, 3, 5, 97, 2_049, 9]) {
      const reading = (async () => {
        for await (const chunk of ends.server) return chunk;
        return undefined;
      })();
      await ends.client.writeAll(bytes(length, length));
      const chunk = await reading;
      expect(chunk?.byteOffset).toBe(Math.floor((chunk?.byteOffset ?? 0) / 8) * 8);
    }
  });

  it("keeps its neighbours' bytes when a chunk's memory is transferred away", async () => {
    await using one = await pair();
    await using other = await pair();
    const chunk = async (stream: TcpStream): Promise<Buffer> => {
      for await (const each of stream) return each;
      throw new Error('The end');
    };
    await one.client.writeAll('one');
    await other.client.writeAll('other');
    const [first, second] = [await chunk(one.server), await chunk(other.server)];
    const { buffer } = first;
    try {
      structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
    } catch {
      // Newer versions of Node refuse it.
    }
    expect([first.toString(), second.toString()]).toEqual(['one', 'other']);
  });

  it('ends at once if the end has come before', async () => {
    await using ends = await pair();
    await ends.client.shutdown();
    expect(await readAll(ends.server)).toHaveLength(0);
    expect(await readAll(ends.server)).toHaveLength(0);
  });

  it('left early, leaves the stream open, with nothing lost', async () => {
    await using ends = await pair();
    const data = bytes(1_000_000, 2);
    const sending = ends.client.writeAll(data).then(() => ends.client.shutdown());
    const parts: Buffer[] = [];
    let count = 0;
    for (;;) {
      const before = count;
      for await (const chunk of ends.server) {
        parts.push(chunk);
        count += chunk.length;
        break;
      }
      if (count === before) break;
      const buffer = Buffer.alloc(1_000);
      const length = await ends.server.read(buffer);
      parts.push(buffer.subarray(0, length));
      count += length;
    }
    await sending;
    expect(Buffer.concat(parts).equals(data)).toBe(true);
  });

  it('left by an error of its body, leaves the stream open too', async () => {
    await using ends = await pair();
    await ends.client.writeAll('one');
    const loop = async (): Promise<void> => {
      for await (const chunk of ends.server) throw new Error(chunk.toString());
    };
    await expect(loop()).rejects.toThrow('one');
    await ends.client.writeAll('two');
    expect(await firstChunk(ends.server)).toBe('two');
  });

  it('left early, holds nothing of the ring', async () => {
    await using ends = await pair();
    const before = metrics().pending;
    await ends.client.writeAll('x');
    await firstChunk(ends.server);
    expect(metrics().pending).toBe(before);
  });

  it('goes on after a read', async () => {
    await using ends = await pair();
    await ends.client.writeAll('head and body');
    await ends.client.shutdown();
    expect((await readExactly(ends.server, 5)).toString()).toBe('head ');
    expect((await readAll(ends.server)).toString()).toBe('and body');
  });

  it('is over for good once it was left', async () => {
    await using ends = await pair();
    await ends.client.writeAll('x');
    const chunks = ends.server[Symbol.asyncIterator]();
    expect(await chunks.return?.()).toEqual({ done: true, value: undefined });
    expect(await chunks.next()).toEqual({ done: true, value: undefined });
    expect(await firstChunk(ends.server)).toBe('x');
  });

  it('left by one, goes on for another that waits', async () => {
    await using ends = await pair();
    const [one, other] = [ends.server[Symbol.asyncIterator](), ends.server[Symbol.asyncIterator]()];
    await ends.client.writeAll('first');
    await one.next();
    const waiting = other.next();
    await one.return?.();
    await ends.client.writeAll('second');
    expect(String((await waiting).value)).toBe('second');
  });

  it('gives each chunk to one of several that wait, in their order', async () => {
    await using ends = await pair();
    const chunks = ends.server[Symbol.asyncIterator]();
    const waiting = [chunks.next(), chunks.next(), chunks.next()];
    const texts: string[] = [];
    for (const text of ['a', 'b', 'c']) {
      await ends.client.writeAll(text);
      const next = waiting[texts.length];
      texts.push(String((await next)?.value));
    }
    expect(texts).toEqual(['a', 'b', 'c']);
  });

  it('takes all that comes with one SQE', async () => {
    await using ends = await mixed();
    const before = metrics().sqes;
    let count = 0;
    ends.socket.write('.');
    for await (const _ of ends.stream) {
      if (++count === 50) break;
      ends.socket.write('.');
    }
    // The receive, and the cancellation when the loop was left.
    expect(metrics().sqes - before).toBe(2);
  });
});

describe('a stream and its descriptors', () => {
  it('has one, and none once it is closed', async () => {
    await leavesNothing(async () => {
      const before = sockets();
      await using ends = await pair();
      expect(sockets()).toBe(before + 2);
      expect(ends.client.fd).toBeGreaterThan(2);
      await ends.client.close();
      expect(ends.client.fd).toBe(-1);
    });
  });
});
