import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { File } from '@ouro/fs';
import * as ops from '@ouro/fs/ops';
import { type Op, submit } from '@ouro/runtime';
import { close } from '@ouro/runtime/driver';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failure, submitted, temporaryDirectory, thrown } from './support.ts';

// The ops of our own, one by one: what each does, seen from outside, and how it fails.

const root = temporaryDirectory();
const dir = join(root, 'dir');
const path = join(dir, 'file');
const link = join(dir, 'link');
const none = join(dir, 'none');
const AS_ROOT = process.getuid?.() === 0;

let fd = -1;
let dirfd = -1;
beforeEach(() => {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir);
  writeFileSync(path, 'content');
  symlinkSync('file', link);
  fd = openSync(path, 'r+');
  dirfd = openSync(dir, 'r');
});
afterEach(() => {
  closeSync(fd);
  closeSync(dirfd);
});

const NO_FD = 999_999;
const failed = (op: Op<unknown>) => failure(submit(op));

/** Records of `struct linux_dirent64`. */
function records(bytes: Buffer): { readonly name: string; readonly type: number; readonly ino: bigint }[] {
  const all = [];
  for (let at = 0; at < bytes.length; at += bytes.readUInt16LE(at + 16)) {
    const name = bytes.subarray(at + 19, bytes.indexOf(0, at + 19)).toString();
    all.push({ name, type: bytes[at + 18], ino: bytes.readBigUInt64LE(at) });
  }
  return all;
}

describe('getdents', () => {
  it('gives the names in a directory, with types, until there are no more', async () => {
    const buffer = Buffer.alloc(1000);
    const count = await submit(ops.getdents(dirfd, buffer));
    const found = records(buffer.subarray(0, count));
    expect(found.map(({ name }) => name).sort()).toEqual(['.', '..', 'file', 'link']);
    const file = found.find(({ name }) => name === 'file');
    expect(file).toMatchObject({ type: 8, ino: statSync(path, { bigint: true }).ino });
    expect(await submit(ops.getdents(dirfd, buffer))).toBe(0);
  });

  it('goes on where it has ended when the buffer is small', async () => {
    const names: string[] = [];
    for (;;) {
      const buffer = Buffer.alloc(30);
      const count = await submit(ops.getdents(dirfd, buffer));
      if (count === 0) break;
      names.push(...records(buffer.subarray(0, count)).map(({ name }) => name));
    }
    expect(names.sort()).toEqual(['.', '..', 'file', 'link']);
  });

  it('fills memory that may be resized or detached meanwhile', async () => {
    const Resizable = ArrayBuffer as unknown as new (length: number, options: object) => ArrayBuffer;
    const view = new Uint8Array(new Resizable(1000, { maxByteLength: 2000 }));
    const count = await submit(ops.getdents(dirfd, view));
    expect(records(Buffer.from(view.subarray(0, count)))).toHaveLength(4);
    const detached = new Uint8Array(1000);
    const future = submit(ops.getdents(dirfd, detached));
    try {
      structuredClone(detached.buffer, { transfer: [detached.buffer] });
    } catch {
      // Node 22 and later: the buffer is the op's
    }
    expect(await future).toBe(0);
  });

  it('fails with ENOTDIR, EBADF, EINVAL for too small a buffer, ENOENT in a removed directory', async () => {
    expect(await failed(ops.getdents(fd, Buffer.alloc(100)))).toMatchObject({
      code: 'ENOTDIR',
      syscall: 'scandir',
    });
    expect((await failed(ops.getdents(NO_FD, Buffer.alloc(100)))).code).toBe('EBADF');
    expect((await failed(ops.getdents(dirfd, Buffer.alloc(1)))).code).toBe('EINVAL');
    mkdirSync(join(dir, 'gone'));
    const gone = openSync(join(dir, 'gone'), 'r');
    rmSync(join(dir, 'gone'), { recursive: true });
    expect((await failed(ops.getdents(gone, Buffer.alloc(100)))).code).toBe('ENOENT');
    closeSync(gone);
  });
});

