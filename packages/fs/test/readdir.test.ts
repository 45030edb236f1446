import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { readdir, rm, walk } from '@ouro/fs';
import { sleep } from '@ouro/runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { begunWith, randomTree } from './odd-trees.ts';
import { failure, openDescriptors, shape, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
beforeAll(begunWith);

const types = (entry: fs.Dirent): string =>
  [
    entry.isFile(),
    entry.isDirectory(),
    entry.isSymbolicLink(),
    entry.isFIFO(),
    entry.isSocket(),
    entry.isCharacterDevice(),
    entry.isBlockDevice(),
  ].join();
type AnyEntry = Pick<
  fs.Dirent,
  'isFile' | 'isDirectory' | 'isSymbolicLink' | 'isFIFO' | 'isSocket' | 'isCharacterDevice' | 'isBlockDevice'
> & {
  readonly name: string | Buffer;
  readonly parentPath: string | Buffer;
};
const shown = (entries: readonly AnyEntry[]): string[] =>
  entries
    .map((entry) => `${entry.parentPath}\0${entry.name.toString('latin1')}\0${types(entry as fs.Dirent)}`)
    .sort();
const hex = (names: readonly Buffer[]): string[] => names.map((name) => name.toString('hex')).sort();

describe('readdir is that of node:fs', () => {
  it.each([1, 2, 3, 4, 5, 6])('on random tree %i', async (seed) => {
    const root = join(dir, `tree${seed}`);
    randomTree(root, seed);
    const before = openDescriptors();
    expect(shown(await readdir(root, { withFileTypes: true }))).toEqual(
      shown(fs.readdirSync(root, { withFileTypes: true })),
    );
    expect(hex(await readdir(root, 'buffer'))).toEqual(hex(fs.readdirSync(root, 'buffer')));
    expect(await readdir(root)).toEqual(fs.readdirSync(root));
    expect(await readdir(root, 'latin1')).toEqual(fs.readdirSync(root, 'latin1'));
    expect(await readdir(root, 'buffer')).toEqual(fs.readdirSync(root, 'buffer'));
    // Node's own cannot go through names that are not UTF-8.
    const all = await readdir(root, { recursive: true, encoding: 'buffer' });
    const found = walkSync(Buffer.from(root)).map((path) => path.subarray(root.length + 1));
    expect(hex(all)).toEqual(hex(found));
    for (const path of all)
      if (!path.equals(Buffer.from(path.toString())))
        fs.rmSync(Buffer.concat([Buffer.from(`${root}/`), path]), { recursive: true, force: true });
    expect(shown(await readdir(root, { withFileTypes: true, recursive: true }))).toEqual(
      shown(fs.readdirSync(root, { withFileTypes: true, recursive: true })),
    );
    expect(openDescriptors()).toBe(before);
  });

  function walkSync(path: Buffer): Buffer[] {
    return fs.readdirSync(path, 'buffer').flatMap((name) => {
      const at = Buffer.concat([path, Buffer.from('/'), name]);
      return fs.lstatSync(at).isDirectory() ? [at, ...walkSync(at)] : [at];
    });
  }

  it('recursively, from a relative path, with the same paths', async () => {
    const root = join(dir, 'relative');
    fs.mkdirSync(join(root, 'a/b'), { recursive: true });
    fs.writeFileSync(join(root, 'a/b/c'), '');
    const odd = `${root}//a/../`;
    expect((await readdir(odd, { recursive: true })).sort()).toEqual(
      fs.readdirSync(odd, { recursive: true }).sort(),
    );
    expect(shown(await readdir(odd, { recursive: true, withFileTypes: true }))).toEqual(
      shown(fs.readdirSync(odd, { recursive: true, withFileTypes: true })),
    );
  });

  it('on a URL, on bytes, on a directory of 5,000 long names, on /proc and on an empty one', async () => {
    const many = join(dir, 'many');
    fs.mkdirSync(many);
    for (let i = 0; i < 5000; i++) fs.writeFileSync(join(many, `${i}-${'n'.repeat(i % 200)}`), '');
    expect(await readdir(pathToFileURL(many))).toEqual(fs.readdirSync(many));
    expect(await readdir(Buffer.from(many))).toEqual(fs.readdirSync(many));
    expect(shown(await readdir('/proc/self', { withFileTypes: true }))).toEqual(
      shown(fs.readdirSync('/proc/self', { withFileTypes: true })),
    );
    fs.mkdirSync(join(dir, 'empty'));
    expect(await readdir(join(dir, 'empty'))).toEqual([]);
  });

  it.each([30, 3000])('in the order of %i names, whatever they are made of', async (count) => {
    const odd = fs.mkdtempSync(join(dir, 'order-'));
    const letters = ['a', 'Z', '0', ' ', '-', 'é', 'ß', '漢', '\ufffd', '\uffee', '😀', '\ue000'];
    for (let i = 0; i < count; i++) {
      const name = [i * 7, i * 31, i].map((seed) => letters[seed % letters.length]).join('') + (i % 100);
      fs.writeFileSync(join(odd, `${name}${'x'.repeat(i % 50)}`), '');
    }
    expect(await readdir(odd)).toEqual(fs.readdirSync(odd));
    expect(await readdir(odd, 'buffer')).toEqual(fs.readdirSync(odd, 'buffer'));
    const typed = await readdir(odd, { withFileTypes: true });
    expect(typed.map(({ name }) => name)).toEqual(fs.readdirSync(odd));
  });

  it('on paths of 4,095 bytes, and below them', async () => {
    const root = join(dir, 'long');
    fs.mkdirSync(root);
    fs.writeFileSync(join(root, 'file'), '');
    const path = `${root}${'/'.repeat(4095 - root.length)}`;
    expect(await readdir(path)).toEqual(['file']);
    expect(await readdir(path, { recursive: true })).toEqual(['file']);
    // What is below has paths that no system call takes whole: names of 255 bytes, 40 levels.
    const home = process.cwd();
    try {
      process.chdir(root);
      for (let level = 0; level < 40; level++) {
        fs.mkdirSync('n'.repeat(255));
        process.chdir('n'.repeat(255));
      }
    } finally {
      process.chdir(home);
    }
    const deepest = (await readdir(root, { recursive: true })).reduce((a, b) =>
      a.length > b.length ? a : b,
    );
    expect(deepest.length).toBe(40 * 256 - 1);
    await rm(root, { recursive: true });
    expect(fs.existsSync(root)).toBe(false);
  });

  it('in its errors', async () => {
    const file = join(dir, 'file');
    fs.writeFileSync(file, '');
    const loop = join(dir, 'loop');
    fs.symlinkSync('loop', loop);
    for (const path of [
      file,
      `${file}/x`,
      join(dir, 'gone'),
      loop,
      `${dir}/${'x'.repeat(256)}`,
      '/'.repeat(4096),
    ]) {
      for (const options of [{}, { recursive: true }]) {
        const theirs = await failure(fs.promises.readdir(path, options));
        expect(await failure(readdir(path, options))).toEqual(theirs);
      }
    }
  });

  it('in what it refuses', () => {
    const refused = (body: () => unknown): unknown => thrown(body).code;
    expect(refused(() => readdir(7 as never))).toBe('ERR_INVALID_ARG_TYPE');
    expect(refused(() => readdir('a\0b'))).toBe('ERR_INVALID_ARG_VALUE');
    expect(refused(() => readdir('.', { encoding: 'latin9' as never }))).toBe('ERR_INVALID_ARG_VALUE');
    expect(refused(() => readdir('.', 7 as never))).toBe('ERR_INVALID_ARG_TYPE');
  });
});

describe('readdir, cancelled,', () => {
  it('rejects and leaves nothing open, whenever that is', async () => {
    const root = join(dir, 'cancelled');
    randomTree(root, 77);
    const before = openDescriptors();
    for (let turns = 0; turns < 30; turns++) {
      const future = readdir(root, { recursive: true });
      for (let i = 0; i < turns; i++) await sleep(0);
      future.cancel();
      await future.catch((error: unknown) => expect(shape(error).name).toBe('AbortError'));
    }
    const controller = new AbortController();
    controller.abort();
    expect((await failure(readdir(root, { signal: controller.signal }))).name).toBe('AbortError');
    await sleep(20);
    expect(openDescriptors()).toBe(before);
  });
});

describe('on a file system that does not say in its directories what is what', () => {
  const at = join(dir, 'untyped');
  /** An ext2 without that feature, where one can be mounted. */
  const mounted = ((): boolean => {
    try {
      const image = join(dir, 'image');
      fs.writeFileSync(image, Buffer.alloc(2 ** 22));
      fs.mkdirSync(at);
      execFileSync('mkfs.ext2', ['-q', '-O', '^filetype', image], { stdio: 'ignore' });
      execFileSync('mount', ['-o', 'loop', image, at], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  })();
  afterAll(() => {
    if (mounted) execFileSync('umount', [at]);
  });

  it.skipIf(!mounted)('readdir, walk and rm find it out', async () => {
    const root = join(at, 'root');
    fs.mkdirSync(join(root, 'sub/inner'), { recursive: true });
    fs.writeFileSync(join(root, 'sub/file'), '');
    fs.symlinkSync('sub', join(root, 'link'));
    expect(shown(await readdir(root, { withFileTypes: true, recursive: true }))).toEqual(
      shown(fs.readdirSync(root, { withFileTypes: true, recursive: true })),
    );
    const directories: string[] = [];
    for await (const entry of walk(root)) if (entry.isDirectory()) directories.push(entry.name);
    expect(directories.sort()).toEqual(['inner', 'sub']);
    await rm(root, { recursive: true });
    expect(fs.existsSync(root)).toBe(false);
  });
});
