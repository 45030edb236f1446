import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  promises,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type Copied, CopyError, type CopyOptions, cp, readFile, writeFile } from '@ouro/fs';
import { fsetxattr, getxattr } from '@ouro/fs/ops';
import { submit } from '@ouro/runtime';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { begun, failure, fifo, openDescriptors, submitted, temporaryDirectory, thrown } from './support.ts';
import { random, randomTree, sparseFile, tree } from './trees.ts';

const root = temporaryDirectory();
const dir = join(root, 'dir');
const src = join(dir, 'src');
const dest = join(dir, 'dest');
const recursive = { recursive: true } as const;

beforeAll(async () => {
  await cp('/etc/hostname', join(root, 'warm')); // what is opened once is open
});
beforeEach(() => mkdirSync(dir));
afterEach(() => {
  execFileSync('chmod', ['-R', 'u+rwX', dir]);
  rmSync(dir, { recursive: true, force: true });
});

/** A few files, two directories and a link. */
function small(path = src): void {
  mkdirSync(join(path, 'sub', 'deep'), { recursive: true });
  writeFileSync(join(path, 'one'), 'one');
  writeFileSync(join(path, 'sub', 'two'), 'two', { mode: 0o600 });
  writeFileSync(join(path, 'sub', 'deep', 'three'), Buffer.alloc(500_000, 3));
  symlinkSync('one', join(path, 'link'));
}

describe('cp of a random tree', () => {
  it.each(Array.from({ length: 12 }, (_, seed) => seed))(
    'makes what fs.promises.cp makes (seed %i)',
    async (seed) => {
      randomTree(src, seed, { entries: 80, odd: false }); // Node takes names for UTF-8
      const verbatimSymlinks = seed % 2 === 0;
      await promises.cp(src, join(dir, 'theirs'), { recursive: true, verbatimSymlinks });
      const copied = await cp(src, dest, { recursive: true, verbatimSymlinks });
      expect(tree(dest)).toEqual(tree(join(dir, 'theirs')));
      const kinds = Object.values(tree(src)).map((facts) => facts.split(',')[0]);
      const count = (kind: string): number => kinds.filter((each) => each === kind).length;
      expect(copied).toMatchObject({
        files: count('100000'),
        directories: count('40000'),
        links: count('120000'),
      });
    },
  );

  it.each(Array.from({ length: 12 }, (_, seed) => seed + 100))(
    'makes the same again, with everything that can be kept (seed %i)',
    async (seed) => {
      randomTree(src, seed, { entries: 80, fifos: true });
      const everything = { times: true, hardLinks: true, holes: true };
      const before = tree(src, everything);
      const descriptors = openDescriptors();
      await cp(src, dest, {
        recursive: true,
        verbatimSymlinks: true,
        preserveTimestamps: true,
        preserveOwner: true,
        hardLinks: true,
        specials: true,
        xattrs: true,
        concurrency: 1 + (seed % 9),
      });
      expect(tree(dest, everything)).toEqual(before);
      expect(tree(src, everything)).toEqual(before);
      expect(openDescriptors()).toBe(descriptors);
      // Once more over what is there.
      await cp(src, dest, { recursive: true, verbatimSymlinks: true, specials: true, hardLinks: true });
      expect(tree(dest, { hardLinks: true, holes: true })).toEqual(
        tree(src, { hardLinks: true, holes: true }),
      );
    },
  );

  it('merges with a tree that is there as Node does', async () => {
    for (const options of [{}, { force: false }, { preserveTimestamps: true }, { dereference: true }]) {
      rmSync(dir, { recursive: true, force: true });
      mkdirSync(dir);
      for (const name of ['theirs', 'ours']) {
        small(join(dir, name));
        chmodSync(join(dir, name, 'one'), 0o600);
        writeFileSync(join(dir, name, 'one'), 'older');
        writeFileSync(join(dir, name, 'more'), 'more');
        chmodSync(join(dir, name, 'sub'), 0o711);
      }
      small();
      rmSync(join(src, 'link')); // Node refuses to copy a link once more
      writeFileSync(join(src, 'sub', 'new'), 'new');
      await promises.cp(src, join(dir, 'theirs'), { recursive: true, ...options });
      await cp(src, join(dir, 'ours'), { recursive: true, ...options });
      expect(tree(join(dir, 'ours'))).toEqual(tree(join(dir, 'theirs')));
    }
  });
});