describe('readlinkat and realpathat', () => {
  it('give what a link says, and where it leads', async () => {
    expect(String(await submit(ops.readlinkat(link)))).toBe('file');
    expect(String(await submit(ops.realpathat(`${dir}//./link`)))).toBe(realpathSync(path));
  });

  it('begin at an open directory, whatever its name is by now', async () => {
    renameSync(dir, `${dir}2`);
    try {
      expect(String(await submit(ops.readlinkat('link', { dirfd })))).toBe('file');
      expect(String(await submit(ops.realpathat('link', { dirfd })))).toBe(realpathSync(`${dir}2/file`));
      expect(String(await submit(ops.realpathat('/', { dirfd })))).toBe('/');
    } finally {
      renameSync(`${dir}2`, dir);
    }
  });

  it('give names that are not UTF-8, and links of 4095 bytes', async () => {
    const name = Buffer.from([0xff, 0xfe, 0x41]);
    const odd = Buffer.concat([Buffer.from(`${dir}/`), name]);
    writeFileSync(odd, '');
    expect((await submit(ops.realpathat(odd))).subarray(-3)).toEqual(name);
    const says = 'x/'.repeat(2048).slice(0, 4095);
    symlinkSync(says, join(dir, 'long'));
    expect(String(await submit(ops.readlinkat(join(dir, 'long'))))).toBe(says);
  });

  it('fail with EINVAL for what is no link, ENOENT, ELOOP, ENAMETOOLONG', async () => {
    expect(await failed(ops.readlinkat(path))).toMatchObject({ code: 'EINVAL', syscall: 'readlink', path });
    expect(await failed(ops.realpathat(none))).toMatchObject({
      code: 'ENOENT',
      syscall: 'realpath',
      path: none,
    });
    expect((await failed(ops.realpathat('none', { dirfd }))).code).toBe('ENOENT');
    symlinkSync('loop', join(dir, 'loop'));
    expect((await failed(ops.realpathat(join(dir, 'loop')))).code).toBe('ELOOP');
    expect((await failed(ops.readlinkat('x'.repeat(5000)))).code).toBe('ENAMETOOLONG');
    expect((await failed(ops.readlinkat('link', { dirfd: NO_FD }))).code).toBe('EBADF');
  });
});

describe('fchmodat and fchmod', () => {
  it('set permission bits, of an open file and from an open directory too', async () => {
    const mode = (): number => statSync(path).mode & 0o7777;
    await submit(ops.fchmodat(path, 0o4751));
    expect(mode()).toBe(0o4751);
    await submit(ops.fchmodat('file', '640', { dirfd }));
    expect(mode()).toBe(0o640);
    await submit(ops.fchmod(fd, 0o600));
    expect(mode()).toBe(0o600);
  });

  it('fail with ENOENT, EBADF, and ENOTSUP for a link itself', async () => {
    expect(await failed(ops.fchmodat(none, 0))).toMatchObject({
      code: 'ENOENT',
      syscall: 'chmod',
      path: none,
    });
    expect(await failed(ops.fchmod(NO_FD, 0))).toMatchObject({ code: 'EBADF', syscall: 'fchmod' });
    expect((await failed(ops.fchmodat(link, 0, { flags: ops.AT_SYMLINK_NOFOLLOW }))).code).toBe('ENOTSUP');
    expect(thrown(() => ops.fchmodat(path, 'rwx')).code).toBe('ERR_INVALID_ARG_VALUE');
  });
});

