import { closeSync, openSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { appendFile, File } from '@ouro/fs';
import { describe, expect, it, vi } from 'vitest';
import {
  begun,
  descriptorInfo,
  failure,
  fifo,
  openDescriptors,
  submitted,
  temporaryDirectory,
  thrown,
} from './support.ts';

const dir = temporaryDirectory();
let files = 0;
function fileOf(content: string | Buffer): string {
  const path = join(dir, `file-${files++}`);
  writeFileSync(path, content);
  return path;
}

describe('append', () => {
  it.each(['r+', 'a', 'a+'] as const)('writes at the end of a file opened with %s', async (flags) => {
    const path = fileOf('what was there');
    await using file = await File.open(path, flags);
    expect(await file.append(', and more')).toBe(10);
    expect(readFileSync(path, 'utf8')).toBe('what was there, and more');
  });

  it('leaves the current position alone', async () => {
    await using file = await File.open(fileOf('0123456789'), 'r+');
    await file.read(Buffer.alloc(3));
    await file.append('end');
    expect(descriptorInfo(file.fd).pos).toBe(3);
  });

  it('of many at once loses none', async () => {
    const path = fileOf('');
    await using one = await File.open(path, 'r+');
    await using other = await File.open(path, 'r+');
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? one : other).append(`${i % 10}`.repeat(1000))),
    );
    const found = readFileSync(path, 'utf8').match(/.{1000}/gs) ?? [];
    expect(found.length).toBe(100);
    for (const each of found) expect(new Set(each).size).toBe(1);
  });

  it('writes text in an encoding, and nothing', async () => {
    const path = fileOf('');
    await using file = await File.open(path, 'r+');
    expect(await file.append('ä', { encoding: 'latin1' })).toBe(1);
    expect(await file.append('61', { encoding: 'hex' })).toBe(1);
    expect(await file.append('')).toBe(0);
    expect(readFileSync(path, 'latin1')).toBe('äa');
  });

  it('writes to a pipe as well', async () => {
    const name = fifo(join(dir, 'pipe'));
    await using file = await File.open(name, 'r+');
    expect(await file.append('through')).toBe(7);
    const buffer = Buffer.alloc(10);
    expect(buffer.toString('utf8', 0, await file.read(buffer))).toBe('through');
  });

  it('fails with EBADF where the file is not open for writing, or closed', async () => {
    const file = await File.open(fileOf(''));
    expect(await failure(file.append('x'))).toMatchObject({ code: 'EBADF', syscall: 'write' });
    await file.close();
    expect(await failure(file.append('x'))).toMatchObject({ code: 'EBADF', syscall: 'write' });
  });

  it('fails with ENOSPC where nothing fits any more', async () => {
    await using file = await File.open('/dev/full', 'w');
    const expected = { code: 'ENOSPC', syscall: 'write' };
    expect(await failure(file.append('x'))).toMatchObject(expected);
    expect(await failure(file.writeFile('x'))).toMatchObject(expected);
    expect(await failure(file.writeFile(['x', 'y']))).toMatchObject(expected);
    expect(await failure(appendFile('/dev/full', 'x'))).toMatchObject(expected);
  });

  it('refuses what is no data', async () => {
    await using file = await File.open(fileOf(''), 'a');
    expect(thrown(() => file.append(5 as never)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrown(() => file.append('x', { encoding: 'none' as never })).code).toBe('ERR_INVALID_ARG_VALUE');
    const buffer = Buffer.alloc(10);
    structuredClone(buffer.buffer, { transfer: [buffer.buffer] });
    expect(thrown(() => file.append(buffer)).name).toBe('TypeError');
  });
});

