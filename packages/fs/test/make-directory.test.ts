import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { mkdir, mkdtemp, mkfifo } from '@ouro/fs';
import { beforeEach, describe, expect, it } from 'vitest';
import { failure, temporaryDirectory } from './support.ts';

const root = temporaryDirectory();
const dir = join(root, 'dir');
const at = (...names: string[]): string => join(dir, ...names);

beforeEach(() => {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir);
});

describe('mkdir with recursive: true', () => {
  const recursive = true;

  it('makes all that is missing, and says where it began', async () => {
    expect(await mkdir(at('a', 'b', 'c'), { recursive })).toBe(at('a'));
    expect(statSync(at('a', 'b', 'c')).isDirectory()).toBe(true);
    expect(await mkdir(at('a', 'b', 'd', 'e'), { recursive })).toBe(at('a', 'b', 'd'));
    expect(await mkdir(at('a', 'b'), { recursive })).toBeUndefined();
  });

  it('takes relative paths, URLs, bytes, and links to directories', async () => {
    const here = relative(process.cwd(), at('r', 's'));
    expect(await mkdir(here, { recursive })).toBe(relative(process.cwd(), at('r')));
    expect(await mkdir(pathToFileURL(at('u', 'v')), { recursive })).toBe(at('u'));
    const odd = Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff]), Buffer.from('/x')]);
    await mkdir(odd, { recursive });
    expect(statSync(odd).isDirectory()).toBe(true);
    symlinkSync('r', at('link'));
    expect(await mkdir(at('link', 'm', 'n'), { recursive })).toBe(at('link', 'm'));
    expect(existsSync(at('r', 'm', 'n'))).toBe(true);
    for (const there of ['/', '.', '..', `${dir}/`, dir])
      expect(await mkdir(there, { recursive })).toBeUndefined();
  });

  it('gives all of them the mode', async () => {
    await mkdir(at('a', 'b'), { recursive, mode: '711' });
    expect([statSync(at('a')).mode & 0o777, statSync(at('a', 'b')).mode & 0o777]).toEqual([0o711, 0o711]);
  });

  it('makes hundreds of levels', async () => {
    const deep = `${dir}${'/d'.repeat(500)}`;
    expect(await mkdir(deep, { recursive })).toBe(at('d'));
    expect(statSync(deep).isDirectory()).toBe(true);
  });

  it('does not mind others who make the same', async () => {
    const made = await Promise.all(
      Array.from({ length: 20 }, (_, i) => mkdir(at('x', 'y', 'z', String(i % 4)), { recursive })),
    );
    expect(made.filter((first) => first === at('x'))).toHaveLength(1);
    expect(readdirSync(at('x', 'y', 'z'))).toHaveLength(4);
  });

  it('fails where something else is in the way', async () => {
    writeFileSync(at('file'), '');
    symlinkSync('nowhere', at('dangling'));
    const failed = async (path: string): Promise<unknown> => {
      const { code, syscall } = await failure(mkdir(path, { recursive }));
      return [code, syscall];
    };
    expect(await failed(at('file'))).toEqual(['EEXIST', 'mkdir']);
    expect(await failed(at('file', 'a'))).toEqual(['ENOTDIR', 'mkdir']);
    expect(await failed(at('file', 'a', 'b'))).toEqual(['ENOTDIR', 'mkdir']);
    expect(await failed(at('dangling'))).toEqual(['ENOENT', 'mkdir']);
    expect(await failed(at('dangling', 'a'))).toEqual(['ENOTDIR', 'mkdir']);
    expect(await failed(at('x'.repeat(300), 'a'))).toEqual(['ENAMETOOLONG', 'mkdir']);
    expect(await failed('')).toEqual(['ENOENT', 'mkdir']);
    expect(await failed('/proc/none/a')).toEqual(['ENOENT', 'mkdir']);
  });

  it('can be cancelled on the way, and leaves what it has made', async () => {
    const deep = `${dir}${'/d'.repeat(300)}`;
    const future = mkdir(deep, { recursive });
    while (!existsSync(at('d'))) await new Promise(setImmediate);
    future.cancel('enough');
    expect(await failure(future)).toMatchObject({ name: 'AbortError' });
    expect(existsSync(at('d'))).toBe(true);
    expect(existsSync(deep)).toBe(false);
    const timed = await mkdir(`${dir}${'/e'.repeat(900)}`, { recursive, timeout: 1 }).catch((error) => error);
    if (timed instanceof Error) expect(timed).toMatchObject({ code: 'ETIMEDOUT' });
  });
});

describe('mkdtemp', () => {
  it('makes a directory of its own, which goes when it is left', async () => {
    let path: string;
    {
      await using temporary = await mkdtemp(at('tmp-'));
      path = temporary.path;
      expect(path).toMatch(/\/tmp-[a-zA-Z0-9]{6}$/);
      expect(`${temporary}`).toBe(path);
      expect(statSync(path).mode & 0o777).toBe(0o700);
      mkdirSync(join(path, 'a', 'b'), { recursive: true });
      writeFileSync(join(path, 'a', 'b', 'c'), '');
    }
    expect(existsSync(path)).toBe(false);
  });

  it('takes its prefix as it is: a directory with a slash behind it, bytes, a URL', async () => {
    await using inside = await mkdtemp(`${dir}/`);
    expect(inside.path).toMatch(new RegExp(`^${dir}/[a-zA-Z0-9]{6}$`));
    const odd = Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff])]);
    await using bytes = await mkdtemp(odd);
    expect([Buffer.isBuffer(bytes.path), bytes.path.subarray(0, -6)]).toEqual([true, odd]);
    expect(statSync(bytes.path).isDirectory()).toBe(true);
    await using url = await mkdtemp(pathToFileURL(at('url-')));
    expect(url.path.startsWith(at('url-'))).toBe(true);
    expect(readdirSync(dir)).toHaveLength(3);
  });

  it('gives everybody another one', async () => {
    const all = await Promise.all(Array.from({ length: 200 }, () => mkdtemp(at('many-'))));
    expect(new Set(all.map(({ path }) => path)).size).toBe(200);
    await Promise.all(all.map((each) => each.remove()));
    expect(readdirSync(dir)).toEqual([]);
  });

  it('does not mind if it has gone, and removes once', async () => {
    const temporary = await mkdtemp(at('tmp-'));
    rmSync(temporary.path, { recursive: true });
    const removing = temporary.remove();
    expect(temporary.remove()).toBe(removing);
    await removing;
  });

  it('fails as mkdtemp(3)', async () => {
    expect(await failure(mkdtemp(at('none', 'x')))).toMatchObject({
      code: 'ENOENT',
      syscall: 'mkdtemp',
      path: expect.stringMatching(/none\/x[a-zA-Z0-9]{6}$/),
    });
    writeFileSync(at('file'), '');
    expect((await failure(mkdtemp(at('file', 'x')))).code).toBe('ENOTDIR');
    expect((await failure(mkdtemp(at('x'), { signal: AbortSignal.abort() }))).name).toBe('AbortError');
  });
});

describe('mkfifo', () => {
  it('makes a named pipe', async () => {
    await mkfifo(at('pipe'), { mode: 0o600 });
    expect(statSync(at('pipe')).isFIFO()).toBe(true);
    expect(statSync(at('pipe')).mode & 0o777).toBe(0o600);
    expect(await failure(mkfifo(at('pipe')))).toMatchObject({
      code: 'EEXIST',
      syscall: 'mkfifo',
      path: at('pipe'),
    });
    chmodSync(at('pipe'), 0o644);
  });
});