describe.runIf(AS_ROOT)('fchownat and fchown', () => {
  it('set owner and group, -1 leaving what is there', async () => {
    const owner = (file = path): readonly [number, number] => {
      const { uid, gid } = lstatSync(file);
      return [uid, gid];
    };
    await submit(ops.fchownat(path, 1, 2));
    expect(owner()).toEqual([1, 2]);
    await submit(ops.fchownat('file', -1, 3, { dirfd }));
    expect(owner()).toEqual([1, 3]);
    await submit(ops.fchown(fd, 4_000_000_000, -1));
    expect(owner()).toEqual([4_000_000_000, 3]);
    await submit(ops.fchownat(link, 7, 8, { flags: ops.AT_SYMLINK_NOFOLLOW }));
    expect([owner(link), owner()]).toEqual([
      [7, 8],
      [4_000_000_000, 3],
    ]);
  });

  it('fail with ENOENT and EBADF, called as Node calls them', async () => {
    expect(await failed(ops.fchownat(none, 0, 0))).toMatchObject({ code: 'ENOENT', syscall: 'chown' });
    const flags = ops.AT_SYMLINK_NOFOLLOW;
    expect(await failed(ops.fchownat(none, 0, 0, { flags }))).toMatchObject({
      syscall: 'lchown',
      path: none,
    });
    expect(await failed(ops.fchown(NO_FD, 0, 0))).toMatchObject({ code: 'EBADF', syscall: 'fchown' });
    expect(thrown(() => ops.fchown(fd, -2, 0))).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
  });
});

describe('utimensat and futimens', () => {
  const times = (file = path): readonly [bigint, bigint] => {
    const { atimeNs, mtimeNs } = lstatSync(file, { bigint: true });
    return [atimeNs, mtimeNs];
  };

  it('set both times: to seconds, dates, nanoseconds, before 1970 too', async () => {
    await submit(ops.utimensat(path, 1.5, new Date(1_700_000_000_123)));
    expect(times()).toEqual([1_500_000_000n, 1_700_000_000_123_000_000n]);
    await submit(ops.futimens(fd, 1_700_000_000_123_456_789n, -1_500_000_001n));
    expect(times()).toEqual([1_700_000_000_123_456_789n, -1_500_000_001n]);
    await submit(ops.utimensat('file', '12.25', new Date(-1), { dirfd }));
    expect(times()).toEqual([12_250_000_000n, -1_000_000n]);
  });

  it('set one of them, or to the present', async () => {
    await submit(ops.utimensat(path, 1, 2));
    await submit(ops.utimensat(path, null, 3));
    expect(times()).toEqual([1_000_000_000n, 3_000_000_000n]);
    await submit(ops.utimensat(path, 'now', null));
    expect(times()[0]).toBeGreaterThan(1_000_000_000_000_000_000n);
    await submit(ops.futimens(fd, 5, -1));
    expect(times()[1]).toBeGreaterThan(1_000_000_000_000_000_000n);
  });

  it('set those of a link itself', async () => {
    await submit(ops.utimensat(path, 1, 1));
    await submit(ops.utimensat(link, 2, 3, { flags: ops.AT_SYMLINK_NOFOLLOW }));
    expect([times(link), times()]).toEqual([
      [2_000_000_000n, 3_000_000_000n],
      [1_000_000_000n, 1_000_000_000n],
    ]);
  });

  it('fail with ENOENT and EBADF; what is no time is refused', async () => {
    expect(await failed(ops.utimensat(none, 1, 1))).toMatchObject({ code: 'ENOENT', syscall: 'utime' });
    const flags = ops.AT_SYMLINK_NOFOLLOW;
    expect(await failed(ops.utimensat(none, 1, 1, { flags }))).toMatchObject({ syscall: 'lutime' });
    expect(await failed(ops.futimens(NO_FD, 1, 1))).toMatchObject({ code: 'EBADF', syscall: 'futime' });
    for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, 'soon', '', new Date(Number.NaN), {}]) {
      expect(thrown(() => ops.utimensat(path, 1, wrong as number))).toMatchObject({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_TYPE',
        message: expect.stringContaining('"mtime"'),
      });
    }
  });
});