describe('appendFile', () => {
  it('appends to a file, and creates it', async () => {
    const path = join(dir, 'created');
    await appendFile(path, 'one,');
    await appendFile(path, Buffer.from('two,'));
    await appendFile(path, '7468726565', 'hex');
    await appendFile(path, ',fourä', { encoding: 'latin1', flag: undefined });
    expect(readFileSync(path, 'latin1')).toBe('one,two,three,fourä');
  });

  it('creates it with a mode, and takes another flag', async () => {
    const path = join(dir, 'with-mode');
    await appendFile(path, 'x', { mode: 0o600 });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await failure(appendFile(path, 'y', { flag: 'ax' }))).toMatchObject({
      code: 'EEXIST',
      syscall: 'open',
      path,
    });
  });

  it('fails as Node does', async () => {
    const path = join(dir, 'missing', 'file');
    expect(await failure(appendFile(path, 'x'))).toMatchObject({
      message: `ENOENT: no such file or directory, open '${path}'`,
      code: 'ENOENT',
    });
    expect(await failure(appendFile(dir, 'x'))).toMatchObject({ code: 'EISDIR', syscall: 'open' });
    expect(thrown(() => appendFile(5 as never, 'x')).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrown(() => appendFile(path, {} as never)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrown(() => appendFile(path, 'x', 'none' as never)).code).toBe('ERR_INVALID_ARG_VALUE');
  });

  it('that is cancelled leaves no descriptor', async () => {
    const path = fileOf('');
    await submitted();
    const before = openDescriptors();
    const appending = appendFile(path, 'x');
    appending.cancel();
    expect(await failure(appending)).toMatchObject({ code: 'ABORT_ERR' });
    await vi.waitFor(() => expect(openDescriptors()).toBe(before));
    expect(readFileSync(path, 'utf8')).toBe('');
  });
});

describe('file.readFile', () => {
  it('reads all of the file, and then nothing', async () => {
    const content = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i & 0xff));
    await using file = await File.open(fileOf(content));
    expect((await file.readFile()).equals(content)).toBe(true);
    expect(descriptorInfo(file.fd).pos).toBe(100_000);
    expect((await file.readFile()).length).toBe(0);
  });

  it('reads the rest, as the method of FileHandle', async () => {
    const path = fileOf('0123456789');
    await using file = await File.open(path);
    const handle = await open(path);
    await file.read(Buffer.alloc(4));
    await handle.read(Buffer.alloc(4));
    const theirs = await handle.readFile('utf8');
    expect(await file.readFile('utf8')).toBe(theirs);
    expect(theirs).toBe('456789');
    await handle.close();
  });

  it.each(['latin1', 'hex', 'utf16le'] as const)('resolves to text in %s', async (encoding) => {
    await using file = await File.open(fileOf(Buffer.from('äö€', 'utf16le')));
    expect(await file.readFile({ encoding })).toBe(Buffer.from('äö€', 'utf16le').toString(encoding));
  });

  it('reads what has no size', async () => {
    await using status = await File.open('/proc/self/status');
    expect(await status.readFile('utf8')).toContain('Name:\t');
    await using empty = await File.open(fileOf(''));
    expect(await empty.readFile('utf8')).toBe('');
    const name = fifo(join(dir, 'sizeless'));
    const [file, peer] = await Promise.all([File.open(name), File.open(name, 'w')]);
    const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i >> 3) & 0xff));
    const writing = peer.write(content).then(() => peer.close());
    expect((await file.readFile()).equals(content)).toBe(true);
    await writing;
    await file.close();
  });

  it('reads what says it is longer than it is', async () => {
    await using file = await File.open('/sys/kernel/mm/transparent_hugepage/enabled');
    expect(await file.readFile('utf8')).toBe(
      readFileSync('/sys/kernel/mm/transparent_hugepage/enabled', 'utf8'),
    );
  });

  it('gives memory that can be transferred', async () => {
    await using file = await File.open(fileOf('content'));
    const { buffer } = await file.readFile();
    expect(structuredClone(buffer, { transfer: [buffer as ArrayBuffer] }).byteLength).toBe(7);
    expect(buffer.byteLength).toBe(0);
  });

  it('that is cancelled says how far it came', async () => {
    const name = fifo(join(dir, 'cancelled'));
    await using file = await File.open(name, 'r+');
    const peer = openSync(name, 'r+');
    writeSync(peer, 'some');
    const reading = file.readFile();
    for (let turn = 0; turn < 5; turn++) await submitted();
    reading.cancel('enough');
    await expect(reading).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'enough', bytesTransferred: 4 });
    closeSync(peer);
  });

  it('fails of a directory, and of a file that is closed', async () => {
    const file = await File.open(dir);
    expect(await failure(file.readFile())).toMatchObject({ code: 'EISDIR', syscall: 'read' });
    await file.close();
    expect(await failure(file.readFile())).toMatchObject({ code: 'EBADF', syscall: 'read' });
    expect(thrown(() => file.readFile('none' as never)).code).toBe('ERR_INVALID_ARG_VALUE');
    expect(thrown(() => file.readFile(5 as never)).code).toBe('ERR_INVALID_ARG_TYPE');
  });
});