describe('cp refuses what Node refuses, in the same words', () => {
  const file = (name: string): void => writeFileSync(join(dir, name), name);
  const cases: Record<string, [prepare: () => void, from: string, to: string, options?: CopyOptions]> = {
    'nothing there': [() => {}, 'src', 'dest'],
    'a directory without recursive': [() => small(), 'src', 'dest'],
    'a directory into itself': [() => small(), 'src', 'src/sub/dest', recursive],
    'a directory onto itself': [() => small(), 'src', 'src', recursive],
    'a file onto itself': [() => file('src'), 'src', 'src'],
    'a file onto another name of its own': [() => [file('src'), linkSync(src, dest)], 'src', 'dest'],
    'a file over a directory': [() => [file('src'), mkdirSync(dest)], 'src', 'dest'],
    'a directory over a file': [() => [small(), file('dest')], 'src', 'dest', recursive],
    'a file that is there, with errorOnExist': [
      () => [file('src'), file('dest')],
      'src',
      'dest',
      { force: false, errorOnExist: true },
    ],
    'one of a tree that is there, with errorOnExist': [
      () => [mkdirSync(src), file('src/a'), mkdirSync(dest), file('dest/a')],
      'src',
      'dest',
      { recursive: true, force: false, errorOnExist: true },
    ],
    'a FIFO': [() => fifo(src), 'src', 'dest'],
    'a FIFO in a directory': [() => [mkdirSync(src), fifo(join(src, 'pipe'))], 'src', 'dest', recursive],
    'a link over a link to a directory above': [
      () => [
        mkdirSync(join(dir, 'a', 'b'), { recursive: true }),
        symlinkSync(join(dir, 'a'), src),
        symlinkSync(join(dir, 'a', 'b'), dest),
      ],
      'src',
      'dest',
    ],
    'a link over a link to a directory below': [
      () => [
        mkdirSync(join(dir, 'a', 'b'), { recursive: true }),
        symlinkSync(join(dir, 'a', 'b'), src),
        symlinkSync(join(dir, 'a'), dest),
      ],
      'src',
      'dest',
    ],
  };

  it.each(Object.entries(cases))('%s', async (_name, [prepare, from, to, options]) => {
    const outcomes: unknown[] = [];
    for (const copy of [promises.cp, cp]) {
      rmSync(dir, { recursive: true, force: true });
      mkdirSync(dir);
      prepare();
      const before = openDescriptors();
      try {
        await copy(join(dir, from), join(dir, to), options as object);
        outcomes.push('copied');
      } catch (error) {
        const { name, message, code, errno, syscall, path, info } = error as NodeJS.ErrnoException & {
          info: unknown;
        };
        outcomes.push({ name, message, code, errno, syscall, path, info, text: String(error) });
      }
      await submitted();
      expect(openDescriptors()).toBe(before);
      outcomes.push(tree(dir));
    }
    expect(outcomes.slice(2)).toEqual(outcomes.slice(0, 2));
    expect(outcomes[0]).not.toBe('copied');
  });

  it('a directory into itself, by links as well (where Node fills the disk)', async () => {
    small();
    symlinkSync('src/sub', join(dir, 'way'));
    symlinkSync('.', join(dir, 'here'));
    for (const to of ['way/dest', 'way/new/dest', 'here/src/dest', 'here/here/src']) {
      await expect(cp(src, join(dir, to), recursive)).rejects.toMatchObject({ code: 'ERR_FS_CP_EINVAL' });
    }
    expect(Object.keys(tree(src)).length).toBe(7);
  });

  it('a socket, and a device', async () => {
    const server = createServer().listen(src);
    await new Promise((listening) => server.on('listening', listening));
    await expect(cp(src, dest)).rejects.toMatchObject({ code: 'ERR_FS_CP_SOCKET', path: dest });
    server.close();
    await expect(cp('/dev/zero', dest)).rejects.toMatchObject({ code: 'ERR_FS_CP_UNKNOWN', path: dest });
    await expect(cp('/dev/zero', dest)).rejects.toBeInstanceOf(CopyError);
  });

  it('arguments that make no sense, before anything is submitted', () => {
    const count = begun();
    const wrong = (...args: unknown[]): unknown =>
      thrown(() => (cp as (...args: unknown[]) => unknown)(...args)).code;
    expect(wrong(1, dest)).toBe('ERR_INVALID_ARG_TYPE');
    expect(wrong(src, 'a\0')).toBe('ERR_INVALID_ARG_VALUE');
    expect(wrong(src, dest, null)).toBe('ERR_INVALID_ARG_TYPE');
    expect(wrong(src, dest, [])).toBe('ERR_INVALID_ARG_TYPE');
    for (const name of [
      'recursive',
      'force',
      'dereference',
      'hardLinks',
      'specials',
      'xattrs',
      'preserveOwner',
    ]) {
      expect(wrong(src, dest, { [name]: 1 })).toBe('ERR_INVALID_ARG_TYPE');
    }
    for (const name of ['filter', 'progress', 'onError']) {
      expect(wrong(src, dest, { [name]: 1 })).toBe('ERR_INVALID_ARG_TYPE');
    }
    expect(wrong(src, dest, { mode: 9 })).toBe('ERR_OUT_OF_RANGE');
    expect(wrong(src, dest, { concurrency: 0 })).toBe('ERR_OUT_OF_RANGE');
    expect(wrong(src, dest, { sparse: 1 })).toBe('ERR_INVALID_ARG_VALUE');
    expect(wrong(src, dest, { dereference: true, verbatimSymlinks: true })).toBe(
      'ERR_INCOMPATIBLE_OPTION_PAIR',
    );
    expect(begun()).toBe(count);
  });
});