describe('faccessat', () => {
  it('says whether a file may be read, written, executed', async () => {
    await submit(ops.faccessat(path));
    await submit(ops.faccessat('link', constants.R_OK | constants.W_OK, { dirfd }));
    chmodSync(path, 0o600);
    expect(await failed(ops.faccessat(path, constants.X_OK))).toMatchObject({
      code: 'EACCES',
      syscall: 'access',
      path,
    });
    expect((await failed(ops.faccessat(none))).code).toBe('ENOENT');
    unlinkSync(path);
    expect((await failed(ops.faccessat(link))).code).toBe('ENOENT');
    await submit(ops.faccessat(link, 0, { flags: ops.AT_SYMLINK_NOFOLLOW }));
    expect(thrown(() => ops.faccessat(path, 8)).code).toBe('ERR_OUT_OF_RANGE');
  });
});

describe('attributes', () => {
  it('are listed and removed, of paths and open files', async () => {
    for (const name of ['user.a', 'user.b', 'user.c']) await submit(ops.setxattr(path, name, name));
    expect((await submit(ops.listxattr(path))).sort()).toEqual(['user.a', 'user.b', 'user.c']);
    await submit(ops.removexattr(path, 'user.a'));
    await submit(ops.fremovexattr(fd, 'user.b'));
    expect(await submit(ops.flistxattr(fd))).toEqual(['user.c']);
    const seen = execFileSync('python3', ['-c', `import os;print(os.listxattr(${JSON.stringify(path)}))`]);
    expect(String(seen).trim()).toBe("['user.c']");
  });

  it.runIf(AS_ROOT)('of a link itself are set, read, listed and removed', async () => {
    await submit(ops.lsetxattr(link, 'trusted.a', 'of the link'));
    expect(String(await submit(ops.lgetxattr(link, 'trusted.a')))).toBe('of the link');
    const buffer = Buffer.alloc(20);
    expect(await submit(ops.lgetxattr(link, 'trusted.a', buffer))).toBe(11);
    expect(String(buffer.subarray(0, 11))).toBe('of the link');
    expect(await submit(ops.llistxattr(link))).toEqual(['trusted.a']);
    expect(await submit(ops.listxattr(link))).toEqual([]);
    await submit(ops.lremovexattr(link, 'trusted.a'));
    expect(await submit(ops.llistxattr(link))).toEqual([]);
  });

  it('fail with ENODATA, ENOENT, EBADF, EPERM', async () => {
    expect(await failed(ops.removexattr(path, 'user.x'))).toMatchObject({
      code: 'ENODATA',
      syscall: 'removexattr',
      path,
    });
    expect(await failed(ops.fremovexattr(NO_FD, 'user.x'))).toMatchObject({ code: 'EBADF', path: undefined });
    expect(await failed(ops.lremovexattr(none, 'user.x'))).toMatchObject({
      code: 'ENOENT',
      syscall: 'lremovexattr',
    });
    expect(await failed(ops.listxattr(none))).toMatchObject({ code: 'ENOENT', syscall: 'listxattr' });
    expect(await failed(ops.llistxattr(none))).toMatchObject({ code: 'ENOENT', syscall: 'llistxattr' });
    expect(await failed(ops.flistxattr(NO_FD))).toMatchObject({ code: 'EBADF', syscall: 'flistxattr' });
    expect(await failed(ops.lgetxattr(path, 'user.x'))).toMatchObject({
      code: 'ENODATA',
      syscall: 'lgetxattr',
    });
    expect(await failed(ops.lsetxattr(link, 'user.x', ''))).toMatchObject({
      code: 'EPERM',
      syscall: 'lsetxattr',
    });
  });
});

