import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { File } from '@ouro/fs';
import { type Descriptor, Operation, OrdinaryDescriptor } from '@ouro/runtime/driver';
import { beforeEach, describe, expect, it } from 'vitest';
import { ftruncate } from '../src/op/truncate.ts';
import { begun, failure, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');

beforeEach(() => writeFileSync(path, '0123456789'));

describe.each(['sync', 'datasync'] as const)('%s', (method) => {
  const syscall = `f${method === 'sync' ? 'sync' : 'datasync'}`;

  it('waits until what was written has reached the device', async () => {
    await using file = await File.open(path, 'r+');
    await file.write('abc');
    expect(await file[method]()).toBe(undefined);
  });

  it('works on files opened for reading and on directories', async () => {
    await using file = await File.open(path);
    await using directory = await File.open(dir);
    await Promise.all([file[method](), directory[method]()]);
  });

  it('of a device that cannot fails with EINVAL', async () => {
    await using file = await File.open('/dev/null', 'w');
    expect(await failure(file[method]())).toMatchObject({
      message: `EINVAL: invalid argument, ${syscall}`,
      code: 'EINVAL',
      syscall,
    });
  });
});

describe('truncate', () => {
  it('cuts the file', async () => {
    await using file = await File.open(path, 'r+');
    expect(await file.truncate(4)).toBe(undefined);
    expect(readFileSync(path, 'utf8')).toBe('0123');
  });

  it('empties the file if it is not told a length', async () => {
    await using file = await File.open(path, 'r+');
    await file.truncate();
    expect(readFileSync(path, 'utf8')).toBe('');
  });

  it('extends the file with zeros', async () => {
    await using file = await File.open(path, 'r+');
    await file.truncate(12);
    expect(readFileSync(path, 'utf8')).toBe('0123456789\0\0');
  });

  it('takes lengths beyond 32 bits', async () => {
    await using file = await File.open(path, 'r+');
    for (const length of [2 ** 31, 2 ** 32, 2 ** 33 + 1]) {
      await file.truncate(length);
      expect((await file.stat()).size).toBe(length);
    }
  });

  it('leaves the position where it was', async () => {
    await using file = await File.open(path, 'r+');
    await file.write('abcdefgh');
    await file.truncate(2);
    await file.write('x');
    expect(readFileSync(path, 'latin1')).toBe('ab\0\0\0\0\0\0x');
  });

  it('of a file opened for reading fails with EINVAL', async () => {
    await using file = await File.open(path);
    expect(await failure(file.truncate(1))).toMatchObject({
      message: 'EINVAL: invalid argument, ftruncate',
      code: 'EINVAL',
      errno: -22,
      syscall: 'ftruncate',
    });
  });

  it('of more than a file can hold fails with EFBIG', async () => {
    await using file = await File.open(path, 'r+');
    expect((await failure(file.truncate(Number.MAX_SAFE_INTEGER))).code).toBe('EFBIG');
  });

  it.each([-1, 1.5, Number.NaN, 2 ** 53])(
    'refuses length %s, before anything is submitted',
    async (length) => {
      await using file = await File.open(path, 'r+');
      const before = begun();
      expect(thrown(() => file.truncate(length)).code).toBe('ERR_OUT_OF_RANGE');
      expect(begun()).toBe(before);
    },
  );

  it('does nothing if its signal aborted before', async () => {
    await using file = await File.open(path, 'r+');
    expect((await failure(file.truncate(1, { signal: AbortSignal.abort() }))).code).toBe('ABORT_ERR');
    expect(readFileSync(path, 'utf8')).toBe('0123456789');
  });
});

/** What `begin` does where the kernel lacks the op. */
function truncateInPool(fd: number | Descriptor, length: number): Operation<void> {
  const operation = new Operation(ftruncate(fd, length));
  if (typeof fd !== 'number') operation.in(fd);
  operation.startElsewhere();
  return operation;
}

describe('truncate through the thread pool, for kernels before 6.9,', () => {
  it('cuts and extends the file', async () => {
    const fd = openSync(path, 'r+');
    expect(await truncateInPool(fd, 4)).toBe(undefined);
    await truncateInPool(fd, 6);
    expect(readFileSync(path, 'utf8')).toBe('0123\0\0');
    closeSync(fd);
  });

  it('fails as through the ring', async () => {
    const fd = openSync(path, 'r');
    await using file = await File.open(path, 'r');
    expect(await failure(truncateInPool(fd, 4))).toEqual(await failure(file.truncate(4)));
    closeSync(fd);
  });

  it('is waited for before its file is closed', async () => {
    const fd = openSync(path, 'r+');
    const file = new OrdinaryDescriptor(fd);
    const order: string[] = [];
    const truncating = truncateInPool(file, 4).then(() => order.push('truncated'));
    expect(file.idle).toBe(false);
    await file.close().then(() => order.push('closed'));
    await truncating;
    expect(order).toEqual(['truncated', 'closed']);
    expect(file.idle).toBe(true);
    expect(readFileSync(path, 'utf8')).toBe('0123');
  });

  it('is not given up by cancel: it cannot be taken back', async () => {
    const fd = openSync(path, 'r+');
    const truncating = truncateInPool(fd, 4);
    truncating.cancel();
    await truncating;
    expect(readFileSync(path, 'utf8')).toBe('0123');
    closeSync(fd);
  });
});
