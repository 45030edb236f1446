import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { File, type ReadFileOptions, readFile } from '@ouro/fs';
import { describe, expect, it } from 'vitest';
import { begun, failure, fifo, openDescriptors, submitted, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
writeFileSync(path, 'Grüße, 𝄞!');

/** A file of `length` bytes in which each part differs from the others. */
function fileOf(length: number): string {
  const name = join(dir, `length-${length}`);
  const content = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) content.writeUInt32LE(Math.imul(at, 0x9e3779b1) >>> 0, at);
  writeFileSync(name, content);
  return name;
}

/** A pipe that `content` is written to by another program. */
function pipeOf(name: string, content: string): string {
  const pipe = fifo(join(dir, name));
  execFileSync('sh', ['-c', `printf %s "$1" >"$2" 2>/dev/null &`, 'sh', content, pipe], { stdio: 'ignore' });
  return pipe;
}

describe('readFile', () => {
  it('resolves to a Buffer with all bytes of the file', async () => {
    const content = await readFile(path);
    expect(content).toBeInstanceOf(Buffer);
    expect(content.toString()).toBe('Grüße, 𝄞!');
  });

  it.each([...[0, 1, 100, 4095, 4096, 4097, 16_383, 16_384, 16_385, 65_536, 1_000_003, 8 << 20]])(
    'reads a file of %i bytes',
    async (length) => {
      const name = fileOf(length);
      expect((await readFile(name)).equals(readFileSync(name))).toBe(true);
    },
  );

  it.each(['utf8', 'latin1', 'ascii', 'hex', 'base64', 'base64url', 'utf16le', 'binary'] as const)(
    'resolves to a string in %s, if asked to',
    async (encoding) => {
      const expected = readFileSync(path, encoding);
      expect(await readFile(path, encoding)).toBe(expected);
      expect(await readFile(path, { encoding })).toBe(expected);
    },
  );

  it('takes null for options and for an encoding', async () => {
    expect(await readFile(path, null)).toBeInstanceOf(Buffer);
    expect(await readFile(path, { encoding: null })).toBeInstanceOf(Buffer);
  });

  it.each([
    '/proc/self/cmdline',
    '/proc/cpuinfo',
    '/proc/filesystems',
    '/proc/kallsyms',
    '/sys/kernel/mm/transparent_hugepage/enabled',
  ])('reads %s, whose size the kernel does not say', async (name) => {
    const [ours, theirs] = [await readFile(name, 'latin1'), readFileSync(name, 'latin1')];
    // The clock of a CPU changes from one reading to the next.
    const steady = (text: string): string => text.replace(/^cpu MHz.*$/gm, '');
    expect(steady(ours)).toBe(steady(theirs));
    expect(ours.length).toBeGreaterThan(0);
  });

  it('reads /dev/null, which is empty', async () => {
    expect(await readFile('/dev/null', 'utf8')).toBe('');
  });

  it('reads a pipe to its end', async () => {
    expect(await readFile(pipeOf('short', 'through a pipe'), 'utf8')).toBe('through a pipe');
    const long = 'x'.repeat(100_000);
    expect(await readFile(pipeOf('long', long), 'utf8')).toBe(long);
  });

  it('waits for the writer of a pipe', async () => {
    const pipe = fifo(join(dir, 'waits'));
    const reading = readFile(pipe, 'utf8');
    for (let turn = 0; turn < 5; turn++) await submitted();
    const writer = await File.open(pipe, 'w');
    await writer.write('at ');
    await submitted();
    await writer.write('last');
    await writer.close();
    expect(await reading).toBe('at last');
  });

  it('follows a symbolic link', async () => {
    const link = join(dir, 'link');
    symlinkSync(path, link);
    expect(await readFile(link, 'utf8')).toBe('Grüße, 𝄞!');
  });

  it('creates what is not there, if the flag says so', async () => {
    const created = join(dir, 'created');
    expect(await readFile(created, { flag: 'a+' })).toEqual(Buffer.alloc(0));
    const theirs = join(dir, 'created-by-node');
    readFileSync(theirs, { flag: 'a+' });
    expect(statSync(created).mode).toBe(statSync(theirs).mode);
  });

  it('reads many files at once', async () => {
    const names = Array.from({ length: 500 }, (_, i) => join(dir, `many-${i}`));
    for (const [i, name] of names.entries()) writeFileSync(name, `content of ${i}`.repeat(i));
    const contents = await Promise.all(names.map((name) => readFile(name, 'utf8')));
    expect(contents).toEqual(names.map((_, i) => `content of ${i}`.repeat(i)));
  });

  it('reads a file that is being cut as far as there is one', async () => {
    const name = fileOf(8 << 20);
    const reading = readFile(name);
    truncateSync(name, 100);
    expect((await reading).length).toBe(100);
  });

  it('leaves no descriptor behind', async () => {
    await submitted();
    const before = openDescriptors();
    await Promise.all(Array.from({ length: 100 }, () => readFile(path)));
    await submitted();
    expect(openDescriptors()).toBe(before);
  });
});