describe('cp to a pipe, a device or a socket', () => {
  /** A device of the test's own, with the numbers of one of the system. */
  function device(path: string, minor: number, skip: (why: string) => never): string {
    try {
      execFileSync('mknod', [path, 'c', '1', String(minor)], { stdio: 'pipe' });
      closeSync(openSync(path, 'r'));
    } catch (error) {
      skip(`devices cannot be made here: ${String(error)}`);
    }
    return path;
  }
  const FULL = 7;
  const NULL = 3;
  const kind = (path: string): number => lstatSync(path).mode & constants.S_IFMT;

  it('writes to a pipe that somebody reads', async () => {
    writeFileSync(src, 'through the pipe');
    const pipe = fifo(dest);
    const mode = statSync(pipe).mode;
    const [copied, read] = await Promise.all([
      cp(src, pipe, { preserveTimestamps: true }),
      readFile(pipe, 'utf8'),
    ]);
    expect([copied, read]).toEqual([expect.objectContaining({ files: 1, bytes: 16 }), 'through the pipe']);
    expect(statSync(pipe).mode).toBe(mode);
    await expect(cp(src, pipe, { timeout: 20 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    expect(kind(pipe)).toBe(constants.S_IFIFO);
  });

  it('writes to a device, and tells that it is full', async ({ skip }) => {
    writeFileSync(src, 'x'.repeat(10));
    const nothing = device(join(dir, 'null'), NULL, skip);
    const full = device(join(dir, 'full'), FULL, skip);
    expect(await cp(src, nothing, { preserveOwner: true, xattrs: true })).toMatchObject({
      files: 1,
      bytes: 10,
    });
    await expect(cp(src, full)).rejects.toMatchObject({
      code: 'ENOSPC',
      syscall: 'copyfile',
      path: src,
      dest: full,
    });
    expect([kind(nothing), kind(full)]).toEqual([constants.S_IFCHR, constants.S_IFCHR]);
  });

  it('leaves it alone without force, and fails with errorOnExist', async () => {
    writeFileSync(src, 'x');
    fifo(dest);
    expect(await cp(src, dest, { force: false })).toMatchObject({ files: 0 });
    await expect(cp(src, dest, { force: false, errorOnExist: true })).rejects.toMatchObject({
      code: 'ERR_FS_CP_EEXIST',
    });
  });

  it('fails with ENXIO for a socket, which stays', async () => {
    writeFileSync(src, 'x');
    const server = createServer().listen(dest);
    await new Promise((listening) => server.on('listening', listening));
    await expect(cp(src, dest)).rejects.toMatchObject({
      code: 'ENXIO',
      syscall: 'copyfile',
      path: src,
      dest,
    });
    expect(kind(dest)).toBe(constants.S_IFSOCK);
    server.close();
  });

  it('writes to those that are there in a tree, other names of the file too', async () => {
    mkdirSync(src);
    mkdirSync(dest);
    writeFileSync(join(src, 'a'), 'contents');
    linkSync(join(src, 'a'), join(src, 'b'));
    const pipe = fifo(join(dest, 'a'));
    const [copied, read] = await Promise.all([
      cp(src, dest, { recursive: true, hardLinks: true }),
      readFile(pipe, 'utf8'),
    ]);
    expect(copied).toMatchObject({ files: 2, links: 0 });
    expect([read, readFileSync(join(dest, 'b'), 'utf8'), kind(pipe)]).toEqual([
      'contents',
      'contents',
      constants.S_IFIFO,
    ]);
  });

  it('has one made anew stay if it is the same, and does not put it in the place of another', async ({
    skip,
  }) => {
    mkdirSync(src);
    mkdirSync(dest);
    const pipe = fifo(join(src, 'pipe'));
    const { ino } = statSync(fifo(join(dest, 'pipe')));
    chmodSync(pipe, 0o640);
    expect(await cp(src, dest, { recursive: true, specials: true })).toMatchObject({ specials: 1 });
    expect([statSync(join(dest, 'pipe')).ino, statSync(join(dest, 'pipe')).mode & 0o777]).toEqual([
      ino,
      0o640,
    ]);
    const nothing = device(join(dir, 'null'), NULL, skip);
    const full = device(join(dir, 'full'), FULL, skip);
    for (const from of [pipe, full]) {
      expect(await failure(cp(from, nothing, { specials: true }))).toMatchObject({
        code: 'EEXIST',
        path: nothing,
      });
    }
    expect(kind(nothing)).toBe(constants.S_IFCHR);
  });

  it('replaces a link that leads to one, as it does any link', async () => {
    writeFileSync(src, 'x');
    const pipe = fifo(join(dir, 'pipe'));
    for (const dereference of [false, true]) {
      symlinkSync('pipe', dest);
      await cp(src, dest, { dereference });
      expect([kind(dest), kind(pipe)]).toEqual([constants.S_IFREG, constants.S_IFIFO]);
      rmSync(dest);
    }
  });
});

describe('cp', () => {
  it('makes the directories that lead to the target', async () => {
    small();
    await cp(join(src, 'one'), join(dir, 'a', 'b', 'c'));
    expect(readFileSync(join(dir, 'a', 'b', 'c'), 'utf8')).toBe('one');
    await cp(src, join(dir, 'x', 'y'), recursive);
    expect(tree(join(dir, 'x', 'y', 'sub'))).toEqual(tree(join(src, 'sub')));
  });

  it('asks the filter for each, with paths as they were given', async () => {
    small();
    const asked: string[] = [];
    await cp(src, dest, {
      recursive: true,
      filter: async (from, to) => {
        asked.push(`${from.slice(dir.length)} ${to.slice(dir.length)}`);
        return !from.endsWith('deep');
      },
    });
    expect(asked.toSorted()).toEqual([
      '/src /dest',
      '/src/link /dest/link',
      '/src/one /dest/one',
      '/src/sub /dest/sub',
      '/src/sub/deep /dest/sub/deep',
      '/src/sub/two /dest/sub/two',
    ]);
    expect(Object.keys(tree(dest))).toEqual(['.', './link', './one', './sub', './sub/two']);
  });

  it('makes relative links absolute, or leaves them as they are', async () => {
    small();
    await cp(src, dest, recursive);
    expect(readlinkSync(join(dest, 'link'))).toBe(join(src, 'one'));
    await cp(src, join(dir, 'verbatim'), { recursive: true, verbatimSymlinks: true });
    expect(readlinkSync(join(dir, 'verbatim', 'link'))).toBe('one');
    await cp(src, join(dir, 'followed'), { recursive: true, dereference: true });
    expect(lstatSync(join(dir, 'followed', 'link')).isFile()).toBe(true);
  });

  it('copies links that are there once more', async () => {
    small();
    symlinkSync('sub', join(src, 'way'));
    await cp(src, dest, recursive);
    await cp(src, dest, recursive);
    expect(readlinkSync(join(dest, 'way'))).toBe(join(src, 'sub'));
  });

  it('is not led in circles by links that it follows', async () => {
    small();
    symlinkSync('..', join(src, 'sub', 'up'));
    await expect(cp(src, dest, { recursive: true, dereference: true })).rejects.toMatchObject({
      code: 'ERR_FS_CP_EINVAL',
    });
  });

  it('replaces a file, not what else has its name', async () => {
    writeFileSync(src, 'new');
    writeFileSync(dest, 'old');
    linkSync(dest, join(dir, 'other'));
    await cp(src, dest);
    expect([readFileSync(dest, 'utf8'), readFileSync(join(dir, 'other'), 'utf8')]).toEqual(['new', 'old']);
  });

  it('replaces what has come into a directory that it has just made', async () => {
    small();
    await cp(src, dest, {
      recursive: true,
      filter: (from, to) => {
        if (from.endsWith('one')) symlinkSync('/nowhere', to);
        if (from.endsWith('two')) writeFileSync(to, 'somebody else');
        return true;
      },
    });
    expect(readFileSync(join(dest, 'one'), 'utf8')).toBe('one');
    expect(readFileSync(join(dest, 'sub', 'two'), 'utf8')).toBe('two');
  });

  it('keeps times to the nanosecond, of directories and links too', async () => {
    small();
    // Nanoseconds are more than Node can set.
    spawnSync('touch', ['-d', '2001-02-03 04:05:06.123456789', join(src, 'one'), join(src, 'sub')]);
    lutimesSync(join(src, 'link'), 1000, 2000.5);
    utimesSync(src, 5, 6);
    await cp(src, dest, { recursive: true, preserveTimestamps: true });
    for (const name of ['', 'one', 'sub', 'link']) {
      const [a, b] = [src, dest].map((top) => lstatSync(join(top, name), { bigint: true }));
      expect([name, b.mtimeNs]).toEqual([name, a.mtimeNs]);
    }
    expect(statSync(join(dest, 'one'), { bigint: true }).mtimeNs % 1_000_000_000n).toBe(123_456_789n);
  });

  it('makes files with several names one file again, if asked', async () => {
    mkdirSync(src);
    for (const size of [10, 300_000]) {
      writeFileSync(join(src, `a${size}`), Buffer.alloc(size, 1));
      for (const name of 'bcdef') linkSync(join(src, `a${size}`), join(src, `${name}${size}`));
    }
    expect(await cp(src, dest, { recursive: true, hardLinks: true })).toMatchObject({ files: 2, links: 10 });
    expect(statSync(join(dest, 'c10')).nlink).toBe(6);
    expect(await cp(src, join(dir, 'apart'), recursive)).toMatchObject({ files: 12, links: 0 });
    expect(statSync(join(dir, 'apart', 'c10')).nlink).toBe(1);
  });

  it('makes FIFOs, sockets and devices anew, if asked', async ({ skip }) => {
    mkdirSync(src);
    fifo(join(src, 'pipe'));
    chmodSync(join(src, 'pipe'), 0o640);
    expect(await cp(src, dest, { recursive: true, specials: true })).toMatchObject({ specials: 1 });
    expect([statSync(join(dest, 'pipe')).isFIFO(), statSync(join(dest, 'pipe')).mode & 0o777]).toEqual([
      true,
      0o640,
    ]);
    if (process.getuid?.() !== 0) skip('devices are for root');
    try {
      await cp('/dev/null', join(dir, 'null'), { specials: true });
    } catch (error) {
      skip(`devices cannot be made here: ${String(error)}`);
    }
    expect(statSync(join(dir, 'null')).rdev).toBe(statSync('/dev/null').rdev);
  });

  it('copies what is to be read from pipes and devices, if asked', async () => {
    const pipe = fifo(join(dir, 'pipe'));
    const [copied] = await Promise.all([
      cp(pipe, dest, { specials: 'contents', preserveTimestamps: true }),
      writeFile(pipe, 'through the pipe'),
    ]);
    expect(copied).toMatchObject({ files: 1, specials: 0, bytes: 16 });
    expect(readFileSync(dest, 'utf8')).toBe('through the pipe');
    await cp('/dev/null', dest, { specials: 'contents' });
    expect(readFileSync(dest, 'utf8')).toBe('');
    await cp('/dev/null', dest, { specials: 'contents', force: false });
    const server = createServer().listen(src);
    await new Promise((listening) => server.on('listening', listening));
    await expect(cp(src, dest, { specials: 'contents' })).rejects.toMatchObject({
      code: 'ENXIO',
      syscall: 'copyfile',
      path: src,
      dest,
    });
    server.close();
  });

  it('keeps set-id bits, leaves them out, or gives them to their owner alone', async ({ skip }) => {
    mkdirSync(src);
    for (const [name, size] of [
      ['short', 5],
      ['long', 300_000],
    ] as const) {
      writeFileSync(join(src, name), Buffer.alloc(size));
      chmodSync(join(src, name), 0o6755);
    }
    const modes = (path: string): string[] =>
      ['short', 'long'].map((name) => (statSync(join(path, name)).mode & 0o7777).toString(8));
    await cp(src, join(dir, 'kept'), recursive);
    await cp(src, join(dir, 'without'), { recursive: true, setIds: false });
    expect([modes(join(dir, 'kept')), modes(join(dir, 'without'))]).toEqual([
      ['6755', '6755'],
      ['755', '755'],
    ]);
    if (process.getuid?.() !== 0) skip('giving files away is for root');
    chownSync(join(src, 'short'), 65_534, 65_534);
    chmodSync(join(src, 'short'), 0o4755);
    // At no time is it root's with these bits.
    const seen: number[] = [];
    await cp(src, dest, {
      recursive: true,
      preserveOwner: true,
      progress: () => {
        const { uid = 1, mode = 0 } = statSync(join(dest, 'short'), { throwIfNoEntry: false }) ?? {};
        if (uid === 0) seen.push(mode & 0o6000);
      },
    });
    expect(new Set(seen)).toEqual(new Set([0]));
    expect([modes(dest), statSync(join(dest, 'short')).uid]).toEqual([['4755', '6755'], 65_534]);
  });

  it('copies extended attributes, if asked, to files that may not be written too', async ({ skip }) => {
    mkdirSync(src);
    writeFileSync(join(src, 'file'), 'x');
    try {
      const { File } = await import('@ouro/fs');
      for (const path of [src, join(src, 'file')]) {
        await using open = await File.open(path);
        await submit(fsetxattr(open, 'user.origin', `of ${path}`));
      }
    } catch (error) {
      skip(`no attributes here: ${String(error)}`);
    }
    chmodSync(join(src, 'file'), 0o444);
    await cp(src, dest, { recursive: true, xattrs: true });
    expect((await submit(getxattr(dest, 'user.origin'))).toString()).toBe(`of ${src}`);
    expect((await submit(getxattr(join(dest, 'file'), 'user.origin'))).toString()).toBe(
      `of ${join(src, 'file')}`,
    );
    expect(statSync(join(dest, 'file')).mode & 0o777).toBe(0o444);
  });

  it('copies a directory of many names, and a deep one', async () => {
    mkdirSync(src);
    for (let i = 0; i < 3000; i++) writeFileSync(join(src, `name ${i}`), '');
    expect(await cp(src, dest, recursive)).toMatchObject({ files: 3000 });
    expect(readdirSync(dest).length).toBe(3000);
    const deep = join(dir, 'deep', ...Array.from({ length: 300 }, () => 'd'));
    mkdirSync(deep, { recursive: true });
    const before = openDescriptors();
    let most = 0;
    const copied = await cp(join(dir, 'deep'), join(dir, 'deeper'), {
      recursive: true,
      progress: () => {
        most = Math.max(most, openDescriptors());
      },
    });
    expect(copied.directories).toBe(301);
    expect(most - before).toBeLessThan(40);
  });

  it('tells how far it is', async () => {
    small();
    const told: Copied[] = [];
    const copied = await cp(src, dest, { recursive: true, progress: (so) => told.push(so) });
    expect(copied).toEqual({ files: 3, directories: 3, links: 1, specials: 0, bytes: 500_006 });
    expect(told.at(-1)).toEqual(copied);
    expect(told.map(({ bytes }) => bytes)).toEqual(told.map(({ bytes }) => bytes).toSorted((a, b) => a - b));
  });

  it('goes on after failures, if somebody is told of them', async () => {
    small();
    fifo(join(src, 'pipe'));
    symlinkSync('circle', join(src, 'circle'));
    const failures: string[] = [];
    const copied = await cp(src, dest, {
      recursive: true,
      dereference: true,
      onError: (error, from) =>
        failures.push(`${(error as NodeJS.ErrnoException).code} ${from.slice(dir.length)}`),
    });
    expect(failures.toSorted()).toEqual(['ELOOP /src/circle', 'ERR_FS_CP_FIFO_PIPE /src/pipe']);
    expect(copied).toMatchObject({ files: 4, directories: 3 });
  });

  it('says with a failure how much has been copied', async () => {
    small();
    fifo(join(src, 'sub', 'deep', 'pipe'));
    const error = await cp(src, dest, { recursive: true, concurrency: 1 }).catch((error) => error);
    expect(error).toMatchObject({ code: 'ERR_FS_CP_FIFO_PIPE', copied: { links: 1 } });
    expect(error.copied.files).toBeGreaterThanOrEqual(2);
  });
});

describe('cp on the way', () => {
  it('leaves nothing open and no half file, cancelled at any moment', async () => {
    randomTree(src, 5, { entries: 60 });
    const whole = tree(src);
    const before = openDescriptors();
    const next = random(11);
    let cancelled = 0;
    for (let i = 0; i < 40; i++) {
      const copying = cp(src, dest, { recursive: true, verbatimSymlinks: true, concurrency: 4 });
      for (let turns = Math.floor(next() * 60); turns > 0; turns--) await submitted();
      copying.cancel('enough');
      const error = await copying.then(
        () => null,
        (error) => error,
      );
      if (error !== null) {
        cancelled++;
        expect(error).toMatchObject({
          name: 'AbortError',
          cause: 'enough',
          copied: { files: expect.any(Number) },
        });
      }
      await submitted();
      expect(openDescriptors()).toBe(before);
      if (existsSync(dest)) {
        for (const [name, facts] of Object.entries(tree(dest))) {
          // (Directories get their permissions at the end.)
          if (!facts.startsWith('40000')) expect([name, facts]).toEqual([name, whole[name]]);
        }
        const files = Object.values(tree(dest)).filter((facts) => facts.startsWith('100000')).length;
        if (error !== null) expect(error.copied.files).toBeLessThanOrEqual(files);
        execFileSync('chmod', ['-R', 'u+rwX', dest]);
        rmSync(dest, { recursive: true });
      }
    }
    expect(cancelled).toBeGreaterThan(0);
    expect(tree(src)).toEqual(whole);
  });

  it('has a timeout and a signal', async () => {
    small();
    await expect(cp(src, dest, { recursive: true, timeout: 0 })).rejects.toMatchObject({
      message: `ETIMEDOUT: the operation timed out after 0 ms, cp '${src}' -> '${dest}'`,
      code: 'ETIMEDOUT',
      syscall: 'cp',
      path: src,
      dest,
      copied: expect.objectContaining({ links: expect.any(Number) }),
    });
    const aborted = AbortSignal.abort('no');
    await expect(cp(src, dest, { recursive: true, signal: aborted })).rejects.toMatchObject({ cause: 'no' });
  });

  it('fails with EMFILE where there are no descriptors left, and leaves none open', async () => {
    mkdirSync(src);
    for (let i = 0; i < 40; i++) writeFileSync(join(src, `f${i}`), Buffer.alloc(200_000, i));
    const program = `
      import { cp } from '@ouro/fs';
      import { openSync, closeSync, readdirSync, readlinkSync } from 'node:fs';
      const [src, dest] = process.argv.slice(1);
      const open = () => {
        const names = readdirSync('/proc/self/fd').map((fd) => {
          try { return readlinkSync('/proc/self/fd/' + fd); } catch { return ''; } // that of the list
        });
        return names.filter((name) => name.startsWith(src) || name.startsWith(dest)).length;
      };
      await cp(src + '/f0', dest + '-first'); // sets everything up
      const held = [];
      try { for (;;) held.push(openSync('/dev/null')); } catch {}
      for (const fd of held.splice(0, 3)) closeSync(fd);
      const code = await cp(src, dest, { recursive: true, concurrency: 16 }).then(() => 'copied', (error) => error.code);
      for (const fd of held.splice(0, 20)) closeSync(fd);
      console.log(code, open());
      await cp(src, dest, { recursive: true, concurrency: 2 });
      console.log(readdirSync(dest).length, open());`;
    const { stdout, stderr } = await runProgram(program, {
      under: ['prlimit', '--nofile=100'],
      args: [src, dest],
    });
    expect(stderr).toBe('');
    expect(stdout).toBe('EMFILE 0\n40 0\n');
  });

  it('leaves nothing open when its thread is terminated', { timeout: 90_000 }, async () => {
    randomTree(src, 3, { entries: 300 });
    const before = tree(src);
    const program = `
      import { Worker } from 'node:worker_threads';
      import { readdirSync, readlinkSync, rmSync } from 'node:fs';
      const [src, dest] = process.argv.slice(1);
      const code = \`
        import { parentPort } from 'node:worker_threads';
        import { cp } from '@ouro/fs';
        const options = { recursive: true, verbatimSymlinks: true, progress: () => parentPort.postMessage('more') };
        await cp(...process.argv.slice(-2), options);\`;
      for (let i = 0; i < 12; i++) {
        const worker = new Worker(code, { eval: true, argv: [src, dest + i] });
        let left = 1 + i * 20;
        await new Promise((enough) => worker.on('message', () => --left === 0 && enough()));
        await worker.terminate();
      }
      const names = readdirSync('/proc/self/fd').map((fd) => {
        try { return readlinkSync('/proc/self/fd/' + fd); } catch { return ''; } // that of the list
      });
      console.log(names.filter((name) => name.startsWith(src) || name.startsWith(dest)).length);`;
    const { stdout, stderr, code } = await runProgram(program, { args: [src, dest], limitMs: 60_000 });
    expect({ stdout, stderr, code }).toEqual({ stdout: '0\n', stderr: '', code: 0 });
    expect(tree(src)).toEqual(before);
  });

  it('fails with ENOSPC where there is no room, and leaves no half file', async ({ skip }) => {
    const mount = join(root, 'small');
    mkdirSync(mount, { recursive: true });
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', mount], { stdio: 'pipe' });
    } catch {
      skip('mounting a tmpfs is not permitted here');
    }
    try {
      mkdirSync(src);
      for (let i = 0; i < 20; i++) writeFileSync(join(src, `f${i}`), Buffer.alloc(100_000, i));
      const error = await failure(cp(src, join(mount, 'copy'), recursive));
      expect(error).toMatchObject({ code: 'ENOSPC', syscall: 'copyfile' });
      const there = readdirSync(join(mount, 'copy'));
      expect(there.length).toBeLessThan(11);
      for (const name of there) {
        expect(readFileSync(join(mount, 'copy', name)).equals(readFileSync(join(src, name)))).toBe(true);
      }
      execFileSync('mount', ['-o', 'remount,ro', mount], { stdio: 'pipe' });
      expect((await failure(cp(src, join(mount, 'more'), recursive))).code).toBe('EROFS');
    } finally {
      execFileSync('umount', [mount]);
    }
  });

  it('copies holes as holes', async () => {
    mkdirSync(src);
    sparseFile(join(src, 'a'), 5 << 20, { 70000: 'x' });
    await cp(src, dest, recursive);
    expect(statSync(join(dest, 'a')).blocks).toBeLessThanOrEqual(statSync(join(src, 'a')).blocks);
  });
});
