import {
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { File, link, lstat, mkdir, rename, rmdir, stat, symlink, truncate, unlink } from '@ouro/fs';
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_FOLLOW,
  linkat,
  mkdirat,
  openat,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  renameat,
  symlinkat,
  unlinkat,
} from '@ouro/fs/ops';
import { batch, chain, files, type Op, submit } from '@ouro/runtime';
import { beforeEach, describe, expect, it } from 'vitest';
import { failure, temporaryDirectory, thrown } from './support.ts';

const root = temporaryDirectory();
const dir = join(root, 'dir');
const at = (...names: string[]): string => join(dir, ...names);

beforeEach(() => {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(at('sub'), { recursive: true });
  writeFileSync(at('a'), 'a');
  writeFileSync(at('b'), 'b');
});

/** A path to `name` that is `length` bytes long. */
function long(length: number, name: string): string {
  const rest = length - Buffer.byteLength(`${dir}/${name}`);
  return `${dir}/${rest % 2 === 1 ? '/' : ''}${'./'.repeat(rest / 2)}${name}`;
}

/** What an error says of both paths. */
async function both(promise: PromiseLike<unknown> | (() => void)): Promise<unknown> {
  try {
    if (typeof promise === 'function') promise();
    else await promise;
  } catch (error) {
    const { message, code, errno, syscall, path, dest } = error as Record<string, unknown> & Error;
    return { message, code, errno, syscall, path, dest };
  }
  throw new Error('Nothing was thrown');
}

describe('renameat', () => {
  it('gives a file another name, over what has it', async () => {
    expect(await submit(renameat(at('a'), at('b')))).toBe(undefined);
    expect(readdirSync(dir)).toEqual(['b', 'sub']);
    expect(readFileSync(at('b'), 'utf8')).toBe('a');
  });

  it('with RENAME_NOREPLACE leaves what is there', async () => {
    const op = renameat(at('a'), at('b'), { flags: RENAME_NOREPLACE });
    expect(await both(submit(op))).toMatchObject({
      code: 'EEXIST',
      syscall: 'rename',
      path: at('a'),
      dest: at('b'),
    });
  });

  it('with RENAME_EXCHANGE exchanges two', async () => {
    await submit(renameat(at('a'), at('b'), { flags: RENAME_EXCHANGE }));
    expect(readFileSync(at('a'), 'utf8')).toBe('b');
  });

  it('takes relative names in open directories', async () => {
    await using directory = await File.open(dir);
    await using sub = await File.open(at('sub'));
    await submit(renameat('a', 'moved', { oldDirfd: directory, newDirfd: sub.fd }));
    await submit(renameat('b', 'moved too', { oldDirfd: directory, newDirfd: sub }));
    expect(readdirSync(at('sub'))).toEqual(['moved', 'moved too']);
  });

  it('holds both directories open until it is done', async () => {
    const directory = await File.open(dir);
    const sub = await File.open(at('sub'));
    const renaming = submit(renameat('a', 'moved', { oldDirfd: directory, newDirfd: sub }));
    expect(sub.descriptor.idle).toBe(false);
    await Promise.all([sub.close(), directory.close()]);
    await renaming;
    expect(existsSync(at('sub', 'moved'))).toBe(true);
    const late = renameat('b', 'moved', { newDirfd: sub });
    expect(await failure(submit(late))).toMatchObject({ code: 'EBADF', syscall: 'rename' });
    expect(await failure(batch([late]))).toMatchObject({ code: 'EBADF' });
    expect(await failure(chain([late]))).toMatchObject({ code: 'EBADF' });
  });

  it('fails as in node:fs, with both paths', async () => {
    expect(await both(submit(renameat(at('none'), at('b'))))).toEqual(
      await both(() => renameSync(at('none'), at('b'))),
    );
  });
});

