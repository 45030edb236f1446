import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { File, writeFile } from '@ouro/fs';
import { describe, expect, it } from 'vitest';
import { begun, failure, fifo, openDescriptors, submitted, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
let files = 0;
const fresh = (): string => join(dir, `file-${files++}`);
const existing = (content: string): string => {
  const path = fresh();
  writeFileSync(path, content);
  return path;
};

describe('writeFile', () => {
  it('makes a file with these bytes', async () => {
    const path = fresh();
    expect(await writeFile(path, Buffer.from('content'))).toBe(undefined);
    expect(readFileSync(path, 'utf8')).toBe('content');
  });

  it.each([0, 1, 4096, 100_000, 8 << 20])('writes %i bytes', async (length) => {
    const path = fresh();
    const content = Buffer.alloc(length);
    for (let at = 0; at + 4 <= length; at += 4) content.writeUInt32LE(at, at);
    await writeFile(path, content);
    expect(readFileSync(path).equals(content)).toBe(true);
  });

  it('writes a string in UTF-8 or another encoding', async () => {
    const path = fresh();
    await writeFile(path, 'Grüße');
    expect(readFileSync(path)).toEqual(Buffer.from('Grüße'));
    await writeFile(path, 'Grüße', 'latin1');
    expect(readFileSync(path)).toEqual(Buffer.from('Grüße', 'latin1'));
    await writeFile(path, 'cafe', { encoding: 'hex' });
    expect(readFileSync(path)).toEqual(Buffer.from([0xca, 0xfe]));
  });

  it('replaces what was there, longer, shorter or as long', async () => {
    const path = existing('what was there');
    for (const content of ['x', 'much longer than what was there before', 'short', 'sharp', '']) {
      await writeFile(path, content);
      expect(readFileSync(path, 'utf8')).toBe(content);
    }
  });

  it('keeps the file that is there: its inode, its mode, its other names', async () => {
    const path = existing('before');
    execFileSync('chmod', ['640', path]);
    const { ino, mode } = statSync(path);
    await writeFile(path, 'after', { mode: 0o777 });
    expect(statSync(path)).toMatchObject({ ino, mode, size: 5 });
  });

  it.each(['', 'as long'])('changes the time of the file (%o)', async (content) => {
    const path = existing(content);
    utimesSync(path, 1, 1);
    await writeFile(path, content);
    expect(statSync(path).mtimeMs).toBeGreaterThan(1000);
  });

  it.each([undefined, 0o600, '444'])('creates with mode %s as node:fs does', async (mode) => {
    const [ours, theirs] = [fresh(), fresh()];
    await writeFile(ours, 'x', { mode });
    writeFileSync(theirs, 'x', { mode });
    expect(statSync(ours).mode).toBe(statSync(theirs).mode);
  });

  it("appends with 'a'", async () => {
    const path = existing('one');
    await writeFile(path, ' two', { flag: 'a' });
    await writeFile(path, ' three', { flag: 'a' });
    expect(readFileSync(path, 'utf8')).toBe('one two three');
  });

  it("makes a file with 'a', 'ax' and 'wx'", async () => {
    for (const flag of ['a', 'ax', 'wx'] as const) {
      const path = fresh();
      await writeFile(path, 'content', { flag });
      expect(readFileSync(path, 'utf8')).toBe('content');
    }
  });

  it("refuses to touch what is there with 'wx' and 'ax'", async () => {
    const path = existing('before');
    for (const flag of ['wx', 'ax'] as const) {
      expect(await failure(writeFile(path, 'after', { flag }))).toEqual(
        thrown(() => writeFileSync(path, 'after', { flag })),
      );
    }
    expect(readFileSync(path, 'utf8')).toBe('before');
  });

  it("overwrites the beginning with 'r+'", async () => {
    const path = existing('what was there');
    await writeFile(path, 'that', { flag: 'r+' });
    expect(readFileSync(path, 'utf8')).toBe('that was there');
  });

  it('writes to /dev/null', async () => {
    await writeFile('/dev/null', 'x'.repeat(100_000));
    expect(statSync('/dev/null').isCharacterDevice()).toBe(true);
  });

  it('writes through a symbolic link, also one that points to nothing yet', async () => {
    const [target, link] = [fresh(), fresh()];
    symlinkSync(target, link);
    for (const content of ['created', 'rewritten']) {
      await writeFile(link, content);
      expect(readFileSync(target, 'utf8')).toBe(content);
      expect(lstatSync(link).isSymbolicLink()).toBe(true);
    }
  });

  it('writes to a pipe, and waits for its reader', async () => {
    const pipe = fifo(fresh());
    const writing = writeFile(pipe, 'x'.repeat(200_000));
    for (let turn = 0; turn < 5; turn++) await submitted();
    const reader = await File.open(pipe);
    const buffer = Buffer.alloc(200_000);
    let length = 0;
    for (let count = -1; count !== 0; length += count) count = await reader.read(buffer.subarray(length));
    await writing;
    await reader.close();
    expect(buffer.toString('latin1', 0, length)).toBe('x'.repeat(200_000));
  });

  it('writes many files at once', async () => {
    const paths = Array.from({ length: 300 }, fresh);
    await Promise.all(paths.map((path, i) => writeFile(path, `content of ${i}`)));
    expect(paths.map((path) => readFileSync(path, 'utf8'))).toEqual(paths.map((_, i) => `content of ${i}`));
  });

  it('leaves no descriptor behind', async () => {
    await submitted();
    const before = openDescriptors();
    await Promise.all(Array.from({ length: 100 }, () => writeFile(fresh(), 'x')));
    expect(openDescriptors()).toBe(before);
  });
});

describe('a failed writeFile', () => {
  mkdirSync(join(dir, 'directory'));
  symlinkSync('loop', join(dir, 'loop'));
  writeFileSync(join(dir, 'file'), 'content');

  it.each(['missing/file', 'file/below', 'loop', 'directory', 'x'.repeat(256)])(
    '(%s) rejects with the error of node:fs',
    async (name) => {
      const target = join(dir, name);
      expect(await failure(writeFile(target, 'x'))).toEqual(thrown(() => writeFileSync(target, 'x')));
    },
  );

  it.each(['x', ''])(
    '(writing %o to a file opened for reading) rejects with the error of node:fs',
    async (data) => {
      const path = existing('before');
      const attempt = async (): Promise<unknown> => {
        await writeFile(path, data, { flag: 'r' });
        return 'written';
      };
      const theirs = data === '' ? 'written' : thrown(() => writeFileSync(path, data, { flag: 'r' }));
      expect(await attempt().catch(() => failure(writeFile(path, data, { flag: 'r' })))).toEqual(theirs);
      expect(readFileSync(path, 'utf8')).toBe('before');
    },
  );

  it('leaves no descriptor behind', async () => {
    await submitted();
    const before = openDescriptors();
    const path = existing('before');
    const failures: readonly (() => Promise<unknown>)[] = [
      () => writeFile(join(dir, 'missing/file'), 'x'),
      () => writeFile(join(dir, 'directory'), 'x'),
      () => writeFile(path, 'x', { flag: 'wx' }),
      () => writeFile(path, 'x', { flag: 'r' }),
      () => writeFile('/dev/full', 'x'),
    ];
    for (let round = 0; round < 10; round++) {
      for (const fail of failures) await failure(fail());
    }
    expect(openDescriptors()).toBe(before);
  });

  it('has refused bad arguments before anything was submitted', async () => {
    await submitted();
    const before = begun();
    const path = fresh();
    const bad: readonly (readonly [string, () => unknown])[] = [
      ['ERR_INVALID_ARG_TYPE', () => writeFile(5 as never, 'x')],
      ['ERR_INVALID_ARG_VALUE', () => writeFile('a\0b', 'x')],
      ['ERR_INVALID_ARG_TYPE', () => writeFile(path, 5 as never)],
      ['ERR_INVALID_ARG_TYPE', () => writeFile(path, undefined as never)],
      ['ERR_INVALID_ARG_TYPE', () => writeFile(path, new ArrayBuffer(8) as never)],
      ['ERR_INVALID_ARG_VALUE', () => writeFile(path, 'x', { flag: 'rw' as never })],
      ['ERR_INVALID_ARG_VALUE', () => writeFile(path, 'x', { mode: '9' })],
      ['ERR_INVALID_ARG_VALUE', () => writeFile(path, 'x', 'utf-9' as never)],
      ['ERR_INVALID_ARG_TYPE', () => writeFile(path, 'x', 5 as never)],
      ['ERR_INVALID_ARG_TYPE', () => writeFile(path, 'x', { signal: {} as never })],
    ];
    for (const [code, call] of bad) expect(thrown(call).code).toBe(code);
    expect(begun()).toBe(before);
  });
});
