import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  constants,
  linkSync,
  lstatSync,
  mkdirSync,
  type BigIntStats as NodeBigIntStats,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as ouro from '@ouro/fs';
import { File } from '@ouro/fs';
import { AT_SYMLINK_NOFOLLOW, STATX_BTIME, STATX_MNT_ID, STATX_SIZE } from '@ouro/fs/ops';
import { beforeEach, describe, expect, it } from 'vitest';
import { begun, failure, temporaryDirectory, thrown } from './support.ts';

const root = temporaryDirectory();
const dir = join(root, 'dir');
const path = join(dir, 'file');
const link = join(dir, 'link');
const none = join(dir, 'none');
const AS_ROOT = process.getuid?.() === 0;

beforeEach(() => {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir);
  writeFileSync(path, 'content');
  symlinkSync('file', link);
});

describe('stat with bigint: true', () => {
  const values = [
    ...(['dev', 'ino', 'mode', 'nlink', 'uid', 'gid', 'rdev', 'size', 'blksize', 'blocks'] as const),
    ...(['atimeMs', 'mtimeMs', 'ctimeMs', 'birthtimeMs', 'atime', 'mtime', 'ctime', 'birthtime'] as const),
    ...(['atimeNs', 'mtimeNs', 'ctimeNs', 'birthtimeNs'] as const),
  ];
  const questions = [
    ...(['isFile', 'isDirectory', 'isSymbolicLink', 'isFIFO', 'isSocket'] as const),
    ...(['isCharacterDevice', 'isBlockDevice'] as const),
  ];
  const contents = (stats: ouro.BigIntStats | NodeBigIntStats): Record<string, unknown> =>
    Object.fromEntries([
      ...values.map((value) => [value, stats[value]]),
      ...questions.map((question) => [question, stats[question]()]),
    ]);

  it.each(['file', 'link', '.', 'pipe', '/dev/null', '/proc/self', '/proc/version'])(
    'says of %s what Node says',
    async (name) => {
      await ouro.mkfifo(join(dir, 'pipe'));
      const at = name.startsWith('/') ? name : join(dir, name);
      expect(contents(await ouro.stat(at, { bigint: true }))).toEqual(
        contents(statSync(at, { bigint: true })),
      );
      expect(contents(await ouro.lstat(at, { bigint: true }))).toEqual(
        contents(lstatSync(at, { bigint: true })),
      );
    },
  );

  it('knows nanoseconds, also before 1970', async () => {
    await ouro.utimes(path, 1_234_567_890_123_456_789n, -1n);
    const stats = await ouro.stat(path, { bigint: true });
    expect([stats.atimeNs, stats.mtimeNs]).toEqual([1_234_567_890_123_456_789n, -1n]);
    expect(contents(stats)).toEqual(contents(statSync(path, { bigint: true })));
  });

  it('of an open file', async () => {
    await using file = await File.open(path);
    expect(contents(await file.stat({ bigint: true }))).toEqual(contents(statSync(path, { bigint: true })));
    expect((await file.stat()).size).toBe(7);
  });
});

describe('statx', () => {
  it('tells when a file was made, and in which mount it lies', async () => {
    const stats = await ouro.statx(path);
    const [birth, mount] = [STATX_BTIME, STATX_MNT_ID].map((bit) => (stats.mask & bit) !== 0);
    expect([stats.size, stats.isFile(), birth, mount]).toEqual([7n, true, true, true]);
    expect(stats.birthtimeNs).toBe(statSync(path, { bigint: true }).birthtimeNs);
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    expect(mounts.some((line) => line.startsWith(`${stats.mountId} `))).toBe(true);
    expect([stats.dioMemAlign, stats.dioOffsetAlign].every((bytes) => bytes >= 0)).toBe(true);
    expect(stats.attributes & ~stats.attributesMask).toBe(0n);
  });

  it('asks for what is wanted, of a link itself if it is to', async () => {
    const stats = await ouro.statx(link, { mask: STATX_SIZE, flags: AT_SYMLINK_NOFOLLOW });
    expect([stats.size, stats.mask & STATX_SIZE]).toEqual([4n, STATX_SIZE]);
    expect(await failure(ouro.statx(none))).toMatchObject({ code: 'ENOENT', syscall: 'stat', path: none });
    expect(thrown(() => ouro.statx(path, { mask: -1 })).code).toBe('ERR_OUT_OF_RANGE');
  });
});

