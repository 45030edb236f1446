import { constants } from 'node:buffer';
import { closeSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { File, readFile } from '@ouro/fs';
import { readv } from '@ouro/fs/ops';
import { submit } from '@ouro/runtime';
import { afterEach, describe, expect, it } from 'vitest';
import { failure, openDescriptors, submitted, temporaryDirectory } from './support.ts';

const path = join(temporaryDirectory(), 'large');
const GIB = 2 ** 30;
const MINUTES = 60_000;
/** The most that the kernel moves in one go. */
const MOST_AT_ONCE = 0x7fff_f000;
afterEach(() => rmSync(path, { force: true }));

/** A file of `size` bytes that are 0, which take no room, except for `marks`. */
function sparseFile(size: number, marks: Readonly<Record<number, string>>): void {
  writeFileSync(path, '');
  truncateSync(path, size);
  const fd = openSync(path, 'r+');
  for (const [position, mark] of Object.entries(marks)) writeSync(fd, mark, Number(position));
  closeSync(fd);
}

describe('a file of more than 4 GiB', () => {
  it('can be read and written at any position', async () => {
    const positions = [0, 2 ** 31 - 2, 2 ** 31 + 5, 2 ** 32 - 2, 2 ** 32 + 5, 5 * GIB - 4];
    sparseFile(5 * GIB, Object.fromEntries(positions.map((position, i) => [position, `at ${i}`])));
    await using file = await File.open(path, 'r+');
    const buffer = Buffer.alloc(4);
    for (const [i, position] of positions.entries()) {
      expect([await file.read(buffer, position), buffer.toString()]).toEqual([4, `at ${i}`]);
      await file.write(`AT ${i}`, position);
      expect([await file.read(buffer, BigInt(position)), buffer.toString()]).toEqual([4, `AT ${i}`]);
    }
    expect((await file.stat()).size).toBe(5 * GIB);
  });

  it('is more than a Buffer can hold: readFile says so, and closes it', async () => {
    sparseFile(constants.MAX_LENGTH + 1, {});
    await submitted();
    const before = openDescriptors();
    expect(await failure(readFile(path))).toMatchObject({
      name: 'RangeError',
      code: 'ERR_FS_FILE_TOO_LARGE',
    });
    await submitted();
    expect(openDescriptors()).toBe(before);
  });
});

describe('more than 2 GiB at once', () => {
  const size = Math.floor(2.2 * GIB);
  const marks = { 0: 'head', [MOST_AT_ONCE - 2]: 'seam', [2 ** 31 - 2]: 'sign', [size - 4]: 'tail' };
  const marksOf = (content: Buffer): Record<number, string> =>
    Object.fromEntries(
      Object.keys(marks).map((at) => [at, content.toString('latin1', Number(at), Number(at) + 4)]),
    );

  it('can be read by readFile', { timeout: 5 * MINUTES }, async () => {
    sparseFile(size, marks);
    const content = await readFile(path);
    expect(content.length).toBe(size);
    expect(marksOf(content)).toEqual(marks);
  });

  it('can be read by one read, also where the file ends with the first piece of the kernel', {
    timeout: 5 * MINUTES,
  }, async () => {
    sparseFile(size, marks);
    const buffer = Buffer.allocUnsafeSlow(size + 10);
    await using file = await File.open(path);
    expect(await file.read(buffer)).toBe(size);
    expect(marksOf(buffer)).toEqual(marks);
    truncateSync(path, MOST_AT_ONCE);
    expect(await file.read(buffer, 0)).toBe(MOST_AT_ONCE);
  });

  it('can be written by one write', { timeout: 5 * MINUTES }, async () => {
    // To /dev/null, which takes it all without keeping it; the positions are what the reads above are about.
    await using file = await File.open('/dev/null', 'w');
    expect(await file.write(Buffer.alloc(size))).toBe(size);
  });

  it('is cut to that where one op has several buffers', { timeout: 5 * MINUTES }, async () => {
    sparseFile(size, marks);
    await using file = await File.open(path);
    const buffer = Buffer.allocUnsafeSlow(GIB / 4);
    expect(await submit(readv(file, Array<Buffer>(9).fill(buffer), 0))).toBe(MOST_AT_ONCE);
  });
});
