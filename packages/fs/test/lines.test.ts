import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { File, type LineOptions } from '@ouro/fs';
import { afterAll, describe, expect, it } from 'vitest';
import { begun, failure, fifo, submitted, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
let files = 0;

/** The lines of a file that holds `content`. */
async function lines(content: string | Buffer, options?: LineOptions): Promise<string[]> {
  const path = join(dir, `file-${files++}`);
  writeFileSync(path, content);
  await using file = await File.open(path);
  const found: string[] = [];
  for await (const line of file.lines(options)) found.push(line);
  return found;
}

describe('lines', () => {
  it.each([
    ['one line', 'one\n', ['one']],
    ['several', 'one\ntwo\nthree\n', ['one', 'two', 'three']],
    ['a last one without an end', 'one\ntwo', ['one', 'two']],
    ['none of an empty file', '', []],
    ['an empty one', '\n', ['']],
    ['empty ones', 'one\n\n\ntwo\n', ['one', '', '', 'two']],
    ['those of CRLF', 'one\r\ntwo\r\n\r\nthree', ['one', 'two', '', 'three']],
    ['those of both', 'one\r\ntwo\nthree\r\n', ['one', 'two', 'three']],
    ['a CR that ends none', 'o\rne\rtwo\n\r', ['o\rne\rtwo', '\r']],
    ['two CRs', 'one\r\r\n', ['one\r']],
    ['NUL bytes', 'o\0ne\n\0\n', ['o\0ne', '\0']],
    ['those of Unicode as they are', 'one\u2028two\u0085\n', ['one\u2028two\u0085']],
  ])('are %s', async (_, content, expected) => {
    expect(await lines(content)).toEqual(expected);
  });

  it.each([1, 2, 3, 5, 7, 64])('are the same across reads of %i bytes', async (size) => {
    const expected = ['first', '', 'näxt: € 😀 漢字', 'x'.repeat(100), 'läst'];
    expect(await lines(expected.join('\n'), { size })).toEqual(expected);
    expect(await lines(`${expected.join('\r\n')}\r\n`, { size })).toEqual(expected);
  });

  it.each(['utf16le', 'ucs2', 'latin1', 'ascii', 'utf8'] as const)('are in %s', async (encoding) => {
    const expected = encoding === 'ascii' ? ['one', 'two', ''] : ['ön', 'twö\u000b', ''];
    const content = Buffer.from(`${expected.join('\n')}\n`, encoding);
    for (const size of [1, 3, 1000]) expect(await lines(content, { encoding, size })).toEqual(expected);
  });

  it('in utf16le are not ended by half of another character', async () => {
    const expected = ['\u0a00\u000d', '\u0a0a', '😀'];
    expect(
      await lines(Buffer.from(expected.join('\r\n'), 'utf16le'), { encoding: 'utf16le', size: 3 }),
    ).toEqual(expected);
  });

  it('have a replacement character where bytes are none, also at the very end', async () => {
    expect(await lines(Buffer.from([0x61, 0xff, 0x0a, 0xe2, 0x82]))).toEqual(['a\ufffd', '\ufffd']);
  });

  it('may be of a part of the file', async () => {
    expect(await lines('one\ntwo\nthree\n', { start: 4, end: 9 })).toEqual(['two', 'th']);
  });

  it('may be longer than a read', async () => {
    const long = 'long '.repeat(100_000);
    expect(await lines(`${long}\n${long}`, { size: 1000 })).toEqual([long, long]);
  });

  it('that are too long end the loop with a RangeError', async () => {
    const error = {
      name: 'RangeError',
      code: 'ERR_OUT_OF_RANGE',
      message: expect.stringContaining('options.maxLength'),
    };
    expect(await failure(lines('12345\n123456\n', { maxLength: 5 }))).toMatchObject(error);
    expect(await failure(lines('1'.repeat(1000), { maxLength: 999, size: 10 }))).toMatchObject(error);
    expect(await lines('12345\n12345', { maxLength: 5 })).toEqual(['12345', '12345']);
    expect(await lines('12345\r\n12345\r\n', { maxLength: 5 })).toEqual(['12345', '12345']);
  });

  it('of an endless line take no endless memory', async () => {
    await using file = await File.open('/dev/zero');
    const loop = file.lines({ maxLength: 100_000 });
    expect(await failure(loop.next())).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    expect(await loop.next()).toEqual({ done: true, value: undefined });
    expect(file.descriptor.idle).toBe(true);
  });

  it('come from a pipe as they come', async () => {
    const name = fifo(join(dir, 'pipe'));
    await using file = await File.open(name, 'r+');
    const peer = openSync(name, 'r+');
    const loop = file.lines();
    const first = loop.next();
    writeSync(peer, 'one\ntw');
    expect((await first).value).toBe('one');
    const second = loop.next();
    await submitted();
    writeSync(peer, 'o\n');
    expect((await second).value).toBe('two');
    closeSync(peer);
  });

  it('are answered in order to several next()', async () => {
    const path = join(dir, 'ordered');
    writeFileSync(path, 'one\ntwo\nthree');
    await using file = await File.open(path);
    const loop = file.lines({ size: 2 });
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => loop.next()));
    expect(answers.map(({ value }) => value)).toEqual(['one', 'two', 'three', undefined, undefined]);
  });

  it('can be left, which leaves the file open', async () => {
    const path = join(dir, 'left');
    writeFileSync(path, 'one\ntwo\n');
    await using file = await File.open(path);
    const loop = file.lines();
    for await (const line of loop) {
      expect(line).toBe('one');
      break;
    }
    expect(await loop.next()).toEqual({ done: true, value: undefined });
    expect((await file.stat()).size).toBe(8);
    expect(file.descriptor.idle).toBe(true);
  });

  it('end with an AbortError when their signal aborts, with ECANCELED when the file is closed', async () => {
    const name = fifo(join(dir, 'waiting'));
    const file = await File.open(name, 'r+');
    const controller = new AbortController();
    const aborted = failure(file.lines({ signal: controller.signal }).next());
    await submitted();
    controller.abort();
    expect(await aborted).toMatchObject({ code: 'ABORT_ERR' });
    const closed = failure(file.lines().next());
    await submitted();
    await file.close();
    expect(await closed).toMatchObject({ code: 'ECANCELED' });
  });

  it('of a directory fail with EISDIR', async () => {
    await using file = await File.open(dir);
    expect(await failure(file.lines().next())).toMatchObject({ code: 'EISDIR', syscall: 'read' });
  });

  it('use their memory again', async () => {
    const path = join(dir, 'many');
    writeFileSync(path, 'some line\n'.repeat(1_000_000));
    await using file = await File.open(path);
    const before = process.memoryUsage().arrayBuffers;
    let count = 0;
    for await (const line of file.lines()) {
      count++;
      if (count % 100_000 === 0) {
        expect(line).toBe('some line');
        expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 << 20);
      }
    }
    expect(count).toBe(1_000_000);
  });
});