describe('access and exists', () => {
  it('ask for permissions', async () => {
    chmodSync(path, 0o600);
    await ouro.access(path);
    await ouro.access(pathToFileURL(path), constants.R_OK | constants.W_OK);
    expect(await failure(ouro.access(path, constants.X_OK))).toMatchObject({
      code: 'EACCES',
      syscall: 'access',
      path,
      message: `EACCES: permission denied, access '${path}'`,
    });
  });

  it('say whether something is there', async () => {
    const dangling = join(dir, 'dangling');
    symlinkSync('nowhere', dangling);
    symlinkSync('loop', join(dir, 'loop'));
    const all = [path, link, dir, none, `${path}/x`, dangling, join(dir, 'loop'), 'x'.repeat(5000), ''];
    const found = await Promise.all(all.map((each) => ouro.exists(each)));
    expect(found).toEqual([true, true, true, false, false, false, false, false, false]);
  });

  it('do not take a cancellation for an answer', async () => {
    const signal = AbortSignal.abort();
    expect((await failure(ouro.exists(path, { signal }))).name).toBe('AbortError');
    const future = ouro.exists(path);
    future.cancel();
    await future.catch((error: Error) => expect(error.name).toBe('AbortError'));
  });
});

describe('permissions, owners and times', () => {
  it('are changed by path', async () => {
    await ouro.chmod(path, '640');
    await ouro.utimes(link, 1, new Date(2000));
    await ouro.lutimes(link, 3, 4);
    const [file, itself] = [statSync(path), lstatSync(link)];
    expect(file.mode & 0o777).toBe(0o640);
    expect([file.atimeMs, file.mtimeMs, itself.atimeMs, itself.mtimeMs]).toEqual([1000, 2000, 3000, 4000]);
  });

  it('are changed of an open file', async () => {
    await using file = await File.open(path);
    await file.chmod(0o604);
    await file.utimes(5, null);
    await file.chown(-1, -1);
    const stats = statSync(path);
    expect([stats.mode & 0o777, stats.atimeMs]).toEqual([0o604, 5000]);
  });

  it.runIf(AS_ROOT)('owners as well, of a link itself too', async () => {
    await ouro.chown(link, 1, 2);
    await ouro.lchown(link, 3, 4);
    await using file = await File.open(path);
    await file.chown(-1, 5);
    const ids = (at: string): readonly number[] => [lstatSync(at).uid, lstatSync(at).gid];
    expect([ids(path), ids(link)]).toEqual([
      [1, 5],
      [3, 4],
    ]);
  });

  it('of a closed file fail with EBADF', async () => {
    const file = await File.open(path);
    await file.close();
    const all = [
      file.chmod(0),
      file.chown(0, 0),
      file.utimes(0, 0),
      file.stat({ bigint: true }),
      file.listxattr(),
      file.getxattr('user.a'),
      file.setxattr('user.a', ''),
      file.removexattr('user.a'),
    ];
    for (const future of all) expect((await failure(future)).code).toBe('EBADF');
  });

  it('are checked before anything begins', async () => {
    await ouro.access(path);
    const before = begun();
    const odd = 'x' as unknown as number;
    for (const [body, name, code] of [
      [() => ouro.access(path, 8), 'mode', 'ERR_OUT_OF_RANGE'],
      [() => ouro.access(path, odd), 'mode', 'ERR_INVALID_ARG_TYPE'],
      [() => ouro.access(1 as unknown as string), 'path', 'ERR_INVALID_ARG_TYPE'],
      [() => ouro.exists('a\0b'), 'path', 'ERR_INVALID_ARG_VALUE'],
      [() => ouro.chmod(path, -1), 'mode', 'ERR_OUT_OF_RANGE'],
      [() => ouro.chmod(path, '9'), 'mode', 'ERR_INVALID_ARG_VALUE'],
      [() => ouro.chown(path, odd, 0), 'uid', 'ERR_INVALID_ARG_TYPE'],
      [() => ouro.lchown(path, 0, 2 ** 32), 'gid', 'ERR_OUT_OF_RANGE'],
      [() => ouro.utimes(path, 1e300, 0), 'atime', 'ERR_OUT_OF_RANGE'],
      [() => ouro.utimes(path, 0, 2n ** 94n), 'mtime', 'ERR_OUT_OF_RANGE'],
      [() => ouro.utimes(path, Number.NaN, 0), 'atime', 'ERR_INVALID_ARG_TYPE'],
      [() => ouro.lutimes(path, 0, odd), 'mtime', 'ERR_INVALID_ARG_TYPE'],
      [() => ouro.readlink(path, 'utf9' as 'utf8'), 'encoding', 'ERR_INVALID_ARG_VALUE'],
      [() => ouro.realpath(path, 1 as unknown as 'utf8'), 'options', 'ERR_INVALID_ARG_TYPE'],
      [
        () => ouro.mkdir(path, { recursive: 1 as unknown as true }),
        'options.recursive',
        'ERR_INVALID_ARG_TYPE',
      ],
      [() => ouro.mkdtemp(null as unknown as string), 'prefix', 'ERR_INVALID_ARG_TYPE'],
      [() => ouro.mkfifo(path, { mode: 'x' }), 'mode', 'ERR_INVALID_ARG_VALUE'],
      [() => ouro.getxattr(path, 1 as unknown as string), 'name', 'ERR_INVALID_ARG_TYPE'],
      [() => ouro.setxattr(path, 'user.a', 1 as unknown as string), 'value', 'ERR_INVALID_ARG_TYPE'],
      [
        () => ouro.setxattr(path, 'user.a', '', { flag: 'x' as 'create' }),
        'options.flag',
        'ERR_INVALID_ARG_VALUE',
      ],
    ] as const) {
      const error = thrown(body);
      expect([error.code, error.message]).toEqual([
        code,
        expect.stringMatching(new RegExp(`["']${name}["']`)),
      ]);
    }
    expect(begun()).toBe(before);
  });
});