describe('copyFileRange', () => {
  it('copies a stretch, at positions or at the current ones', async () => {
    const to = openSync(join(dir, 'copy'), 'w+');
    expect(await submit(ops.copyFileRange(fd, 3, to, 2, 100))).toBe(4);
    expect(readFileSync(join(dir, 'copy'), 'latin1')).toBe('\0\0tent');
    expect(await submit(ops.copyFileRange(fd, null, to, null, 2))).toBe(2);
    expect(await submit(ops.copyFileRange(fd, null, to, null, 100))).toBe(5);
    expect(await submit(ops.copyFileRange(fd, null, to, null, 100))).toBe(0);
    expect(readFileSync(join(dir, 'copy'), 'utf8')).toBe('content');
    closeSync(to);
  });

  it('copies beyond 4 GiB', async () => {
    const at = 5 * 2 ** 30;
    writeSync(fd, 'far', at);
    await using to = await File.open(join(dir, 'copy'), 'w+');
    await using from = await File.open(path);
    expect(await submit(ops.copyFileRange(from, at, to, at, 100))).toBe(3);
    expect(statSync(join(dir, 'copy')).size).toBe(at + 3);
  });

  it('fails with EBADF, EINVAL, EISDIR', async () => {
    const reading = openSync(path, 'r');
    expect(await failed(ops.copyFileRange(fd, 0, reading, 0, 1))).toMatchObject({
      code: 'EBADF',
      syscall: 'copy_file_range',
    });
    expect((await failed(ops.copyFileRange(fd, 0, fd, 1, 5))).code).toBe('EINVAL');
    expect((await failed(ops.copyFileRange(NO_FD, 0, fd, 1, 5))).code).toBe('EBADF');
    expect((await failed(ops.copyFileRange(dirfd, 0, fd, 1, 5))).code).toBe('EISDIR');
    closeSync(reading);
  });
});

describe('ficlone', () => {
  it('shares the data of a file, or fails where the file system cannot', async () => {
    const to = openSync(join(dir, 'clone'), 'w+');
    const error = await submit(ops.ficlone(fd, to)).then(
      () => null,
      (error: unknown) => error,
    );
    if (error === null) expect(readFileSync(join(dir, 'clone'), 'utf8')).toBe('content');
    else
      expect(error).toMatchObject({ code: expect.stringMatching(/^(ENOTSUP|EINVAL)$/), syscall: 'ficlone' });
    closeSync(to);
    expect((await failed(ops.ficlone(NO_FD, fd))).code).toBe('EBADF');
  });
});

describe('flock', () => {
  it('takes a lock that others see, and gives it back', async () => {
    const held = (): boolean => {
      try {
        execFileSync('flock', ['-n', path, 'true']);
        return false;
      } catch {
        return true;
      }
    };
    await submit(ops.flock(fd, ops.LOCK_EX));
    expect(held()).toBe(true);
    await submit(ops.flock(fd, ops.LOCK_UN));
    expect(held()).toBe(false);
  });

  it('waits until the lock is free; those who share it do not wait for each other', async () => {
    const other = openSync(path, 'r');
    await submit(ops.flock(fd, ops.LOCK_EX));
    const order: string[] = [];
    const waiting = submit(ops.flock(other, ops.LOCK_SH)).then(() => order.push('taken'));
    await submit(ops.faccessat(path));
    order.push('given back');
    await submit(ops.flock(fd, ops.LOCK_SH));
    await waiting;
    expect(order).toEqual(['given back', 'taken']);
    closeSync(other);
  });

  it('fails with EAGAIN where it may not wait, EBADF, EINVAL', async () => {
    const other = openSync(path, 'r');
    await submit(ops.flock(fd, ops.LOCK_EX));
    expect(await failed(ops.flock(other, ops.LOCK_SH | ops.LOCK_NB))).toMatchObject({
      code: 'EAGAIN',
      syscall: 'flock',
    });
    expect((await failed(ops.flock(NO_FD, ops.LOCK_SH))).code).toBe('EBADF');
    expect((await failed(ops.flock(other, 0))).code).toBe('EINVAL');
    closeSync(other);
  });

  it('that waits can be cancelled, timed out, and ends with its file', async () => {
    await submit(ops.flock(fd, ops.LOCK_EX));
    await using other = await File.open(path);
    const first = submit(ops.flock(other, ops.LOCK_EX));
    await submit(ops.faccessat(path));
    first.cancel();
    expect((await failure(first)).name).toBe('AbortError');
    const timed = submit(ops.flock(other, ops.LOCK_EX), { timeout: 3 });
    expect((await failure(timed)).code).toBe('ETIMEDOUT');
    const third = failure(submit(ops.flock(other, ops.LOCK_EX)));
    await submit(ops.faccessat(path));
    await other.close();
    expect((await third).code).toBe('ECANCELED');
    await submit(ops.flock(fd, ops.LOCK_UN));
    const free = openSync(path, 'r');
    await submit(ops.flock(free, ops.LOCK_EX | ops.LOCK_NB));
    closeSync(free);
  });
});

