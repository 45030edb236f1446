/**
 * What the kernel has in memory of a path is told at once, by no thread: shown by taking all threads of libuv's pool away.
 */
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { access, Dir, exists, File, lstat, readlink, realpath, stat } from '@ouro/fs';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { failure, fifo, temporaryDirectory } from './support.ts';

const dir = temporaryDirectory();
const at = (name: string): string => join(dir, name);
writeFileSync(at('file'), 'content');
mkdirSync(at('sub'));
writeFileSync(at('sub/inner'), '');
symlinkSync('file', at('link'));
symlinkSync('nowhere', at('dangling'));
symlinkSync('loop', at('loop'));
symlinkSync('x'.repeat(300), at('far'));

/** Whether this kernel tells what is in memory, and which mount it is: of one without a device since Linux 6.8. */
const [major = 0, minor = 0] = release().split('.').map(Number);
const since = statSync(dir).dev >= 256 ? [5, 12] : [6, 8];
const tells = major > since[0] || (major === since[0] && minor >= since[1]);

/** A program that asks twice: the second time nobody of the pool is left to do anything. */
const withoutThreads = (pipe: string): string => `
  import { access, chmod, Dir, exists, File, lstat, readlink, realpath, stat } from '@ouro/fs';
  import { closeSync, constants, open, openSync } from 'node:fs';
  const path = ${JSON.stringify(dir)};
  const file = await File.open(path + "/file");
  const sub = await Dir.open(path + "/sub");
  const ask = () => Promise.all([
    stat(path + '/file'), stat(path + '/link'), lstat(path + '/link'), file.stat(), sub.stat('inner'),
    access(path + '/sub'), exists(path + '/sub/nothing'), readlink(path + '/link'), realpath(path + '/link'),
    stat(path + '/sub/nothing').catch((error) => error.code), lstat(path + '/dangling'), sub.stat('../file'),
  ]);
  await ask();
  // Each waits for a writer.
  for (let i = 0; i < 4; i++) open(${JSON.stringify(pipe)}, 'r', (error, fd) => closeSync(fd));
  console.log(JSON.stringify((await ask()).map((result) => result?.ino ?? result)));
  const late = chmod(path + '/file', 0o640);
  console.log(await Promise.race([late, new Promise((done) => setTimeout(done, 100, 'nobody'))]));
  const writer = openSync(${JSON.stringify(pipe)}, constants.O_RDWR | constants.O_NONBLOCK);
  await late;
  closeSync(writer);
  await file.close();
  await sub.close();`;

describe('what is in memory', () => {
  it.skipIf(!tells)('is told while no thread has time for it', async () => {
    const source = withoutThreads(fifo(at('pipe')));
    const { code, stdout, stderr } = await runProgram(source);
    const inode = statSync(at('file')).ino;
    const told = [
      ...[inode, inode, lstatSync(at('link')).ino, inode, statSync(at('sub/inner')).ino],
      ...[null, false, 'file', at('file'), 'ENOENT', lstatSync(at('dangling')).ino, inode],
    ];
    expect({ code, stderr, lines: stdout.trim().split('\n') }).toEqual({
      code: 0,
      stderr: '',
      lines: [JSON.stringify(told), 'nobody'],
    });
  });

  it('is what is true at that moment', async () => {
    const path = at('changing');
    await stat(dir);
    for (let round = 0; round < 100; round++) {
      writeFileSync(path, 'x'.repeat(round));
      chmodSync(path, 0o600 + (round % 8));
      const { size, mode } = await stat(path);
      expect([size, mode & 0o777]).toEqual([round, 0o600 + (round % 8)]);
      renameSync(path, at('moved'));
      expect(await exists(path)).toBe(false);
      expect(await realpath(at('moved'))).toBe(realpathSync(at('moved')));
      rmSync(at('moved'));
      expect(await failure(lstat(at('moved')))).toMatchObject({
        code: 'ENOENT',
        syscall: 'lstat',
        path: at('moved'),
      });
    }
  });

  it('has the errors that a thread has', async () => {
    await stat(at('file'));
    const cases = [
      [() => stat(at('nothing')), 'ENOENT', 'stat'],
      [() => lstat(at('file/')), 'ENOTDIR', 'lstat'],
      [() => stat(at('file/below')), 'ENOTDIR', 'stat'],
      [() => stat(at('loop')), 'ELOOP', 'stat'],
      [() => stat(at('dangling')), 'ENOENT', 'stat'],
      [() => stat(at('y'.repeat(256))), 'ENAMETOOLONG', 'stat'],
      [() => stat(''), 'ENOENT', 'stat'],
      [() => readlink(at('file')), 'EINVAL', 'readlink'],
      [() => readlink(at('nothing')), 'ENOENT', 'readlink'],
      [() => realpath(at('dangling')), 'ENOENT', 'realpath'],
      [() => realpath(at('loop')), 'ELOOP', 'realpath'],
      [() => access(at('file/')), 'ENOTDIR', 'access'],
    ] as const;
    for (const [call, code, syscall] of cases) {
      // The first may be asked for in a thread, the second finds the name in memory.
      for (let time = 0; time < 2; time++) expect(await failure(call())).toMatchObject({ code, syscall });
    }
  });

  it('is all that there is of long links, of files that are open, of directories that were removed', async () => {
    expect(await readlink(at('far'))).toBe('x'.repeat(300));
    mkdirSync(at('gone'));
    await using gone = await Dir.open(at('gone'));
    writeFileSync(at('gone/file'), 'abc');
    await using file = await File.open(at('gone/file'));
    rmSync(at('gone'), { recursive: true });
    expect(await file.stat()).toMatchObject({ size: 3, nlink: 0 });
    expect(await failure(gone.stat('file'))).toMatchObject({ code: 'ENOENT' });
    expect((await gone.stat('.')).isDirectory()).toBe(true);
  });

  it('is not asked of what is made while one looks', async () => {
    expect((await stat('/proc/self/status')).isFile()).toBe(true);
    expect(await realpath('/proc/self')).toBe(`/proc/${process.pid}`);
    expect(await readlink('/proc/self')).toBe(`${process.pid}`);
    expect((await stat('/dev/null')).isCharacterDevice()).toBe(true);
    expect((await stat('/sys/kernel')).isDirectory()).toBe(true);
  });
});
