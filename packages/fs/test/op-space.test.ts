import { closeSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { File } from '@ouro/fs';
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  fadvise,
  fallocate,
  fdatasync,
  fsync,
  ftruncate,
  POSIX_FADV_DONTNEED,
  POSIX_FADV_SEQUENTIAL,
  pipe,
  SYNC_FILE_RANGE_WAIT_AFTER,
  SYNC_FILE_RANGE_WAIT_BEFORE,
  SYNC_FILE_RANGE_WRITE,
  syncFileRange,
} from '@ouro/fs/ops';
import { chain, submit } from '@ouro/runtime';
import { close } from '@ouro/runtime/driver';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failure, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
let fd = -1;

beforeEach(() => {
  writeFileSync(path, '0123456789');
  fd = openSync(path, 'r+');
});
afterEach(() => closeSync(fd));

describe('fallocate', () => {
  it('extends the file by space that is its own', async () => {
    await submit(fallocate(fd, 0, 0, 1 << 20));
    expect(statSync(path).size).toBe(1 << 20);
    expect(statSync(path).blocks * 512).toBeGreaterThanOrEqual(1 << 20);
  });

  it('keeps the size with FALLOC_FL_KEEP_SIZE', async () => {
    await submit(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1 << 20));
    expect(statSync(path).size).toBe(10);
    expect(statSync(path).blocks * 512).toBeGreaterThanOrEqual(1 << 20);
  });

  it('takes offsets beyond 32 bits', async () => {
    await submit(fallocate(fd, 0, 2 ** 33, 4096));
    expect(statSync(path).size).toBe(2 ** 33 + 4096);
  });

  it('punches holes', async () => {
    await submit(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2, 3));
    expect(readFileSync(path, 'latin1')).toBe('01\0\0\x0056789');
  });

  it('fails with EBADF, EINVAL, EOPNOTSUPP', async () => {
    const reading = openSync(path, 'r');
    expect(await failure(submit(fallocate(reading, 0, 0, 1)))).toMatchObject({
      message: 'EBADF: bad file descriptor, fallocate',
      code: 'EBADF',
      syscall: 'fallocate',
    });
    closeSync(reading);
    expect((await failure(submit(fallocate(fd, 0, 0, 0)))).code).toBe('EINVAL');
    expect((await failure(submit(fallocate(fd, 0x4000_0000, 0, 1)))).code).toBe('ENOTSUP');
  });

  it('refuses what is no stretch', () => {
    expect(thrown(() => fallocate(fd, 0, -1, 1)).message).toMatch(/"offset"/);
    expect(thrown(() => fallocate(fd, 0, 0, 2 ** 53)).message).toMatch(/"length"/);
    expect(thrown(() => fallocate(fd, -1, 0, 1)).message).toMatch(/"mode"/);
  });
});

describe('fadvise', () => {
  it('is taken, whatever comes of it', async () => {
    expect(await submit(fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL))).toBe(undefined);
    await submit(fadvise(fd, 0, 2 ** 33, POSIX_FADV_DONTNEED));
  });

  it('fails with EINVAL for an advice that there is not, with ESPIPE for a pipe', async () => {
    expect(await failure(submit(fadvise(fd, 0, 0, 99)))).toMatchObject({
      code: 'EINVAL',
      syscall: 'fadvise',
    });
    const [from, to] = await submit(pipe());
    expect((await failure(submit(fadvise(from, 0, 0, POSIX_FADV_SEQUENTIAL)))).code).toBe('ESPIPE');
    await Promise.all([close(from), close(to)]);
  });
});

describe('syncFileRange', () => {
  it('has a stretch written', async () => {
    const flags = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    expect(await submit(syncFileRange(fd, 0, 0, flags))).toBe(undefined);
    await submit(syncFileRange(fd, 2 ** 33, 2 ** 32 - 1));
  });

  it('fails with EINVAL for unknown flags, with ESPIPE for a pipe', async () => {
    expect(await failure(submit(syncFileRange(fd, 0, 0, 64)))).toMatchObject({
      code: 'EINVAL',
      syscall: 'sync_file_range',
    });
    const [from, to] = await submit(pipe());
    expect((await failure(submit(syncFileRange(from, 0, 0)))).code).toBe('ESPIPE');
    await Promise.all([close(from), close(to)]);
  });

  it('takes no more than 32 bits of length', () => {
    expect(thrown(() => syncFileRange(fd, 0, 2 ** 32)).code).toBe('ERR_OUT_OF_RANGE');
  });
});

describe('fsync, fdatasync and ftruncate', () => {
  it('follow each other in a chain', async () => {
    await chain([ftruncate(fd, 3), fdatasync(fd), fsync(fd)]);
    expect(readFileSync(path, 'utf8')).toBe('012');
  });

  it('fail with EBADF on what is not open', async () => {
    for (const op of [fsync(99_999), fdatasync(99_999), ftruncate(99_999, 0)]) {
      expect((await failure(submit(op))).code).toBe('EBADF');
    }
  });

  it('ftruncate refuses what is no length', () => {
    expect(thrown(() => ftruncate(fd, -1)).code).toBe('ERR_OUT_OF_RANGE');
  });
});

describe('File', () => {
  it('allocates, advises and syncs stretches', async () => {
    await using file = await File.open(path, 'r+');
    await file.allocate(0, 8192);
    await file.allocate(0, 1 << 16, FALLOC_FL_KEEP_SIZE);
    await file.advise(0, 0, POSIX_FADV_SEQUENTIAL);
    await file.syncRange(0, 4096);
    expect((await file.stat()).size).toBe(8192);
    expect((await failure(file.allocate(0, 0))).code).toBe('EINVAL');
    expect((await failure(file.advise(0, 0, 99))).code).toBe('EINVAL');
    expect((await failure(file.syncRange(0, 0, 64))).code).toBe('EINVAL');
  });
});