describe('unlinkat', () => {
  it('removes a name; with AT_REMOVEDIR a directory', async () => {
    await submit(unlinkat(at('a')));
    await submit(unlinkat(at('sub'), { flags: AT_REMOVEDIR }));
    expect(readdirSync(dir)).toEqual(['b']);
  });

  it('takes a relative name in an open directory', async () => {
    await using directory = await File.open(dir);
    await submit(unlinkat('a', { dirfd: directory }));
    expect(existsSync(at('a'))).toBe(false);
  });

  it('fails as in node:fs', async () => {
    expect(await both(submit(unlinkat(at('none'))))).toEqual(await both(() => unlinkSync(at('none'))));
    const removing = submit(unlinkat(dir, { flags: AT_REMOVEDIR }));
    expect(await both(removing)).toEqual(await both(() => rmdirSync(dir)));
    expect((await failure(submit(unlinkat(dir)))).code).toBe('EISDIR');
    expect((await failure(submit(unlinkat('a', { dirfd: 99_999 })))).code).toBe('EBADF');
  });
});

describe('mkdirat', () => {
  it('makes a directory with the mode that the umask leaves', async () => {
    const umask = process.umask(0o022);
    await submit(mkdirat(at('made'), 0o777));
    await using directory = await File.open(dir);
    await submit(mkdirat('made too', '700', { dirfd: directory }));
    process.umask(umask);
    expect(statSync(at('made')).mode & 0o777).toBe(0o755);
    expect(statSync(at('made too')).mode & 0o777).toBe(0o700);
  });

  it('fails as in node:fs', async () => {
    expect(await both(submit(mkdirat(at('sub'))))).toEqual(await both(() => mkdirSync(at('sub'))));
    expect((await failure(submit(mkdirat(at('none', 'sub'))))).code).toBe('ENOENT');
  });
});

describe('symlinkat', () => {
  it('makes a link that says whatever it is told', async () => {
    await submit(symlinkat('no such file', at('link')));
    await using sub = await File.open(at('sub'));
    await submit(symlinkat('../a', 'link', { dirfd: sub }));
    expect(readlinkSync(at('link'))).toBe('no such file');
    expect(readFileSync(at('sub', 'link'), 'utf8')).toBe('a');
  });

  it('fails as in node:fs, with target and path', async () => {
    expect(await both(submit(symlinkat('x', at('a'))))).toEqual(await both(() => symlinkSync('x', at('a'))));
  });
});

describe('linkat', () => {
  it('gives a file a further name', async () => {
    await submit(linkat(at('a'), at('c')));
    await using directory = await File.open(dir);
    await submit(linkat('a', 'd', { oldDirfd: directory, newDirfd: directory }));
    expect(statSync(at('a')).nlink).toBe(3);
  });

  it('links a symbolic link itself, or with AT_SYMLINK_FOLLOW what it leads to', async () => {
    symlinkSync('a', at('link'));
    await submit(linkat(at('link'), at('itself')));
    await submit(linkat(at('link'), at('followed'), { flags: AT_SYMLINK_FOLLOW }));
    expect(lstatSync(at('itself')).isSymbolicLink()).toBe(true);
    expect(lstatSync(at('followed')).isFile()).toBe(true);
  });

  it('fails as in node:fs, with both paths', async () => {
    expect(await both(submit(linkat(at('a'), at('b'))))).toEqual(
      await both(() => linkSync(at('a'), at('b'))),
    );
    expect((await failure(submit(linkat(dir, at('c'))))).code).toBe('EPERM');
  });
});

