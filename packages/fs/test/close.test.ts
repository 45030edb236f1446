import { existsSync, openSync, read, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { File } from '@ouro/fs';
import { describe, expect, it } from 'vitest';
import { failure, fifo, openDescriptors, submitted, temporaryDirectory } from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
writeFileSync(path, 'content');

describe('close', () => {
  it('closes the descriptor', async () => {
    const file = await File.open(path);
    const { fd } = file;
    expect(existsSync(`/proc/self/fd/${fd}`)).toBe(true);
    await file.close();
    expect(existsSync(`/proc/self/fd/${fd}`)).toBe(false);
  });

  it('makes fd -1 at once', async () => {
    const file = await File.open(path);
    const closing = file.close();
    expect(file.fd).toBe(-1);
    await closing;
  });

  it('twice is one closing', async () => {
    const file = await File.open(path);
    const first = file.close();
    expect(file.close()).toBe(first);
    await first;
    expect(file.close()).toBe(first);
    // Had it been closed twice, the descriptor of this one could have been hit.
    const other = await File.open(path);
    await Promise.all([file.close(), file.close()]);
    expect((await other.stat()).size).toBe(7);
    await other.close();
  });

  it('is what the end of an await using block does', async () => {
    let inside: File;
    {
      await using file = await File.open(path);
      inside = file;
      expect(file.fd).toBeGreaterThan(2);
    }
    expect(inside.fd).toBe(-1);
  });

  it('in the same turn as ops lets those finish that can', async () => {
    const file = await File.open(path, 'r+');
    const buffer = Buffer.alloc(7);
    const [count] = await Promise.all([file.read(buffer, 0), file.write('C', 0), file.close()]);
    expect([count, readFileSync(path, 'utf8')]).toEqual([7, 'Content']);
  });

  it('cancels reads in flight: they fail with ECANCELED', async () => {
    const file = await File.open(fifo(join(dir, 'reads')), 'r+');
    const reads = [file.read(Buffer.alloc(10)), file.read(Buffer.alloc(10))];
    const failures = Promise.all(reads.map(failure));
    await submitted();
    await file.close();
    for (const error of await failures) {
      expect(error).toMatchObject({
        message: 'ECANCELED: operation canceled, read',
        code: 'ECANCELED',
        syscall: 'read',
      });
    }
  });

  it('finishes writes in flight first', async () => {
    const pipe = fifo(join(dir, 'writes'));
    const peer = openSync(pipe, 'r+');
    const file = await File.open(pipe, 'w');
    const settled: string[] = [];
    const writing = file.write(Buffer.alloc(1 << 20, 7)).then((count) => settled.push(`wrote ${count}`));
    await submitted();
    const closing = file.close().then(() => settled.push('closed'));
    await submitted();
    expect(settled).toEqual([]);
    const buffer = Buffer.alloc(1 << 20);
    // By a thread of Node's: the poll engine writes the rest in turns of this one.
    for (let length = 0; length < buffer.length; ) {
      length += (await promisify(read)(peer, buffer, length, 65_536, null)).bytesRead;
    }
    await Promise.all([writing, closing]);
    expect(settled).toEqual([`wrote ${1 << 20}`, 'closed']);
    expect(buffer.equals(Buffer.alloc(1 << 20, 7))).toBe(true);
    await File.fromFd(peer).close();
  });

  it('finishes syncs, truncations and stats in flight first', async () => {
    const file = await File.open(path, 'r+');
    const ops = [file.sync(), file.datasync(), file.truncate(3), file.stat()];
    const settled = Promise.allSettled(ops);
    await file.close();
    expect((await settled).map(({ status }) => status)).toEqual(Array(4).fill('fulfilled'));
    expect(readFileSync(path, 'utf8')).toBe('Con');
  });

  it('leaves no descriptor behind', async () => {
    await submitted();
    const before = openDescriptors();
    const files = await Promise.all(Array.from({ length: 50 }, () => File.open(path)));
    expect(openDescriptors()).toBe(before + 50);
    await Promise.all(files.map((file) => file.close()));
    expect(openDescriptors()).toBe(before);
  });
});

describe('after close', () => {
  const ops = {
    read: (file: File) => file.read(Buffer.alloc(1)),
    write: (file: File) => file.write('x'),
    fstat: (file: File) => file.stat(),
    fsync: (file: File) => file.sync(),
    fdatasync: (file: File) => file.datasync(),
    ftruncate: (file: File) => file.truncate(),
  };
  it.each(Object.entries(ops))('%s fails with EBADF', async (syscall, op) => {
    const file = await File.open(path, 'r+');
    const closing = file.close();
    const expected = { message: `EBADF: bad file descriptor, ${syscall}`, code: 'EBADF', errno: -9, syscall };
    expect(await failure(op(file))).toMatchObject(expected);
    await closing;
    expect(await failure(op(file))).toMatchObject(expected);
  });
});
