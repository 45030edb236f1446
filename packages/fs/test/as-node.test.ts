/** Small things that who comes from `node:fs/promises` takes for granted. */
import fs from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { appendFile, Dir, File, mkdir, readFile, stat, watch, writeFile, writeFiles } from '@ouro/fs';
import { metrics, sleep } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { failure, openDescriptors, submitted, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
const at = (name: string): string => join(dir, name);
fs.writeFileSync(at('file'), 'content');

describe('options that are no object', () => {
  it('are refused before anything is begun: they would mean something to Node', async () => {
    await using file = await File.open(at('file'), 'r+');
    const buffer = Buffer.alloc(8);
    const calls: Record<string, (options: never) => unknown> = {
      open: (options) => File.open(at('secret'), 'w', options),
      read: (options) => file.read(buffer, 2, options),
      write: (options) => file.write(buffer, 2, options),
      stat: (options) => file.stat(options),
      sync: (options) => file.sync(options),
      truncate: (options) => file.truncate(3, options),
      path: (options) => stat(at('file'), options),
    };
    for (const [name, call] of Object.entries(calls)) {
      for (const options of [0o600, 'hex', null, [1], true]) {
        const { name: kind, code, message } = thrown(() => call(options as never));
        expect([name, kind, code]).toEqual([name, 'TypeError', 'ERR_INVALID_ARG_TYPE']);
        expect(message).toContain('"options" argument must be an instance of Object');
      }
    }
    expect(fs.existsSync(at('secret'))).toBe(false);
    expect(fs.readFileSync(at('file'), 'utf8')).toBe('content');
  });
});

describe('writeFile', () => {
  const syncs = (): number => metrics().ops.FSYNC?.submitted ?? 0;

  it.each([writeFile, appendFile])('with flush waits until it is on the device (%o)', async (write) => {
    const before = syncs();
    await write(at('flushed'), 'some');
    expect(syncs()).toBe(before);
    await write(at('flushed'), 'more', { flush: true });
    expect(syncs()).toBe(before + 1);
    await write(at('flushed'), Readable.from(['and ', 'more']), { flush: true });
    expect(syncs()).toBe(before + 2);
    expect(thrown(() => write(at('flushed'), '', { flush: 1 as never }))).toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
    });
  });

  it('takes what comes piece by piece, of both kinds', async () => {
    await writeFile(at('pieces'), 'longer than what follows');
    await writeFile(at('pieces'), ['a', Buffer.from('b'), new Uint8Array([99])]);
    expect(await readFile(at('pieces'), 'utf8')).toBe('abc');
    await appendFile(at('pieces'), Readable.from([Buffer.from('d'), 'e']));
    expect(await readFile(at('pieces'), 'utf8')).toBe('abcde');
    await writeFile(at('pieces'), ['ff'], { encoding: 'hex', mode: 0o600, flag: 'a' });
    expect(fs.readFileSync(at('pieces')).at(-1)).toBe(255);
  });

  it('closes its file, and what brings the pieces, when one of them fails', async () => {
    await submitted();
    const before = openDescriptors();
    let closed = false;
    async function* pieces(): AsyncGenerator<string> {
      try {
        yield 'one';
        yield 2 as never;
      } finally {
        closed = true;
      }
    }
    expect(await failure(writeFile(at('half'), pieces()))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    expect(await failure(writeFile(at('nowhere/at/all'), pieces()))).toMatchObject({ code: 'ENOENT' });
    expect([closed, openDescriptors()]).toEqual([true, before]);
    expect(thrown(() => writeFile(at('half'), ['x'], { durable: true }))).toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
    });
  });

  it('and readFile and appendFile take open files', async () => {
    await using file = await File.open(at('open'), 'w+');
    await writeFile(file, 'first ');
    await appendFile(file, ['second']);
    expect(await readFile(at('open'), 'utf8')).toBe('first second');
    await using again = await File.open(at('open'));
    await again.read(Buffer.alloc(6));
    expect(await readFile(again, 'utf8')).toBe('second');
  });

  it('of many says which of them has bad data', () => {
    const entries = [
      { path: at('a'), data: '' },
      { path: at('b'), data: 5 as never },
    ];
    expect(thrown(() => writeFiles(entries)).message).toContain('"entries[1].data" argument must be');
  });
});

describe('mkdir, recursive,', () => {
  it('makes nothing where all is there, and waits for no thread then', async () => {
    expect(await mkdir(at('x/y/z'), { recursive: true })).toBe(at('x'));
    const made = (): number => metrics().ops.MKDIRAT?.submitted ?? 0;
    const before = made();
    expect(await mkdir(at('x/y/z'), { recursive: true })).toBeUndefined();
    expect(made()).toBe(before);
    expect(await failure(mkdir(at('file'), { recursive: true }))).toMatchObject({ code: 'EEXIST' });
    expect(await failure(mkdir(at('file/below'), { recursive: true }))).toMatchObject({ code: 'ENOTDIR' });
  });
});

describe('a Dir', () => {
  it.each([undefined, 'beneath'] as const)('has bigint stats and access (resolve: %s)', async (resolve) => {
    fs.rmSync(at('link'), { force: true });
    fs.symlinkSync('file', at('link'));
    await using open = await Dir.open(dir);
    const { mtimeNs, size } = await open.stat('file', { bigint: true, resolve });
    expect([mtimeNs, size]).toEqual([fs.statSync(at('file'), { bigint: true }).mtimeNs, 7n]);
    expect((await open.lstat('link', { bigint: true, resolve })).ino).toBe(
      fs.lstatSync(at('link'), { bigint: true }).ino,
    );
    expect((await open.stat('file', { resolve })).size).toBe(7);
    await open.access('file', fs.constants.R_OK, { resolve });
    expect(await failure(open.access('nothing', 0, { resolve }))).toMatchObject({ code: 'ENOENT' });
    expect(await failure(open.access('file', fs.constants.X_OK, { resolve }))).toMatchObject({
      code: 'EACCES',
    });
  });
});

describe('watch', () => {
  it.each(['file', 'directory'])(
    'says of the end of what it watches whether that is a directory: %s',
    async (what) => {
      const path = at(`watched-${what}`);
      if (what === 'file') fs.writeFileSync(path, '');
      else fs.mkdirSync(path);
      const watching = watch(path);
      let begun = false;
      const first = watching.next().finally(() => {
        begun = true;
      });
      // Until it is watched nobody hears of it.
      for (let mode = 0o700; !begun; mode ^= 0o100) {
        fs.chmodSync(path, mode);
        await sleep(2);
      }
      fs.rmSync(path, { recursive: true });
      for (let event = await first; event.done !== true; event = await watching.next()) {
        if (event.value.kind === 'self') expect(event.value.directory).toBe(what === 'directory');
      }
    },
  );
});
