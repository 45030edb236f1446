import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type FileEntry, writeFile, writeFiles } from '@ouro/fs';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { begun, fifo, openFiles, submitted, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
const at = (name: string): string => join(dir, name);

/** `count` entries of different lengths. */
const entriesOf = (name: string, count: number, step = 37): (FileEntry & { readonly path: string })[] =>
  Array.from({ length: count }, (_, index) => ({
    path: at(`${name}${index}`),
    data: Buffer.alloc(index * step, `${name}${index} `),
  }));

describe('writeFiles', () => {
  it('writes each file, and says so in the order of the entries', async () => {
    const entries = entriesOf('new', 500);
    const results = await writeFiles(entries);
    expect(results).toEqual(entries.map(({ path }) => ({ path, error: null })));
    for (const { path, data } of entries) expect(readFileSync(path).equals(data as Buffer)).toBe(true);
  });

  it('writes over what is there, and cuts off what is too much', async () => {
    const entries = entriesOf('over', 100, 1000);
    for (const { path } of entries) writeFileSync(path, Buffer.alloc(50_000, 0xee));
    const inode = statSync(entries[3].path).ino;
    await writeFiles(entries);
    for (const { path, data } of entries) expect(readFileSync(path).equals(data as Buffer)).toBe(true);
    expect(statSync(entries[3].path).ino).toBe(inode);
  });

  it('takes strings in an encoding, views of all kinds, and paths of all kinds', async () => {
    const long = join(dir, ...Array.from({ length: 10 }, () => 'l'.repeat(250)));
    mkdirSync(long, { recursive: true });
    const results = await writeFiles(
      [
        { path: at('string'), data: 'ÄÖ' },
        { path: Buffer.from(at('view')), data: new Uint16Array([0x4241, 0x4443]) },
        { path: pathToFileURL(at('url')), data: new DataView(new ArrayBuffer(3)) },
        { path: join(long, 'file'), data: 'long' },
        { path: at('empty'), data: '' },
      ],
      { encoding: 'latin1', mode: 0o600 },
    );
    expect(results.every(({ error }) => error === null)).toBe(true);
    expect(readFileSync(at('string')).equals(Buffer.from('ÄÖ', 'latin1'))).toBe(true);
    expect(readFileSync(at('view'), 'utf8')).toBe('ABCD');
    expect(readFileSync(at('url')).length).toBe(3);
    expect(readFileSync(join(long, 'file'), 'utf8')).toBe('long');
    expect(statSync(at('empty'))).toMatchObject({ size: 0 });
    expect(statSync(at('empty')).mode & 0o777).toBe(0o600);
  });

  it('has an error for each file that cannot be written, as writeFile has it, and writes the others', async () => {
    symlinkSync(at('cycle'), at('cycle'));
    const results = await writeFiles([
      { path: at('first'), data: '1' },
      { path: join(dir, 'none', 'file'), data: '2' },
      { path: dir, data: '3' },
      { path: at('cycle'), data: '4' },
      { path: at('last'), data: '5' },
    ]);
    expect(results.map(({ error }) => (error as NodeJS.ErrnoException | null)?.code)).toEqual([
      undefined,
      'ENOENT',
      'EISDIR',
      'ELOOP',
      undefined,
    ]);
    const missing = join(dir, 'none', 'file');
    expect(results[1].error).toMatchObject({
      message: `ENOENT: no such file or directory, open '${missing}'`,
      errno: -2,
      syscall: 'open',
      path: missing,
    });
    expect(readFileSync(at('last'), 'utf8')).toBe('5');
  });

  it('appends, or refuses what is there, where the flag says so', async () => {
    writeFileSync(at('log'), 'one ');
    const data = 'two';
    expect(await writeFiles([{ path: at('log'), data }], { flag: 'a' })).toEqual([
      { path: at('log'), error: null },
    ]);
    expect(readFileSync(at('log'), 'utf8')).toBe('one two');
    const [{ error }] = await writeFiles([{ path: at('log'), data }], { flag: 'wx' });
    expect(error).toMatchObject({ code: 'EEXIST' });
  });

  it('writes to pipes and devices too', async () => {
    const pipe = fifo(at('pipe'));
    execFileSync('sh', ['-c', 'cat "$1" >"$2" 2>/dev/null &', 'sh', pipe, at('came')], { stdio: 'ignore' });
    const results = await writeFiles([
      { path: pipe, data: 'through the pipe' },
      { path: '/dev/null', data: 'gone' },
    ]);
    expect(results.every(({ error }) => error === null)).toBe(true);
    while (readFileSync(at('came'), 'utf8') === '') await submitted();
    expect(readFileSync(at('came'), 'utf8')).toBe('through the pipe');
  });

  it('takes entries as they are wanted, from iterables of both kinds', async () => {
    let made = 0;
    function* many(): Generator<FileEntry> {
      for (; made < 2000; made++) yield { path: at('same'), data: `${made}` };
    }
    const writing = writeFiles(many(), { concurrency: 2 });
    // Two threads' worth, and not all.
    expect(made).toBeLessThan(300);
    expect((await writing).length).toBe(2000);
    async function* later(): AsyncGenerator<FileEntry> {
      for (const entry of entriesOf('later', 100)) {
        if (Math.random() < 0.2) await submitted();
        yield entry;
      }
    }
    const results = await writeFiles(later());
    expect(results.length).toBe(100);
    expect(readFileSync(at('later99')).length).toBe(99 * 37);
    await expect(
      writeFiles(
        (function* (): Generator<FileEntry> {
          yield { path: at('x'), data: 'x' };
          throw new Error('no more');
        })(),
      ),
    ).rejects.toThrow('no more');
  });

  it('writes what a buffer held, though a script detaches it meanwhile', async () => {
    const data = new Uint8Array(200_000).fill(65);
    const writing = writeFiles([{ path: at('detached'), data }]);
    try {
      if ('transfer' in data.buffer) (data.buffer as { transfer(): void }).transfer();
      else structuredClone(data, { transfer: [data.buffer] });
    } catch {
      // Node 24 refuses.
    }
    expect((await writing)[0].error).toBeNull();
    expect(readFileSync(at('detached')).equals(Buffer.alloc(200_000, 'A'))).toBe(true);
    const resizable = Reflect.construct(ArrayBuffer, [8, { maxByteLength: 16 }]) as ArrayBuffer;
    new Uint8Array(resizable).fill(66);
    expect((await writeFiles([{ path: at('moved'), data: new Uint8Array(resizable) }]))[0].error).toBeNull();
    expect(readFileSync(at('moved'), 'utf8')).toBe('BBBBBBBB');
  });

  it('refuses what makes no sense before anything is begun', () => {
    const before = begun();
    // @ts-expect-error: an iterable
    expect(thrown(() => writeFiles(1))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    // @ts-expect-error: data
    expect(thrown(() => writeFiles([{ path: 'x' }]))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    // @ts-expect-error: a path
    expect(thrown(() => writeFiles([{ path: 7, data: '' }])).message).toContain('"entries[0].path"');
    expect(thrown(() => writeFiles([], { concurrency: 0 }))).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    expect(thrown(() => writeFiles([], { flag: 'q' as 'w' }))).toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
    });
    expect(begun()).toBe(before);
  });
});

describe('a cancelled writeFiles', () => {
  it('rejects with an AbortError, begins no more, and leaves nothing open', async () => {
    // Of its own files: what the test runner has open comes and goes.
    const open = (): string[] => openFiles().filter((file) => file.includes(dir));
    expect(open()).toEqual([]);
    for (let turns = 0; turns < 20; turns++) {
      const writing = writeFiles(entriesOf('cut', 3000, 1), { concurrency: 2 });
      for (let turn = 0; turn < turns; turn++) await submitted();
      writing.cancel('enough');
      await expect(writing).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'enough' });
    }
    const pipe = writeFiles([{ path: fifo(at('unread')), data: 'x' }], { timeout: 30 });
    await expect(pipe).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    expect(open()).toEqual([]);
  });

  it('stops in the middle of a long file, as writeFile does', async () => {
    const data = Buffer.alloc(64 << 20, 'long');
    let cut = 0;
    for (let turns = 0; turns < 12 && cut < 2; turns++) {
      for (const writing of [writeFile(at('long'), data), writeFiles([{ path: at('long2'), data }])]) {
        for (let turn = 0; turn < turns * 20; turn++) await submitted();
        writing.cancel();
        await writing.catch((error: unknown) => {
          cut++;
          expect(error).toMatchObject({ code: 'ABORT_ERR' });
        });
      }
    }
    expect(cut).toBeGreaterThan(0);
    rmSync(at('long'), { force: true });
    rmSync(at('long2'), { force: true });
  });

  it('that a process leaves behind keeps it from nothing', async () => {
    const source = `
      import { writeFiles } from '@ouro/fs';
      const entries = Array.from({ length: 400 }, (_, i) => (
        { path: ${JSON.stringify(at('exit'))} + i, data: Buffer.alloc(100_000, 1) }));
      writeFiles(entries);
      setImmediate(() => process.exit(7));`;
    const { code, stderr } = await runProgram(source);
    expect({ code, stderr }).toEqual({ code: 7, stderr: '' });
  });
});
