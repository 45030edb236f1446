import { mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { File, readFile } from '@ouro/fs';
import { describe, expect, it } from 'vitest';
import { failure, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();

/** A path to `name` in the test's directory that is `length` bytes long. */
function pathOfLength(length: number, name: string): string {
  const rest = length - Buffer.byteLength(`${dir}/${name}`);
  return `${dir}/${rest % 2 === 1 ? '/' : ''}${'./'.repeat(rest / 2)}${name}`;
}

describe('a path', () => {
  it('may be a file URL', async () => {
    const path = join(dir, 'a name with spaces, ü and %');
    const opened = await File.create(pathToFileURL(path));
    await opened.write('x');
    await opened.close();
    expect(opened.path).toBe(path);
    expect(readFileSync(path, 'utf8')).toBe('x');
  });

  it('may be a Buffer whose bytes are no UTF-8', async () => {
    const path = Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff, 0x80, 0xfe])]);
    const opened = await File.create(path);
    expect(opened.path).toEqual(path);
    await opened.close();
    const names = readdirSync(dir, { encoding: 'buffer' });
    expect(names.some((name) => name.equals(Buffer.from([0xff, 0x80, 0xfe])))).toBe(true);
  });

  it('that is a Buffer is shown in errors as node:fs shows it', async () => {
    const path = Buffer.concat([Buffer.from(`${dir}/missing-`), Buffer.from([0xff])]);
    expect(await failure(File.open(path))).toEqual(thrown(() => openSync(path, 'r')));
  });

  it('is refused where it only looks like a Buffer', () => {
    const code = 'ERR_INVALID_ARG_TYPE';
    expect(thrown(() => File.open(Object.create(Buffer.prototype) as Buffer))).toMatchObject({ code });
    expect(thrown(() => readFile(Object.create(Buffer.prototype) as Buffer))).toMatchObject({ code });
  });

  it('may be relative', async () => {
    const cwd = process.cwd();
    process.chdir(dir);
    try {
      const opened = await File.create('relative');
      await opened.close();
    } finally {
      process.chdir(cwd);
    }
    expect(readdirSync(dir)).toContain('relative');
  });

  it('is read before open returns: its Buffer may be changed at once', async () => {
    writeFileSync(join(dir, 'before'), 'before');
    const path = Buffer.from(join(dir, 'before'));
    const opening = File.open(path);
    path.fill('x');
    const opened = await opening;
    await opened.close();
  });

  // 255 bytes and the terminator are what fits the memory that an op has of its own; longer ones go apart.
  it.each([84, 85, 86, 254, 255, 256, 257, 1000, 4094, 4095])('may have %i bytes', async (length) => {
    writeFileSync(join(dir, 'name'), 'content');
    const path = pathOfLength(length, 'name');
    expect(Buffer.byteLength(path)).toBe(length);
    expect(await readFile(path, 'utf8')).toBe('content');
    expect(await readFile(Buffer.from(path), 'utf8')).toBe('content');
  });

  it.each([4096, 5000])('of %i bytes is too long, as for node:fs', async (length) => {
    const path = pathOfLength(length, 'name');
    const error = await failure(File.open(path));
    expect(error).toEqual(thrown(() => openSync(path, 'r')));
    expect(error.code).toBe('ENAMETOOLONG');
  });

  it.each([254, 255])('may have a name of %i bytes', async (length) => {
    const path = join(dir, 'n'.repeat(length));
    await (await File.create(path)).close();
    expect(readdirSync(dir)).toContain('n'.repeat(length));
  });

  it.each([84, 85, 86, 254, 255, 256])(
    'of characters of three bytes may have %i bytes or just over',
    async (length) => {
      const missing = Math.max(0, length - dir.length - 1);
      const path = join(dir, ...('€'.repeat(Math.ceil(missing / 3)).match(/.{1,40}/gu) ?? []));
      mkdirSync(dirname(path), { recursive: true });
      await (await File.create(path)).close();
      expect(readFileSync(path, 'utf8')).toBe('');
    },
  );

  it('of one op is not disturbed by those of others in flight', async () => {
    const names = Array.from({ length: 2000 }, (_, i) => join(dir, `many-${i}-${'x'.repeat(i % 150)}`));
    for (const name of names.slice(0, 200)) writeFileSync(name, name);
    const wanted = [...names.slice(0, 200), ...names.slice(0, 200)];
    expect(await Promise.all(wanted.map((name) => readFile(name, 'utf8')))).toEqual(wanted);
    const errors = await Promise.all(names.slice(200).map((name) => failure(File.open(name))));
    expect(errors.map(({ path }) => path)).toEqual(names.slice(200));
  });
});
