import type { LineOptions, TcpStream } from '@ouro/net';
import { describe, expect, it } from 'vitest';
import { failure, leavesNothing, POLL, pair, readAll, readExactly } from './support.ts';

/** The lines of a stream that brings `content` in pieces of `size` bytes. */
async function lines(content: string | Buffer, size = 1 << 20, options?: LineOptions): Promise<string[]> {
  await using ends = await pair();
  const all = Buffer.from(content as string);
  const found: string[] = [];
  const sending = (async () => {
    for (let at = 0; at < all.length; at += size) {
      const before = ends.server.bytesRead;
      await ends.client.writeAll(all.subarray(at, at + size));
      await expect.poll(() => ends.server.bytesRead, POLL).toBeGreaterThan(before);
    }
    await ends.client.shutdown();
  })();
  for await (const line of ends.server.splitLines(options)) found.push(line);
  await sending;
  return found;
}

describe('splitLines', () => {
  it.each([
    ['one line', 'one\n', ['one']],
    ['several', 'one\ntwo\nthree\n', ['one', 'two', 'three']],
    ['a last one without an end', 'one\ntwo', ['one', 'two']],
    ['none of an empty stream', '', []],
    ['an empty one', '\n', ['']],
    ['empty ones', 'one\n\n\ntwo\n', ['one', '', '', 'two']],
    ['those of CRLF', 'one\r\ntwo\r\n\r\nthree', ['one', 'two', '', 'three']],
    ['a CR that ends none', 'o\rne\rtwo\n', ['o\rne\rtwo']],
    ['two CRs', 'one\r\r\n', ['one\r']],
    ['NUL bytes', 'o\0ne\n\0\n', ['o\0ne', '\0']],
  ])('gives %s', async (_, content, expected) => {
    expect(await lines(content)).toEqual(expected);
  });

  it.each([1, 2, 3, 5, 7])('gives the same when %i bytes arrive at a time', async (size) => {
    const expected = ['first', '', 'näxt: € 😀 漢字', 'läst'];
    expect(await lines(expected.join('\r\n'), size)).toEqual(expected);
  });

  it.each([1, 3, 1 << 20])('decodes UTF-16, %i bytes at a time', async (size) => {
    // U+0A0A has the bytes of two line ends, U+0A00 and U+000A those of one across characters.
    const expected = ['one', '\u0a0a\u0a00', 'two \u{1f600}', ''];
    const content = Buffer.from(`${expected.join('\n')}\nlast`, 'utf16le');
    expect(await lines(content, size, { encoding: 'utf16le' })).toEqual([...expected, 'last']);
  });

  it('decodes Latin-1', async () => {
    expect(await lines(Buffer.from([0xe4, 0x0a, 0xff]), 1, { encoding: 'latin1' })).toEqual(['ä', 'ÿ']);
  });

  it('gives a hundred thousand lines, each right', async () => {
    const expected = Array.from({ length: 100_000 }, (_, i) => `line ${i} ${'x'.repeat(i % 50)}`);
    expect(await lines(expected.join('\n'))).toEqual(expected);
  });

  it('left while a read waits has that begin with the bytes of the other lines', async () => {
    await using ends = await pair();
    await ends.client.writeAll('a\nb\nc\n');
    const loop = ends.server.splitLines();
    expect(await loop.next()).toEqual({ done: false, value: 'a' });
    const reading = ends.server.readUntil('\n');
    await ends.client.writeAll('zzz');
    await expect.poll(() => ends.server.bytesRead, POLL).toBe(9);
    await loop.return?.();
    expect(String(await reading)).toBe('b\n');
    expect(String(await ends.server.readUntil('\n'))).toBe('c\n');
  });

  it('left early leaves the bytes of all other lines to the next reader', async () => {
    await using ends = await pair();
    await ends.client.writeAll('one\r\ntwo\nthree\nfour');
    await ends.client.shutdown();
    const found: string[] = [];
    for await (const line of ends.server.splitLines()) {
      found.push(line);
      if (line === 'two') break;
    }
    expect(found).toEqual(['one', 'two']);
    expect((await readAll(ends.server)).toString()).toBe('three\nfour');
  });

  it('left early in the middle of what is no valid text changes none of it', async () => {
    await using ends = await pair();
    const rest = Buffer.from([0xff, 0xfe, 0x0a, 0xc3]);
    await ends.client.writeAll(Buffer.concat([Buffer.from('one\n'), rest]));
    for await (const _ of ends.server.splitLines()) break;
    expect((await readExactly(ends.server, 4)).equals(rest)).toBe(true);
  });

  it('left early by an error of its body, goes on for another loop', async () => {
    await using ends = await pair();
    await ends.client.writeAll('one\ntwo\n');
    const body = async (): Promise<void> => {
      for await (const line of ends.server.splitLines()) throw new Error(line);
    };
    expect((await failure(body())).message).toBe('one');
    for await (const line of ends.server.splitLines()) {
      expect(line).toBe('two');
      break;
    }
  });

  it.each(['with', 'without'])(
    'ends with a RangeError at a line that is too long %s an end, behind those before',
    async (end) => {
      await using ends = await pair();
      const long = `12345678${end === 'with' ? '\nmore\n' : ''}`;
      await ends.client.writeAll(`one\n1234567\n${long}`);
      const found: string[] = [];
      const loop = async (): Promise<void> => {
        for await (const line of ends.server.splitLines({ maxLength: 7 })) found.push(line);
      };
      expect(await failure(loop())).toMatchObject({
        code: 'ERR_OUT_OF_RANGE',
        message: 'A line is longer than "options.maxLength" (7 bytes)',
      });
      expect(found).toEqual(['one', '1234567']);
      expect((await readExactly(ends.server, 8)).toString()).toBe('12345678');
    },
  );

  it('can be given up by a signal and a timeout, and has lost nothing then', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const controller = new AbortController();
      await ends.client.writeAll('half');
      const aborted = failure(ends.server.splitLines({ signal: controller.signal }).next());
      await expect.poll(() => ends.server.buffered, POLL).toBe(4);
      controller.abort();
      expect(await aborted).toMatchObject({ code: 'ABORT_ERR' });
      expect(await failure(ends.server.splitLines({ timeout: 5 }).next())).toMatchObject({
        code: 'ETIMEDOUT',
      });
      await ends.client.writeAll(' a line\n');
      const { value } = await ends.server.splitLines().next();
      expect(value).toBe('half a line');
    });
  });

  it('ends when the stream is closed', async () => {
    await using ends = await pair();
    const next = ends.server.splitLines().next();
    await ends.server.close();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(await failure(ends.server.splitLines().next())).toMatchObject({ code: 'EBADF' });
  });

  it('gives each line to one of several that wait, in their order', async () => {
    await using ends = await pair();
    const loop = ends.server.splitLines();
    const waiting = [loop.next(), loop.next(), loop.next()];
    await ends.client.writeAll('a\nb\nc\n');
    expect((await Promise.all(waiting)).map(({ value }) => value)).toEqual(['a', 'b', 'c']);
  });

  it('left while a line is awaited gives that one, and all others to the next reader', async () => {
    await using ends = await pair();
    const loop = ends.server.splitLines();
    const next = loop.next();
    await expect.poll(() => ends.server.receiver?.awaited, POLL).toBe(true);
    await loop.return?.();
    await ends.client.writeAll('one\ntwo\nthree\n');
    expect((await next).value).toBe('one');
    expect((await loop.next()).done).toBe(true);
    expect((await readExactly(ends.server, 10)).toString()).toBe('two\nthree\n');
  });

  it.each([
    ['an encoding that is none of text', { encoding: 'base64' }, TypeError],
    ['no length', { maxLength: 0 }, RangeError],
    ['a length that is no number', { maxLength: '7' }, TypeError],
    ['a signal that is none', { signal: {} }, TypeError],
  ])('throws for %s', async (_, options, kind) => {
    await using ends = await pair();
    expect(() => ends.server.splitLines(options as never)).toThrow(kind as ErrorConstructor);
  });

  it('is typed as a loop over strings', async () => {
    await using ends = await pair();
    const stream: TcpStream = ends.server;
    await using loop = stream.splitLines();
    expect(loop[Symbol.asyncIterator]()).toBe(loop);
  });
});

describe('what comes byte by byte', () => {
  it('is found whatever is taken and put back in between', async () => {
    await using ends = await pair();
    const arrive = async (text: string): Promise<void> => {
      for (const byte of text) {
        const before = ends.server.bytesRead;
        await ends.client.writeAll(byte);
        await expect.poll(() => ends.server.bytesRead, POLL).toBe(before + 1);
      }
    };
    const until = ends.server.readUntil('--end');
    await arrive('a--e--en');
    await arrive('d--en');
    expect((await until).toString()).toBe('a--e--end');
    const loop = ends.server.splitLines();
    const line = loop.next();
    await arrive('d\nb');
    expect((await line).value).toBe('--end');
    await loop.return?.();
    const rest = ends.server.readUntil('--end');
    await arrive('--en--end');
    expect((await rest).toString()).toBe('b--en--end');
    expect(ends.server.buffered).toBe(0);
  });
});
