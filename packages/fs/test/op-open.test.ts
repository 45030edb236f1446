import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { File } from '@ouro/fs';
import {
  AT_STATX_DONT_SYNC,
  AT_SYMLINK_NOFOLLOW,
  type AtOptions,
  IOSQE_ASYNC,
  openat,
  openat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  read,
  STATX_SIZE,
  statx,
  write,
} from '@ouro/fs/ops';
import { chain, files, submit } from '@ouro/runtime';
import { close } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { itOnRing } from '../../../testing/engine.ts';
import {
  descriptorInfo,
  failure,
  fifo,
  openDescriptors,
  submitted,
  temporaryDirectory,
  thrown,
} from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
writeFileSync(path, '0123456789');
mkdirSync(join(dir, 'sub'));
symlinkSync('../file', join(dir, 'sub', 'out'));
symlinkSync('file', join(dir, 'link'));

const O_CLOEXEC = 0o2000000;

/** `openat2` with the arguments of `openat`. */
const viaOpenat2 = ((
  path: string,
  flags?: number,
  mode?: number,
  options?: AtOptions & { into?: undefined },
) => openat2(path, { flags, mode }, options)) as typeof openat;

describe.each([
  ['openat', openat],
  ['openat2', viaOpenat2],
] as const)('%s', (name, open) => {
  const syscall = name === 'openat' ? 'open' : name;

  it('opens to a descriptor that is closed on exec', async () => {
    const fd = await submit(open(path));
    expect(readFileSync(fd, 'utf8')).toBe('0123456789');
    expect(Number.parseInt(descriptorInfo(fd).flags, 8) & O_CLOEXEC).toBe(O_CLOEXEC);
    await close(fd);
  });

  it('creates with a mode', async () => {
    const made = join(dir, `${name}-made`);
    await close(await submit(open(made, 'wx', '600')));
    expect(statSync(made).mode & 0o777).toBe(0o600);
  });

  it('takes a relative path in an open directory', async () => {
    await using directory = await File.open(dir);
    await close(await submit(open('file', 'r', undefined, { dirfd: directory })));
  });

  itOnRing('direct')('into a direct descriptor opens nothing that has a number', async () => {
    const before = openDescriptors();
    for (const into of [files().allocate(), 'any'] as const) {
      await using direct = await submit(open(path, 'r', undefined, { into }));
      const buffer = Buffer.alloc(3);
      expect(await submit(read(direct, buffer, 2))).toBe(3);
      expect(buffer.toString()).toBe('234');
      expect(openDescriptors()).toBe(before);
    }
  });

  it('into a direct descriptor can be followed in one chain', async () => {
    const made = join(dir, `${name}-chain`);
    await using place = files().allocate();
    const [opened, written] = await chain([
      open(made, 'w', 0o644, { into: place }),
      write(place, Buffer.from('x')),
    ]);
    expect(opened).toBe(place);
    expect(written).toBe(1);
    expect(readFileSync(made, 'utf8')).toBe('x');
  });

  it('fails with the path', async () => {
    const none = join(dir, 'none');
    const message = `ENOENT: no such file or directory, ${syscall} '${none}'`;
    expect(await failure(submit(open(none)))).toMatchObject({
      message,
      code: 'ENOENT',
      errno: -2,
      syscall,
      path: none,
    });
    const into = files().allocate();
    expect(await failure(submit(open(none, 'r', undefined, { into })))).toMatchObject({
      message,
      path: none,
    });
    await into.close();
  });

  it('that is cancelled after it has succeeded closes the file', async () => {
    const before = openDescriptors();
    const opening = submit(open(path));
    opening.cancel();
    await opening.then(close, () => {});
    await submitted();
    expect(openDescriptors()).toBe(before);
  });

  it('of a pipe that nobody reads fails, or waits if it is told to, until its timeout', async () => {
    const pipe = fifo(join(dir, `${name}-fifo`));
    const { O_WRONLY } = constants;
    expect((await failure(submit(open(pipe, O_WRONLY)))).code).toBe('ENXIO');
    const told = open(pipe, O_WRONLY);
    told.flags |= IOSQE_ASYNC;
    // With O_CREAT or O_TRUNC the kernel opens in a thread of its own anyway.
    for (const waiting of [told, open(pipe, 'w')]) {
      expect(await failure(submit(waiting, { timeout: 20 }))).toMatchObject({
        code: 'ETIMEDOUT',
        syscall,
        path: pipe,
      });
    }
  });

  it('refuses what makes no sense', () => {
    expect(thrown(() => open(1 as unknown as string)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrown(() => open(path, 'q' as 'r')).code).toBe('ERR_INVALID_ARG_VALUE');
    expect(thrown(() => open(path, 'r', -1)).code).toBe('ERR_OUT_OF_RANGE');
  });
});

describe('File.open', () => {
  it('of a pipe that nobody reads is given up after its timeout', async () => {
    const pipe = fifo(join(dir, 'file-fifo'));
    expect(await failure(File.open(pipe, 'w', { timeout: 20 }))).toMatchObject({
      code: 'ETIMEDOUT',
      path: pipe,
    });
  });
});

describe('openat2', () => {
  it('with RESOLVE_BENEATH does not leave its directory', async () => {
    const dirfd = openSync(join(dir, 'sub'), 'r');
    for (const leading of ['../file', 'out', path]) {
      const op = openat2(leading, { resolve: RESOLVE_BENEATH }, { dirfd });
      expect(await failure(submit(op))).toMatchObject({ code: 'EXDEV', syscall: 'openat2', path: leading });
    }
    closeSync(dirfd);
  });

  it('with RESOLVE_NO_SYMLINKS follows none', async () => {
    expect((await failure(submit(openat2(join(dir, 'link'), { resolve: RESOLVE_NO_SYMLINKS })))).code).toBe(
      'ELOOP',
    );
  });

  it('fails with EINVAL for a mode that nothing is created with, and for unknown flags', async () => {
    expect((await failure(submit(openat2(path, { mode: 0o600 })))).code).toBe('EINVAL');
    expect((await failure(submit(openat2(path, { resolve: 0x4000 })))).code).toBe('EINVAL');
  });

  it('takes paths of any length', async () => {
    const long = `${dir}/${'./'.repeat(500)}file`;
    await close(await submit(openat2(long)));
  });
});

describe('statx', () => {
  it('says of a path, and of what is open, what node:fs says', async () => {
    await using file = await File.open(path);
    const { ino, size, mode, mtimeMs } = statSync(path);
    for (const op of [statx(path), statx(file), statx(file.fd), statx(Buffer.from(path))]) {
      expect(await submit(op)).toMatchObject({ ino, size, mode, mtimeMs });
    }
  });

  it('with AT_SYMLINK_NOFOLLOW says it of a link itself', async () => {
    expect((await submit(statx(join(dir, 'link'), { flags: AT_SYMLINK_NOFOLLOW }))).isSymbolicLink()).toBe(
      true,
    );
    expect((await submit(statx(join(dir, 'link')))).isFile()).toBe(true);
  });

  it('takes a mask, flags and a directory', async () => {
    await using directory = await File.open(dir);
    const op = statx('file', { mask: STATX_SIZE, flags: AT_STATX_DONT_SYNC, dirfd: directory });
    expect((await submit(op)).size).toBe(10);
  });

  it('takes paths of any length', async () => {
    expect((await submit(statx(`${dir}/${'./'.repeat(2000)}file`))).size).toBe(10);
  });

  it('fails as stat, lstat and fstat of node:fs', async () => {
    const none = join(dir, 'none');
    expect(await failure(submit(statx(none)))).toEqual(thrown(() => statSync(none)));
    const nofollow = statx(none, { flags: AT_SYMLINK_NOFOLLOW });
    expect(await failure(submit(nofollow))).toMatchObject({ code: 'ENOENT', syscall: 'lstat', path: none });
    expect(await failure(submit(statx(99_999)))).toMatchObject({
      code: 'EBADF',
      syscall: 'fstat',
      path: undefined,
    });
  });

  it('of a direct descriptor is nothing that the kernel can do', async () => {
    await using direct = await submit(openat(path, 'r', undefined, { into: 'any' }));
    expect(await failure(submit(statx(direct)))).toMatchObject({ code: 'EBADF', syscall: 'fstat' });
  });
});