describe('readFile into memory of the caller', () => {
  it('resolves to a view of its beginning', async () => {
    const buffer = Buffer.alloc(100, '.');
    const content = await readFile(path, { buffer });
    expect(content.toString()).toBe('Grüße, 𝄞!');
    expect(content.buffer).toBe(buffer.buffer);
    expect(content.byteOffset).toBe(buffer.byteOffset);
    expect(buffer[content.length]).toBe('.'.charCodeAt(0));
  });

  it('may fit exactly', async () => {
    const { size } = statSync(path);
    const buffer = new Uint8Array(size);
    expect((await readFile(path, { buffer })).toString()).toBe('Grüße, 𝄞!');
  });

  it('can be reused', async () => {
    const buffer = Buffer.alloc(1 << 20);
    for (const length of [1_000_003, 100, 0, 65_536]) {
      const name = fileOf(length);
      expect((await readFile(name, { buffer })).equals(readFileSync(name))).toBe(true);
    }
  });

  it.each([
    ['a DataView', new DataView(new ArrayBuffer(64), 8, 20)],
    ['a Float64Array', new Float64Array(new ArrayBuffer(64), 16, 3)],
    ['shared memory', new Uint8Array(new SharedArrayBuffer(64), 8, 20)],
  ])('may be %s', async (_, buffer) => {
    expect((await readFile(path, { buffer })).toString()).toBe('Grüße, 𝄞!');
    expect(Buffer.from(buffer.buffer, buffer.byteOffset).toString('utf8', 0, 14)).toBe('Grüße, 𝄞!');
  });

  it('may be resizable', async () => {
    const memory: ArrayBuffer = Reflect.construct(ArrayBuffer, [64, { maxByteLength: 128 }]);
    const content = await readFile(path, { buffer: new Uint8Array(memory, 8) });
    expect(content.toString()).toBe('Grüße, 𝄞!');
    expect(content.buffer).toBe(memory);
    expect(Buffer.from(memory).toString('utf8', 8, 22)).toBe('Grüße, 𝄞!');
  });

  it('may be asked for a string as well', async () => {
    const options: ReadFileOptions = { buffer: Buffer.alloc(100), encoding: 'utf8' };
    expect(await readFile(path, options)).toBe('Grüße, 𝄞!');
  });

  it('that is too small is a RangeError, whatever kind of file it is', async () => {
    const refusal = { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' };
    await expect(readFile(path, { buffer: Buffer.alloc(13) })).rejects.toMatchObject({
      ...refusal,
      message: 'The file has 14 bytes, more than "options.buffer" (13 bytes)',
    });
    await expect(readFile(path, { buffer: Buffer.alloc(0) })).rejects.toMatchObject(refusal);
    await expect(readFile('/proc/cpuinfo', { buffer: Buffer.alloc(100) })).rejects.toMatchObject(refusal);
    await expect(readFile('/proc/cpuinfo', { buffer: Buffer.alloc(0) })).rejects.toMatchObject(refusal);
    const pipe = pipeOf('narrow', 'x'.repeat(101));
    await expect(readFile(pipe, { buffer: Buffer.alloc(100) })).rejects.toMatchObject(refusal);
  });

  it('that fits exactly is not too small, whatever kind of file it is', async () => {
    const { length } = await readFile('/proc/filesystems');
    expect((await readFile('/proc/filesystems', { buffer: Buffer.alloc(length) })).length).toBe(length);
    const pipe = pipeOf('exact', 'x'.repeat(100));
    expect((await readFile(pipe, { buffer: Buffer.alloc(100) })).length).toBe(100);
    expect((await readFile('/dev/null', { buffer: Buffer.alloc(0) })).length).toBe(0);
  });
});

describe('a failed readFile', () => {
  mkdirSync(join(dir, 'directory'));
  symlinkSync('loop', join(dir, 'loop'));

  it.each(['missing', 'file/below', 'loop', 'directory', 'x'.repeat(256)])(
    '(%s) rejects with the error of node:fs',
    async (name) => {
      const target = join(dir, name);
      expect(await failure(readFile(target))).toEqual(thrown(() => readFileSync(target)));
    },
  );

  it('leaves no descriptor behind', async () => {
    await submitted();
    const before = openDescriptors();
    const failures: readonly (() => Promise<unknown>)[] = [
      () => readFile(join(dir, 'missing')),
      () => readFile(join(dir, 'directory')),
      () => readFile(path, { flag: 'wx' }),
      () => readFile(join(dir, 'write-only'), { flag: 'w' }),
      () => readFile(path, { buffer: Buffer.alloc(1) }),
      () => readFile('/proc/cpuinfo', { buffer: Buffer.alloc(1) }),
      () => readFile('/proc/self/mem'),
    ];
    for (let round = 0; round < 10; round++) {
      for (const fail of failures) await failure(fail());
    }
    await submitted();
    expect(openDescriptors()).toBe(before);
  });

  it('has refused bad arguments before anything was submitted', async () => {
    await submitted();
    const before = begun();
    const bad: readonly (readonly [string, () => unknown])[] = [
      ['ERR_INVALID_ARG_TYPE', () => readFile(5 as never)],
      ['ERR_INVALID_ARG_VALUE', () => readFile('a\0b')],
      ['ERR_INVALID_ARG_VALUE', () => readFile(path, { flag: 'rw' as never })],
      ['ERR_INVALID_ARG_VALUE', () => readFile(path, 'utf-9' as never)],
      ['ERR_INVALID_ARG_VALUE', () => readFile(path, { encoding: 5 as never })],
      ['ERR_INVALID_ARG_TYPE', () => readFile(path, 5 as never)],
      ['ERR_INVALID_ARG_TYPE', () => readFile(path, { buffer: 'x' as never })],
      ['ERR_INVALID_ARG_TYPE', () => readFile(path, { signal: {} as never })],
    ];
    for (const [code, call] of bad) expect(thrown(call).code).toBe(code);
    expect(begun()).toBe(before);
  });
});