describe('lseek', () => {
  it('moves the current position, and says where it is', async () => {
    expect(await submit(ops.lseek(fd, 3, ops.SEEK_SET))).toBe(3);
    expect(await submit(ops.lseek(fd, -1, ops.SEEK_CUR))).toBe(2);
    expect(await submit(ops.lseek(fd, -2, ops.SEEK_END))).toBe(5);
    const buffer = Buffer.alloc(9);
    expect(await submit(ops.read(fd, buffer))).toBe(2);
  });

  it('finds data and holes, beyond 4 GiB too', async () => {
    const far = 5 * 2 ** 30;
    writeSync(fd, 'far', far);
    ftruncateSync(fd, 2 * far);
    expect(await submit(ops.lseek(fd, 0, ops.SEEK_DATA))).toBe(0);
    const hole = await submit(ops.lseek(fd, 0, ops.SEEK_HOLE));
    expect(hole).toBeLessThan(far);
    expect(await submit(ops.lseek(fd, hole, ops.SEEK_DATA))).toBe(far);
    expect(await submit(ops.lseek(fd, 0, ops.SEEK_END))).toBe(2 * far);
  });

  it('fails with ENXIO behind all data, ESPIPE, EINVAL, EBADF', async () => {
    expect(await failed(ops.lseek(fd, 100, ops.SEEK_DATA))).toMatchObject({
      code: 'ENXIO',
      syscall: 'lseek',
    });
    expect((await failed(ops.lseek(fd, -100, ops.SEEK_CUR))).code).toBe('EINVAL');
    expect((await failed(ops.lseek(NO_FD, 0, 0))).code).toBe('EBADF');
    await submit(ops.mkfifoat(join(dir, 'pipe')));
    await using pipe = await File.open(join(dir, 'pipe'), 'r+');
    expect((await failed(ops.lseek(pipe, 0, 0))).code).toBe('ESPIPE');
    expect(thrown(() => ops.lseek(fd, 0, 5)).code).toBe('ERR_OUT_OF_RANGE');
  });
});

describe('mknodat and mkfifoat', () => {
  it('make named pipes, files and sockets', async () => {
    await submit(ops.mkfifoat(join(dir, 'pipe'), '640'));
    expect(statSync(join(dir, 'pipe')).isFIFO()).toBe(true);
    expect(statSync(join(dir, 'pipe')).mode & 0o777).toBe(0o640);
    await submit(ops.mknodat('plain', 0o600, 0, { dirfd }));
    expect(statSync(join(dir, 'plain')).isFile()).toBe(true);
    await submit(ops.mknodat(join(dir, 'socket'), constants.S_IFSOCK | 0o600));
    expect(statSync(join(dir, 'socket')).isSocket()).toBe(true);
  });

  it.runIf(AS_ROOT)('make devices', async () => {
    const { rdev } = statSync('/dev/null');
    await submit(ops.mknodat(join(dir, 'null'), constants.S_IFCHR | 0o600, rdev));
    expect(statSync(join(dir, 'null')).rdev).toBe(rdev);
  });

  it('fail with EEXIST, ENOENT, EPERM for directories', async () => {
    expect(await failed(ops.mkfifoat(path))).toMatchObject({ code: 'EEXIST', syscall: 'mkfifo', path });
    expect(await failed(ops.mknodat(`${none}/x`, 0))).toMatchObject({ code: 'ENOENT', syscall: 'mknod' });
    expect((await failed(ops.mknodat(none, constants.S_IFDIR))).code).toBe('EPERM');
    expect(existsSync(none)).toBe(false);
  });
});