describe('readlink and realpath', () => {
  it('give names as they are wanted', async () => {
    expect(await ouro.readlink(link)).toBe('file');
    expect(await ouro.readlink(link, 'buffer')).toEqual(Buffer.from('file'));
    expect(await ouro.readlink(link, { encoding: 'hex' })).toBe('66696c65');
    expect(await ouro.realpath(link)).toBe(path);
    expect(await ouro.realpath(`${dir}/./../dir`, { encoding: 'buffer' })).toEqual(Buffer.from(dir));
  });
});

describe('statfs', () => {
  it('says how much room there is', async () => {
    const { bsize, blocks, bavail, bfree } = await ouro.statfs(dir);
    const [size, all] = execFileSync('stat', ['-f', '-c', '%S %b', dir]).toString().split(' ').map(Number);
    expect([bsize, blocks, bavail <= bfree]).toEqual([size, all, true]);
    expect(typeof (await ouro.statfs(dir, { bigint: true })).bsize).toBe('bigint');
  });
});

describe('extended attributes', () => {
  it('of a path', async () => {
    await ouro.setxattr(link, 'user.a', 'value');
    await ouro.setxattr(path, 'user.b', Buffer.from([1, 2]), { flag: 'create' });
    expect((await ouro.listxattr(path)).sort()).toEqual(['user.a', 'user.b']);
    expect([String(await ouro.getxattr(path, 'user.a')), ...(await ouro.getxattr(link, 'user.b'))]).toEqual([
      'value',
      1,
      2,
    ]);
    await ouro.removexattr(path, 'user.a');
    expect(await ouro.listxattr(link)).toEqual(['user.b']);
    expect((await failure(ouro.setxattr(path, 'user.b', '', { flag: 'create' }))).code).toBe('EEXIST');
    expect((await failure(ouro.setxattr(path, 'user.c', '', { flag: 'replace' }))).code).toBe('ENODATA');
    expect(await failure(ouro.getxattr(none, 'user.a'))).toMatchObject({ code: 'ENOENT', path: none });
  });

  it('of an open file', async () => {
    await using file = await File.open(path);
    await file.setxattr('user.a', 'value');
    expect(String(await file.getxattr('user.a'))).toBe('value');
    expect(await file.listxattr()).toEqual(['user.a']);
    await file.removexattr('user.a');
    expect((await failure(file.getxattr('user.a'))).code).toBe('ENODATA');
    expect((await failure(file.setxattr('user.a', '', { flag: 'replace' }))).code).toBe('ENODATA');
  });

  it.runIf(AS_ROOT)('of a link itself', async () => {
    const followSymlinks = false;
    await ouro.setxattr(link, 'trusted.a', 'link', { followSymlinks });
    expect(await ouro.listxattr(link)).toEqual([]);
    expect(await ouro.listxattr(link, { followSymlinks })).toEqual(['trusted.a']);
    expect(String(await ouro.getxattr(link, 'trusted.a', { followSymlinks }))).toBe('link');
    await ouro.removexattr(link, 'trusted.a', { followSymlinks });
    expect(await ouro.listxattr(link, { followSymlinks })).toEqual([]);
  });
});

describe('names that are not UTF-8', () => {
  it('are taken as bytes everywhere', async () => {
    const odd = Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff, 0xfe])]);
    linkSync(path, odd);
    await ouro.chmod(odd, 0o611);
    await ouro.utimes(odd, 1, 1);
    expect([(await ouro.stat(odd)).mode & 0o777, await ouro.exists(odd)]).toEqual([0o611, true]);
    expect(await ouro.realpath(odd, 'buffer')).toEqual(odd);
    unlinkSync(odd);
    expect(await ouro.exists(odd)).toBe(false);
  });

  it('as strings they are another name', async () => {
    utimesSync(path, 1, 1);
    expect(await ouro.exists(`${dir}/\u{fffd}`)).toBe(false);
  });
});
