import { closeSync, openSync, readFileSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { File } from '@ouro/fs';
import { nop } from '@ouro/runtime/driver';
import { beforeEach, describe, expect, it } from 'vitest';
import { begun, descriptorInfo, failure, fifo, submitted, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
const CONTENT = 'The quick brown fox jumps over the lazy dog';

beforeEach(() => writeFileSync(path, CONTENT));

/** What `read` put into a buffer of `length` bytes. */
async function text(file: File, length: number, position?: number | bigint | null): Promise<string> {
  const buffer = Buffer.alloc(length, '.');
  return buffer.toString('utf8', 0, await file.read(buffer, position));
}

describe('read', () => {
  it('without a position goes on where the last one ended', async () => {
    await using file = await File.open(path);
    expect(await text(file, 4)).toBe('The ');
    expect(await text(file, 6, null)).toBe('quick ');
    expect(await text(file, 5, undefined)).toBe('brown');
    expect(descriptorInfo(file.fd).pos).toBe(15);
  });

  it('at a position leaves the current one alone', async () => {
    await using file = await File.open(path);
    expect(await text(file, 5, 10)).toBe('brown');
    expect(await text(file, 3, 0)).toBe('The');
    expect(await text(file, 3)).toBe('The');
  });

  it('takes a bigint for a position', async () => {
    await using file = await File.open(path);
    expect(await text(file, 5, 10n)).toBe('brown');
  });

  it('is short at the end of the file, and 0 behind it', async () => {
    await using file = await File.open(path);
    expect(await text(file, 100, 40)).toBe('dog');
    expect(await text(file, 100, CONTENT.length)).toBe('');
    expect(await text(file, 100, Number.MAX_SAFE_INTEGER - 100)).toBe('');
    expect([await text(file, 100), descriptorInfo(file.fd).pos]).toEqual([CONTENT, CONTENT.length]);
  });

  it('of an empty file gives 0', async () => {
    writeFileSync(path, '');
    await using file = await File.open(path);
    expect(await file.read(Buffer.alloc(10))).toBe(0);
  });

  it('into an empty buffer gives 0 and asks nobody', async () => {
    await using file = await File.open(path);
    const before = begun();
    expect(await file.read(Buffer.alloc(0))).toBe(0);
    expect(begun()).toBe(before);
  });

  it('leaves the bytes behind what was read as they were', async () => {
    await using file = await File.open(path);
    const buffer = Buffer.alloc(8, '.');
    await file.read(buffer, 40);
    expect(buffer.toString()).toBe('dog.....');
  });

  it('of many parts at once puts each where it belongs', async () => {
    const big = Buffer.alloc(1 << 20);
    for (let at = 0; at < big.length; at += 4) big.writeUInt32LE(at, at);
    writeFileSync(path, big);
    await using file = await File.open(path);
    const parts = Array.from({ length: 256 }, () => Buffer.alloc(4096));
    await Promise.all(parts.map((part, i) => file.read(part, i * 4096)));
    expect(Buffer.concat(parts).equals(big)).toBe(true);
  });

  it('of a pipe gives what there is', async () => {
    const pipe = fifo(join(dir, 'some'));
    await using file = await File.open(pipe, 'r+');
    await file.write('abc');
    expect(await text(file, 100)).toBe('abc');
  });

  it('of a pipe waits for the first bytes', async () => {
    const pipe = fifo(join(dir, 'later'));
    await using file = await File.open(pipe, 'r+');
    const reading = text(file, 100);
    await submitted();
    const peer = openSync(pipe, 'w');
    writeSync(peer, 'at last');
    expect(await reading).toBe('at last');
    closeSync(peer);
  });

  it('of a pipe whose writers are gone gives 0', async () => {
    const pipe = fifo(join(dir, 'deserted'));
    const opening = File.open(pipe);
    await submitted();
    const peer = openSync(pipe, 'w');
    await using file = await opening;
    writeSync(peer, 'rest');
    closeSync(peer);
    expect([await text(file, 100), await text(file, 100)]).toEqual(['rest', '']);
  });

  it('of a file that was opened for writing fails with EBADF', async () => {
    await using file = await File.open(path, 'a');
    expect(await failure(file.read(Buffer.alloc(1)))).toMatchObject({
      message: 'EBADF: bad file descriptor, read',
      code: 'EBADF',
      errno: -9,
      syscall: 'read',
    });
  });

  it('of a directory fails with EISDIR', async () => {
    await using file = await File.open(dir);
    expect(await failure(file.read(Buffer.alloc(1)))).toEqual(thrown(() => readFileSync(dir)));
  });
});

describe('write', () => {
  it('without a position goes on where the last one ended', async () => {
    await using file = await File.create(path);
    expect(await file.write(Buffer.from('one '))).toBe(4);
    expect(await file.write(Buffer.from('two '))).toBe(4);
    expect(readFileSync(path, 'utf8')).toBe('one two ');
  });

  it('at a position leaves the current one alone', async () => {
    await using file = await File.open(path, 'r+');
    await file.write('slow ', 4);
    await file.write('A', null);
    expect(readFileSync(path, 'utf8')).toBe('Ahe slow  brown fox jumps over the lazy dog');
  });

  it('takes a bigint for a position', async () => {
    await using file = await File.open(path, 'r+');
    await file.write('cat', 40n);
    expect(readFileSync(path, 'utf8')).toMatch(/lazy cat$/);
  });

  it('takes a string, as UTF-8, and counts its bytes', async () => {
    await using file = await File.create(path);
    expect(await file.write('€ and 𝄞')).toBe(12);
    expect(readFileSync(path, 'utf8')).toBe('€ and 𝄞');
  });

  it('of nothing writes nothing', async () => {
    await using file = await File.create(path);
    expect(await file.write('')).toBe(0);
    expect(await file.write(Buffer.alloc(0), 100)).toBe(0);
    expect(readFileSync(path, 'utf8')).toBe('');
  });

  it('behind the end leaves a hole of zeros', async () => {
    await using file = await File.create(path);
    await file.write('x', 5);
    expect(readFileSync(path, 'utf8')).toBe('\0\0\0\0\0x');
  });

  it('to a file opened for appending goes to its end, wherever it says', async () => {
    await using file = await File.open(path, 'a');
    await file.write('!', 0);
    await file.write('?');
    expect(readFileSync(path, 'utf8')).toBe(`${CONTENT}!?`);
  });

  it('of many parts at once puts each where it belongs', async () => {
    const parts = Array.from({ length: 256 }, (_, i) => Buffer.alloc(4096, i));
    await using file = await File.create(path);
    await Promise.all(parts.map((part, i) => file.write(part, (255 - i) * 4096)));
    expect(readFileSync(path).equals(Buffer.concat(parts.reverse()))).toBe(true);
  });

  it('of more than a pipe holds goes on until all is written', async () => {
    const pipe = fifo(join(dir, 'narrow'));
    await using file = await File.open(pipe, 'r+');
    const data = Buffer.alloc(1 << 20);
    for (let at = 0; at < data.length; at += 4) data.writeUInt32LE(at * 7, at);
    const writing = file.write(data);
    const read: Buffer[] = [];
    for (let length = 0; length < data.length; ) {
      const buffer = Buffer.alloc(10_000);
      const count = await file.read(buffer);
      read.push(buffer.subarray(0, count));
      length += count;
    }
    expect(await writing).toBe(data.length);
    expect(Buffer.concat(read).equals(data)).toBe(true);
  });

  it('to a file that was opened for reading fails with EBADF', async () => {
    await using file = await File.open(path);
    expect(await failure(file.write('x'))).toMatchObject({
      message: 'EBADF: bad file descriptor, write',
      code: 'EBADF',
      errno: -9,
      syscall: 'write',
    });
  });

  it('to a full device fails with ENOSPC', async () => {
    await using file = await File.open('/dev/full', 'w');
    expect(await failure(file.write('x'))).toEqual(thrown(() => writeFileSync('/dev/full', 'x')));
  });

  it('to a pipe that nobody reads fails with EPIPE and says what had been written', async () => {
    const pipe = fifo(join(dir, 'broken'));
    const reader = openSync(pipe, 'r+');
    await using file = await File.open(pipe, 'w');
    const writing = file.write(Buffer.alloc(1 << 20));
    await submitted();
    closeSync(reader);
    await expect(writing).rejects.toMatchObject({ code: 'EPIPE', syscall: 'write', bytesTransferred: 65536 });
  });
});

describe('positions beyond 32 bits', () => {
  it.each([2 ** 31 - 2, 2 ** 31, 2 ** 32 - 2, 2 ** 32, 2 ** 32 + 5, 2 ** 40 + 3])('%i', async (position) => {
    truncateSync(path, 2 ** 41);
    await using file = await File.open(path, 'r+');
    expect(await file.write('here', position)).toBe(4);
    expect(await text(file, 6, position - 1)).toBe('\0here\0');
    expect(await text(file, 4, BigInt(position))).toBe('here');
    expect(statSync(path).size).toBe(2 ** 41);
  });
});

describe('read and write refuse, before anything is submitted,', () => {
  const { MAX_SAFE_INTEGER } = Number;
  it.each([-1, 1.5, Number.NaN, MAX_SAFE_INTEGER + 1, -1n, BigInt(MAX_SAFE_INTEGER) + 1n])(
    'position %s',
    async (position) => {
      await using file = await File.open(path, 'r+');
      const before = begun();
      expect(thrown(() => file.read(Buffer.alloc(1), position)).code).toBe('ERR_OUT_OF_RANGE');
      expect(thrown(() => file.write('x', position)).code).toBe('ERR_OUT_OF_RANGE');
      expect(begun()).toBe(before);
    },
  );

  it('a position of another type', async () => {
    await using file = await File.open(path, 'r+');
    const before = begun();
    for (const position of ['1', {}, true]) {
      expect(thrown(() => file.read(Buffer.alloc(1), position as never)).code).toBe('ERR_INVALID_ARG_TYPE');
      expect(thrown(() => file.write('x', position as never)).code).toBe('ERR_INVALID_ARG_TYPE');
    }
    expect(begun()).toBe(before);
  });

  it('what is no buffer', async () => {
    await using file = await File.open(path, 'r+');
    const before = begun();
    for (const buffer of [undefined, null, 5, {}, [1, 2], new ArrayBuffer(8), new SharedArrayBuffer(8)]) {
      expect(thrown(() => file.read(buffer as never)).code).toBe('ERR_INVALID_ARG_TYPE');
      expect(thrown(() => file.write(buffer as never)).code).toBe('ERR_INVALID_ARG_TYPE');
    }
    expect(thrown(() => file.read('a string' as never)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(begun()).toBe(before);
  });
});

describe('an error that the kernel reports', () => {
  it('has the shape of those of node:fs', async () => {
    await expect(nop(-5)).rejects.toMatchObject({
      name: 'Error',
      message: 'EIO: i/o error, nop',
      code: 'EIO',
      errno: -5,
      syscall: 'nop',
    });
  });
});