describe('statfs', () => {
  it('says what Node says of a path, an open file, and a name in an open directory', async () => {
    // Blocks come and go meanwhile.
    const steady = ({ type, bsize, blocks, files }: ops.StatFs<number | bigint>) => [
      type,
      bsize,
      blocks,
      files,
    ];
    const expected = steady(statfsSync(path));
    for (const op of [ops.statfs(path), ops.statfs(fd), ops.statfs('file', { dirfd })]) {
      expect(steady(await submit(op))).toEqual(expected);
    }
    const big = await submit(ops.statfs('/proc', { bigint: true }));
    expect({ ...big }).toEqual({ ...statfsSync('/proc', { bigint: true }) });
  });

  it('fails with ENOENT, EBADF', async () => {
    expect(await failed(ops.statfs(none))).toMatchObject({ code: 'ENOENT', syscall: 'statfs', path: none });
    expect((await failed(ops.statfs('none', { dirfd }))).code).toBe('ENOENT');
    expect(await failed(ops.statfs(NO_FD))).toMatchObject({ code: 'EBADF', path: undefined });
  });
});

describe('inotify', () => {
  it('tells what happens, by the read op', async () => {
    await using watcher = File.fromFd(await submit(ops.inotifyInit()));
    const watch = await submit(ops.inotifyAddWatch(watcher, dir, ops.IN_CREATE | ops.IN_DELETE));
    const buffer = Buffer.alloc(4096);
    const reading = watcher.read(buffer);
    writeFileSync(join(dir, 'new'), '');
    expect(await reading).toBeGreaterThan(0);
    expect([buffer.readInt32LE(0), buffer.readUInt32LE(4)]).toEqual([watch, ops.IN_CREATE]);
    expect(String(buffer.subarray(16, 19))).toBe('new');
    await submit(ops.inotifyRmWatch(watcher, watch));
    await watcher.read(buffer);
    expect(buffer.readUInt32LE(4)).toBe(ops.IN_IGNORED);
  });

  it('fails with ENOENT, EINVAL, ENOTDIR, EBADF', async () => {
    const watcher = await submit(ops.inotifyInit());
    expect(await failed(ops.inotifyAddWatch(watcher, none, 1))).toMatchObject({
      code: 'ENOENT',
      syscall: 'inotify_add_watch',
      path: none,
    });
    expect((await failed(ops.inotifyAddWatch(watcher, path, ops.IN_ONLYDIR | 1))).code).toBe('ENOTDIR');
    expect((await failed(ops.inotifyAddWatch(fd, path, 1))).code).toBe('EINVAL');
    expect((await failed(ops.inotifyAddWatch(NO_FD, path, 1))).code).toBe('EBADF');
    expect(await failed(ops.inotifyRmWatch(watcher, 99))).toMatchObject({
      code: 'EINVAL',
      syscall: 'inotify_rm_watch',
    });
    expect((await failed(ops.inotifyInit(1))).code).toBe('EINVAL');
    await close(watcher);
  });

  it('leaves no descriptor behind', async () => {
    const before = readdirSync('/proc/self/fd').length;
    const watcher = await submit(ops.inotifyInit());
    expect(fstatSync(watcher).mode).toBeDefined();
    await close(watcher);
    const cancelled = submit(ops.inotifyInit());
    cancelled.cancel();
    await cancelled.then(close, () => {});
    await submitted();
    expect(readdirSync('/proc/self/fd').length).toBe(before);
  });
});
