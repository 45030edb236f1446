import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { writeFile } from '@ouro/fs';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { failure, fifo, openDescriptors, submitted, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
let directories = 0;

/** A directory with nothing in it. */
function empty(): string {
  const path = join(dir, `${directories++}`);
  mkdirSync(path);
  return path;
}

const durable = true;

describe('writeFile with durable', () => {
  it('makes a file, with the mode it is given', async () => {
    const path = join(empty(), 'file');
    await writeFile(path, 'Grüße', { durable, mode: 0o640 });
    expect(readFileSync(path, 'utf8')).toBe('Grüße');
    expect(statSync(path).mode & 0o777).toBe(0o640 & ~process.umask());
  });

  it('replaces a file by another one, which leaves no third beside it', async () => {
    const at = empty();
    const path = join(at, 'file');
    writeFileSync(path, 'the old content, which is longer');
    const before = statSync(path).ino;
    await writeFile(path, Buffer.from('new'), { durable });
    expect(readFileSync(path, 'utf8')).toBe('new');
    expect(statSync(path).ino).not.toBe(before);
    expect(readdirSync(at)).toEqual(['file']);
  });

  it('writes nothing, and a lot', async () => {
    const path = join(empty(), 'file');
    await writeFile(path, '', { durable });
    expect(statSync(path).size).toBe(0);
    const much = Buffer.alloc(5_000_001, 'much');
    await writeFile(path, much, { durable });
    expect(readFileSync(path).equals(much)).toBe(true);
  });

  it('keeps owner and permissions of what was there', async ({ skip }) => {
    const path = join(empty(), 'file');
    writeFileSync(path, 'old');
    chmodSync(path, 0o604);
    await writeFile(path, 'new', { durable, mode: 0o777 });
    expect(statSync(path).mode & 0o7777).toBe(0o604);
    if (process.getuid?.() !== 0) skip('only root gives files away');
    chownSync(path, 1234, 5678);
    chmodSync(path, 0o4755);
    await writeFile(path, 'newer', { durable });
    expect(statSync(path)).toMatchObject({ uid: 1234, gid: 5678 });
    expect(statSync(path).mode & 0o7777).toBe(0o4755);
  });

  it('replaces what a symbolic link leads to, and the link stays', async () => {
    const at = empty();
    mkdirSync(join(at, 'there'));
    writeFileSync(join(at, 'there', 'file'), 'old');
    symlinkSync('there/second', join(at, 'first'));
    symlinkSync('file', join(at, 'there', 'second'));
    await writeFile(join(at, 'first'), 'new', { durable });
    expect(readFileSync(join(at, 'there', 'file'), 'utf8')).toBe('new');
    expect(readlinkSync(join(at, 'first'))).toBe('there/second');
    expect(readdirSync(join(at, 'there')).sort()).toEqual(['file', 'second']);
    symlinkSync(join(at, 'made'), join(at, 'dangling'));
    await writeFile(join(at, 'dangling'), 'made', { durable });
    expect(readFileSync(join(at, 'made'), 'utf8')).toBe('made');
    symlinkSync('loop', join(at, 'loop'));
    expect(await failure(writeFile(join(at, 'loop'), 'x', { durable }))).toMatchObject({
      code: 'ELOOP',
      path: join(at, 'loop'),
    });
  });

  it('leaves the old content to other names of the file', async () => {
    const at = empty();
    writeFileSync(join(at, 'file'), 'old');
    linkSync(join(at, 'file'), join(at, 'other'));
    await writeFile(join(at, 'file'), 'new', { durable });
    expect(readFileSync(join(at, 'other'), 'utf8')).toBe('old');
  });

  it('takes relative paths, names that are not UTF-8, and names of 255 bytes', async () => {
    const at = empty();
    const name = Buffer.from([0xff, 0xfe, 0x41]);
    await writeFile(Buffer.concat([Buffer.from(`${at}/`), name]), 'bytes', { durable });
    expect(readdirSync(at, { encoding: 'buffer' })).toEqual([name]);
    const long = join(at, 'n'.repeat(255));
    await writeFile(long, 'long', { durable });
    expect(readFileSync(long, 'utf8')).toBe('long');
    const source = `
      import { writeFile } from '@ouro/fs';
      process.chdir(process.argv[1]);
      await writeFile('relative', 'yes', { durable: true });`;
    const { code, stderr } = await runProgram(source, { args: [at] });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(readFileSync(join(at, 'relative'), 'utf8')).toBe('yes');
  });

  it("with 'wx' makes a file that is not there yet, and fails where there is one", async () => {
    const at = empty();
    const path = join(at, 'file');
    await writeFile(path, 'first', { durable, flag: 'wx' });
    expect(await failure(writeFile(path, 'second', { durable, flag: 'wx' }))).toMatchObject({
      code: 'EEXIST',
      path,
    });
    expect(readFileSync(path, 'utf8')).toBe('first');
    expect(readdirSync(at)).toEqual(['file']);
  });

  it('names the path it was given when it fails, and leaves nothing behind', async () => {
    const at = empty();
    await submitted();
    await writeFile(join(at, 'file'), '', { durable });
    await submitted();
    const before = openDescriptors();
    const missing = join(at, 'none', 'file');
    expect(await failure(writeFile(missing, 'x', { durable }))).toMatchObject({
      message: `ENOENT: no such file or directory, open '${missing}'`,
      syscall: 'open',
    });
    expect(await failure(writeFile(at, 'x', { durable }))).toMatchObject({ code: 'EISDIR', path: at });
    expect(await failure(writeFile(`${at}/`, 'x', { durable }))).toMatchObject({ code: 'EISDIR' });
    expect(await failure(writeFile('', 'x', { durable }))).toMatchObject({ code: 'ENOENT' });
    const pipe = fifo(join(at, 'pipe'));
    expect(await failure(writeFile(pipe, 'x', { durable }))).toMatchObject({
      code: 'EINVAL',
      message: `EINVAL: only a regular file can be replaced, open '${pipe}'`,
    });
    await submitted();
    expect(openDescriptors()).toBe(before);
    expect(readdirSync(at).sort()).toEqual(['file', 'pipe']);
  });

  it('is for flags that replace a file', () => {
    for (const flag of ['a', 'r+', 'ax', 1] as const) {
      expect(thrown(() => writeFile(join(dir, 'x'), 'x', { durable, flag }))).toMatchObject({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_VALUE',
      });
    }
    // @ts-expect-error: a boolean
    expect(thrown(() => writeFile(join(dir, 'x'), 'x', { durable: 'yes' }))).toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
    });
    expect(existsSync(join(dir, 'x'))).toBe(false);
  });

  it('leaves the old file and nothing else when it is cancelled, whenever that is', async () => {
    const at = empty();
    const path = join(at, 'file');
    writeFileSync(path, 'old');
    const data = Buffer.alloc(200_000, 'new');
    await submitted();
    const before = openDescriptors();
    let cancelled = 0;
    for (let turns = 0; turns < 40; turns++) {
      const writing = writeFile(path, data, { durable });
      for (let turn = 0; turn < turns; turn++) await submitted();
      writing.cancel();
      const error = await writing.then(
        () => null,
        (reason: unknown) => reason,
      );
      if (error !== null) {
        cancelled++;
        expect(error).toMatchObject({ code: 'ABORT_ERR' });
      }
      const now = readFileSync(path);
      expect(now.equals(data) || now.toString() === 'old').toBe(true);
      expect(readdirSync(at)).toEqual(['file']);
      writeFileSync(path, 'old');
    }
    expect(cancelled).toBeGreaterThan(0);
    await submitted();
    expect(openDescriptors()).toBe(before);
  });

  it('pins what it writes: a buffer that is detached meanwhile', async () => {
    const path = join(empty(), 'file');
    const data = new Uint8Array(100_000).fill(65);
    const writing = writeFile(path, data, { durable });
    try {
      structuredClone(data, { transfer: [data.buffer] });
    } catch {
      // Node 22 and later refuse.
    }
    await writing;
    expect(readFileSync(path).equals(Buffer.alloc(100_000, 'A'))).toBe(true);
  });
});