describe('paths of ops', () => {
  // 239 bytes and the terminator fit the memory that an op has of its own, twice; longer ones go apart.
  it.each([
    [239, 239],
    [240, 100],
    [100, 240],
    [4095, 4095],
  ])('may have %i and %i bytes', async (first, second) => {
    await submit(renameat(long(first, 'a'), long(second, 'c')));
    await submit(linkat(long(second, 'c'), Buffer.from(long(first, 'd'))));
    await submit(unlinkat(long(first, 'c')));
    await submit(mkdirat(long(second, 'e')));
    expect(readdirSync(dir)).toEqual(['b', 'd', 'e', 'sub']);
  });

  it.each([
    ['renameat', () => renameat(long(4096, 'a'), at('c'))],
    ['renameat', () => renameat(at('a'), long(4096, 'c'))],
    ['unlinkat', () => unlinkat(long(4096, 'a'))],
    ['mkdirat', () => mkdirat(long(5000, 'c'))],
    ['symlinkat', () => symlinkat('x'.repeat(4096), at('c'))],
  ] as const)('of more are too long for %s', async (_name, op) => {
    expect((await failure(submit(op() as Op<void>))).code).toBe('ENAMETOOLONG');
  });

  it('may be file URLs', async () => {
    await submit(renameat(pathToFileURL(at('a')), pathToFileURL(at('c d'))));
    expect(existsSync(at('c d'))).toBe(true);
  });

  it('are kept as they are when the op is made', async () => {
    const path = Buffer.from(at('a'));
    const op = unlinkat(path);
    path.fill('x');
    await submit(op);
    expect(existsSync(at('a'))).toBe(false);
  });

  it.each([
    [() => renameat(1 as unknown as string, 'x'), 'ERR_INVALID_ARG_TYPE', /"oldPath"/],
    [() => renameat('x', 1 as unknown as string), 'ERR_INVALID_ARG_TYPE', /"newPath"/],
    [() => unlinkat('a\0b'), 'ERR_INVALID_ARG_VALUE', /'path'/],
    [() => symlinkat({} as unknown as string, 'x'), 'ERR_INVALID_ARG_TYPE', /"target"/],
    [() => mkdirat('x', -1), 'ERR_OUT_OF_RANGE', /"mode"/],
    [() => unlinkat('x', { flags: 1.5 }), 'ERR_OUT_OF_RANGE', /"options.flags"/],
    [() => unlinkat('x', { dirfd: -1 }), 'ERR_OUT_OF_RANGE', /"options.dirfd"/],
    [() => unlinkat('x', { dirfd: files().allocate() }), 'ERR_INVALID_ARG_TYPE', /"options.dirfd"/],
  ] as const)('that make no sense are refused: %s', (make, code, message) => {
    expect(thrown(make)).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it('begin at the directory of the process with AT_FDCWD', async () => {
    await submit(unlinkat(at('a'), { dirfd: AT_FDCWD }));
    expect(existsSync(at('a'))).toBe(false);
  });

  it('work in chains: written under another name, then renamed', async () => {
    const fd = await submit(openat(at('new'), 'w'));
    await chain([renameat(at('new'), at('a')), unlinkat(at('b'))]);
    closeSync(fd);
    expect(readdirSync(dir)).toEqual(['a', 'sub']);
  });
});

describe('the functions of @ouro/fs for names', () => {
  it('do what those of node:fs/promises do', async () => {
    await mkdir(at('made'), 0o700);
    await mkdir(at('made', 'more'), { mode: '755' });
    await rename(at('a'), at('made', 'a'));
    await symlink('a', at('made', 'link'));
    await link(at('made', 'a'), at('made', 'b'));
    expect((await lstat(at('made', 'link'))).isSymbolicLink()).toBe(true);
    expect((await stat(at('made', 'link'))).nlink).toBe(2);
    await truncate(at('made', 'a'), 3);
    expect(readFileSync(at('made', 'b'), 'utf8')).toBe('a\0\0');
    await truncate(at('made', 'a'));
    expect((await stat(at('made', 'b'))).size).toBe(0);
    await unlink(at('made', 'link'));
    await rmdir(at('made', 'more'));
    expect(readdirSync(at('made'))).toEqual(['a', 'b']);
  });

  it('stat says what node:fs says', async () => {
    const { mode, ino, size, mtimeMs, dev } = statSync(at('a'));
    expect(await stat(at('a'))).toMatchObject({ mode, ino, size, mtimeMs, dev });
  });

  it.each([
    ['stat', () => stat(at('none')), () => statSync(at('none'))],
    ['lstat', () => lstat(at('none')), () => lstatSync(at('none'))],
    ['unlink', () => unlink(at('none')), () => unlinkSync(at('none'))],
    ['rmdir', () => rmdir(at('none')), () => rmdirSync(at('none'))],
    ['truncate', () => truncate(at('none')), () => openSync(at('none'), 'r+')],
  ] as const)('%s fails as there', async (_name, ours, nodes) => {
    expect(await both(ours())).toEqual(await both(() => void nodes()));
  });

  it('do nothing when their signal has aborted', async () => {
    expect((await failure(unlink(at('a'), { signal: AbortSignal.abort() }))).code).toBe('ABORT_ERR');
    expect(existsSync(at('a'))).toBe(true);
  });
});