describe('lineBatches', () => {
  it('bring all lines that end in one read', async () => {
    const path = join(dir, 'batches');
    writeFileSync(path, 'one\ntwo\nthree\nfour');
    await using file = await File.open(path);
    const found: string[][] = [];
    for await (const batch of file.lineBatches({ size: 9 })) found.push(batch);
    expect(found).toEqual([['one', 'two'], ['three'], ['four']]);
  });
});

describe('bad arguments are refused at once', () => {
  const path = join(dir, 'file');
  writeFileSync(path, '');
  const file = File.open(path);
  afterAll(async () => (await file).close());

  it.each([
    ['encoding', 'none', 'ERR_INVALID_ARG_VALUE'],
    ['encoding', 'hex', 'ERR_INVALID_ARG_VALUE'],
    ['encoding', 'base64', 'ERR_INVALID_ARG_VALUE'],
    ['encoding', 5, 'ERR_INVALID_ARG_VALUE'],
    ['maxLength', 0, 'ERR_OUT_OF_RANGE'],
    ['maxLength', '1', 'ERR_INVALID_ARG_TYPE'],
    ['size', 0, 'ERR_OUT_OF_RANGE'],
    ['start', -1, 'ERR_OUT_OF_RANGE'],
    ['signal', {}, 'ERR_INVALID_ARG_TYPE'],
  ])('options.%s = %s', async (name, value, code) => {
    const opened = await file;
    const before = begun();
    expect(thrown(() => opened.lines({ [name]: value } as never)).code).toBe(code);
    expect(thrown(() => opened.lineBatches({ [name]: value } as never)).code).toBe(code);
    expect(begun()).toBe(before);
  });
});
