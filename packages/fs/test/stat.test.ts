import { execFileSync } from 'node:child_process';
import {
  constants,
  linkSync,
  mkdirSync,
  type Stats as NodeStats,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { File, type OpenFlags, type Stats } from '@ouro/fs';
import { describe, expect, it } from 'vitest';
import { fifo, temporaryDirectory } from './support.ts';

const dir = temporaryDirectory();

const values = [
  ...(['dev', 'ino', 'mode', 'nlink', 'uid', 'gid', 'rdev', 'size', 'blksize', 'blocks'] as const),
  ...(['atimeMs', 'mtimeMs', 'ctimeMs', 'birthtimeMs', 'atime', 'mtime', 'ctime', 'birthtime'] as const),
];
const questions = [
  ...(['isFile', 'isDirectory', 'isSymbolicLink', 'isFIFO', 'isSocket'] as const),
  ...(['isCharacterDevice', 'isBlockDevice'] as const),
];

/** All that Node's `Stats` have, of Node's or of ours. */
function contents(stats: Stats | NodeStats): Record<string, unknown> {
  const asked: Record<string, unknown> = {};
  for (const value of values) asked[value] = stats[value];
  for (const question of questions) asked[question] = stats[question]();
  return asked;
}

async function statOf(path: string, flags: OpenFlags | number = 'r'): Promise<Stats> {
  await using file = await File.open(path, flags);
  return await file.stat();
}

describe('stat is equal to that of node:fs, field by field, for', () => {
  const made = (name: string, make: (path: string) => void): string => {
    const path = join(dir, name);
    make(path);
    return path;
  };
  const cases: readonly (readonly [string, () => string, OpenFlags | number])[] = [
    ['a file', () => made('file', (path) => writeFileSync(path, 'content')), 'r'],
    ['an empty file', () => made('empty', (path) => writeFileSync(path, '', { mode: 0o4711 })), 'r'],
    [
      'a file of two names',
      () =>
        made('name', (path) => {
          writeFileSync(path, 'x');
          linkSync(path, `${path}-2`);
        }),
      'r',
    ],
    ['a directory', () => made('directory', (path) => mkdirSync(path)), 'r'],
    ['the root', () => '/', 'r'],
    ['what a symbolic link points to', () => made('link', (path) => symlinkSync('/etc/passwd', path)), 'r'],
    ['a pipe', () => made('fifo', (path) => fifo(path)), 'r+'],
    ['/dev/null', () => '/dev/null', 'r'],
    ['a terminal', () => '/dev/ptmx', 'r'],
    ['/proc/cpuinfo', () => '/proc/cpuinfo', 'r'],
    ['a huge sparse file', () => made('huge', (path) => sparse(path, 2 ** 43)), 'r'],
    ['times in fractions', () => made('times', (path) => touch(path, '2001-02-03 04:05:06.9996')), 'r'],
    ['times before 1970', () => made('old', (path) => touch(path, '1950-02-03 04:05:06.123456789')), 'r'],
    [
      'times beyond 32 bits',
      () => made('future', (path) => touch(path, '2400-02-03 04:05:06.987654321')),
      'r',
    ],
    [
      'a file that is only looked at (O_PATH)',
      () => made('path', (path) => writeFileSync(path, 'x')),
      0o10000000,
    ],
    [
      'a symbolic link itself (O_PATH | O_NOFOLLOW)',
      () => made('link-itself', (path) => symlinkSync('/nowhere', path)),
      0o10000000 | constants.O_NOFOLLOW,
    ],
  ];
  it.each(cases)('%s', async (name, make, flags) => {
    const path = make();
    const ours = await statOf(path, flags);
    const theirs = statSync(path, { throwIfNoEntry: false });
    if (name.startsWith('a symbolic link')) expect([ours.isSymbolicLink(), ours.size]).toEqual([true, 8]);
    else expect(contents(ours)).toEqual(contents(theirs as NodeStats));
  });
});

function sparse(path: string, size: number): void {
  writeFileSync(path, '');
  truncateSync(path, size);
}

function touch(path: string, date: string): void {
  execFileSync('touch', ['-d', date, path]);
}

describe('stat', () => {
  it('of many files at once mixes nothing up', async () => {
    const paths = Array.from({ length: 300 }, (_, i) => join(dir, `many-${i}`));
    paths.forEach((path, i) => {
      writeFileSync(path, Buffer.alloc(i));
    });
    const stats = await Promise.all(paths.map((path) => statOf(path)));
    expect(stats.map(({ size }) => size)).toEqual(paths.map((_, i) => i));
  });

  it('sees what was written before', async () => {
    await using file = await File.create(join(dir, 'growing'));
    await file.write('12345');
    expect((await file.stat()).size).toBe(5);
    await file.truncate(1000);
    expect((await file.stat()).size).toBe(1000);
  });
});