describe('file.writeFile', () => {
  it('writes where the file stands and cuts nothing off, as the method of FileHandle', async () => {
    const [ours, theirs] = [fileOf('0123456789'), fileOf('0123456789')];
    await using file = await File.open(ours, 'r+');
    const handle = await open(theirs, 'r+');
    for (const each of [file, handle]) {
      await each.writeFile('abc');
      await each.writeFile(Buffer.from('de'));
      await each.writeFile('66', 'hex');
      await each.writeFile('ä', { encoding: 'latin1' });
    }
    expect(readFileSync(ours, 'latin1')).toBe('abcdefä789');
    expect(readFileSync(ours).equals(readFileSync(theirs))).toBe(true);
    await handle.close();
  });

  it('writes what an iterable brings', async () => {
    const path = fileOf('');
    await using file = await File.open(path, 'w');
    await file.writeFile(['one,', Buffer.from('two,')]);
    await file.writeFile(new Set(['three,']));
    await file.writeFile(
      (async function* () {
        yield 'four,';
        yield new Uint8Array([0x35]);
      })(),
    );
    expect(readFileSync(path, 'utf8')).toBe('one,two,three,four,5');
  });

  it('closes the iterable when it is cancelled', async () => {
    const name = fifo(join(dir, 'full'));
    await using file = await File.open(name, 'r+');
    let closed = false;
    const endless = function* () {
      try {
        for (;;) yield Buffer.alloc(50_000);
      } finally {
        closed = true;
      }
    };
    const writing = file.writeFile(endless());
    for (let turn = 0; turn < 10; turn++) await submitted();
    writing.cancel();
    expect(await failure(writing)).toMatchObject({ code: 'ABORT_ERR' });
    expect(closed).toBe(true);
  });

  it('fails with what an iterable throws, and for what it brings that is no data', async () => {
    await using file = await File.open(fileOf(''), 'w');
    const throwing = function* () {
      yield 'x';
      throw new Error('mine');
    };
    await expect(file.writeFile(throwing())).rejects.toThrow('mine');
    expect(await failure(file.writeFile([5 as never]))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
  });

  it('refuses bad arguments at once', async () => {
    await using file = await File.open(fileOf(''), 'w');
    const before = begun();
    expect(thrown(() => file.writeFile(5 as never)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrown(() => file.writeFile({} as never)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrown(() => file.writeFile('x', 'none' as never)).code).toBe('ERR_INVALID_ARG_VALUE');
    expect(thrown(() => file.write('x', null, { encoding: 'none' as never })).code).toBe(
      'ERR_INVALID_ARG_VALUE',
    );
    expect(begun()).toBe(before);
  });
});

describe('write', () => {
  it('takes the encoding of its text', async () => {
    const path = fileOf('');
    await using file = await File.open(path, 'w');
    expect(await file.write('äö', 0, { encoding: 'latin1' })).toBe(2);
    expect(readFileSync(path, 'latin1')).toBe('äö');
  });
});
