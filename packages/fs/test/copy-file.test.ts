import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  constants,
  existsSync,
  linkSync,
  mkdirSync,
  promises,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { copyFile, File } from '@ouro/fs';
import { type Future, metrics } from '@ouro/runtime';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { begun, failure, fifo, openDescriptors, submitted, temporaryDirectory, thrown } from './support.ts';
import { random, sparseFile } from './trees.ts';

const root = temporaryDirectory();
const dir = join(root, 'dir');
const src = join(dir, 'src');
const dest = join(dir, 'dest');
const { COPYFILE_EXCL, COPYFILE_FICLONE, COPYFILE_FICLONE_FORCE } = constants;
/** More than goes in one go. */
const LONG = 300_000;

beforeEach(() => mkdirSync(dir));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const pattern = (length: number): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
const mode = (path: string): number => statSync(path).mode & 0o7777;
const room = (path: string): number => statSync(path).blocks * 512;

/** Runs the same with Node's function and with ours, each on files of its own. */
async function both(
  prepare: () => void,
  run: (copy: (src: string, dest: string, mode?: number) => Promise<void>) => Promise<unknown>,
): Promise<readonly [node: unknown, ours: unknown]> {
  const results: unknown[] = [];
  for (const copy of [promises.copyFile, copyFile]) {
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(dir);
    prepare();
    results.push(
      await run(copy).catch(({ name, message, code, errno, syscall, path, dest }) => {
        return { name, message, code, errno, syscall, path, dest };
      }),
    );
    results.push(
      existsSync(dest) && statSync(dest).isFile() ? [readFileSync(dest), mode(dest)] : existsSync(dest),
    );
  }
  return [results.slice(0, 2), results.slice(2)];
}

describe('copyFile', () => {
  it.each([0, 1, 4096, 131_071, 131_072, 131_073, LONG, 20_000_000])(
    'copies %i bytes, over a shorter file, over a longer one, and to a new one',
    async (length) => {
      const bytes = pattern(length);
      writeFileSync(src, bytes);
      for (const before of [null, 0, length >> 1, length, length + 5000]) {
        rmSync(dest, { force: true });
        if (before !== null) writeFileSync(dest, Buffer.alloc(before, 0xee));
        expect(await copyFile(src, dest)).toBeUndefined();
        expect(readFileSync(dest).equals(bytes), `over ${before} bytes`).toBe(true);
      }
    },
  );

  it.each([10, LONG])(
    'gives the copy the permissions of the source (%i bytes), whatever the umask says',
    async (length) => {
      writeFileSync(src, Buffer.alloc(length, 1));
      for (const bits of [0o777, 0o666, 0o400, 0o4755, 0o2711]) {
        chmodSync(src, bits);
        for (const before of [null, 0o600, 0o666]) {
          rmSync(dest, { force: true });
          if (before !== null) writeFileSync(dest, 'something', { mode: before });
          await promises.copyFile(src, dest);
          const theirs = mode(dest);
          rmSync(dest, { force: true });
          if (before !== null) writeFileSync(dest, 'something', { mode: before });
          await copyFile(src, dest);
          expect(mode(dest).toString(8)).toBe(theirs.toString(8));
          expect(statSync(dest).size).toBe(length);
        }
      }
    },
  );

  it.each([10, LONG])(
    'leaves a file of %i bytes alone that is copied onto itself, by whatever name',
    async (length) => {
      const bytes = pattern(length);
      writeFileSync(src, bytes);
      const hard = join(dir, 'hard');
      const soft = join(dir, 'soft');
      linkSync(src, hard);
      symlinkSync('src', soft);
      for (const [from, to] of [
        [src, src],
        [src, hard],
        [src, soft],
        [soft, src],
        [hard, `${dir}/../dir/src`],
      ]) {
        await copyFile(from, to);
        expect(readFileSync(src).equals(bytes)).toBe(true);
        await expect(copyFile(from, to, COPYFILE_EXCL)).rejects.toMatchObject({ code: 'EEXIST' });
      }
    },
  );

  it('copies a small file in one op', async () => {
    writeFileSync(src, 'small');
    const opens = (): number => metrics().ops.OPENAT?.submitted ?? 0;
    const before = opens();
    await copyFile(src, dest);
    expect(opens()).toBe(before);
    writeFileSync(src, Buffer.alloc(LONG));
    await copyFile(src, dest);
    expect(opens()).toBe(before + 2);
  });

  it('follows links at both ends', async () => {
    writeFileSync(src, 'contents');
    symlinkSync('src', join(dir, 'from'));
    symlinkSync('dest', join(dir, 'to'));
    await copyFile(join(dir, 'from'), join(dir, 'to'));
    expect(readFileSync(dest, 'utf8')).toBe('contents');
  });

  it('takes names that are not UTF-8, long ones, and URLs', async () => {
    writeFileSync(src, 'contents');
    const odd = Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff, 0xfe])]);
    const long = join(dir, 'l'.repeat(255));
    await copyFile(new URL(`file://${src}`), odd);
    await copyFile(odd, long);
    expect(readFileSync(long, 'utf8')).toBe('contents');
  });

  it('copies what is made while it is read, and says that it is empty', async () => {
    await copyFile('/proc/self/mountinfo', dest);
    expect(readFileSync(dest, 'utf8')).toBe(readFileSync('/proc/self/mountinfo', 'utf8'));
    // More than a page, so that it does not go in one go.
    await copyFile('/proc/kallsyms', join(dir, 'symbols'));
    expect(statSync(join(dir, 'symbols')).size).toBe(readFileSync('/proc/kallsyms').length);
  });

  it('copies from a pipe to its end, into a pipe, and into a device', async () => {
    writeFileSync(src, pattern(LONG));
    const pipe = fifo(join(dir, 'pipe'));
    const both = [copyFile(src, pipe), copyFile(pipe, dest)];
    await Promise.all(both);
    expect(readFileSync(dest).equals(pattern(LONG))).toBe(true);
    await copyFile(src, '/dev/null');
    expect(statSync('/dev/null').isCharacterDevice()).toBe(true);
    await copyFile('/dev/null', dest);
    expect(statSync(dest).size).toBe(0);
    expect((await failure(copyFile(src, '/dev/full'))).code).toBe('ENOSPC');
    expect(existsSync('/dev/full')).toBe(true);
  });
});

describe('copyFile from a pipe that nobody writes to yet', () => {
  /** Begins to copy, and comes back when it would be long done if it did not wait. */
  async function waiting(
    options = {},
  ): Promise<{ copying: Future<void>; pipe: string; settled: () => boolean }> {
    const pipe = fifo(join(dir, 'pipe'));
    writeFileSync(dest, 'precious');
    let settled = false;
    const copying = copyFile(pipe, dest, options);
    copying
      .catch(() => {})
      .finally(() => {
        settled = true;
      });
    await new Promise((later) => setTimeout(later, 50));
    return { copying, pipe, settled: () => settled };
  }

  it('waits for a writer, and for what he writes', async () => {
    const { copying, pipe, settled } = await waiting();
    expect(settled()).toBe(false);
    const writer = await File.open(pipe, 'w');
    await submitted();
    expect(settled()).toBe(false);
    await writer.write(Buffer.from('late '));
    await writer.write(Buffer.from('but here'));
    await writer.close();
    await copying;
    expect(readFileSync(dest, 'utf8')).toBe('late but here');
  });

  it('copies nothing from a writer who goes without a word', async () => {
    const { copying, pipe } = await waiting();
    const writer = await File.open(pipe, 'w');
    await writer.close();
    await copying;
    expect(readFileSync(dest, 'utf8')).toBe('');
  });

  it('gives up by a signal, by cancel() and by a timeout, and leaves the target as it was', async () => {
    const before = openDescriptors();
    const stop = new AbortController();
    const signalled = await waiting({ signal: stop.signal });
    stop.abort('enough');
    await expect(signalled.copying).rejects.toMatchObject({ name: 'AbortError', cause: 'enough' });
    const again = copyFile(signalled.pipe, dest);
    await submitted();
    again.cancel('no');
    await expect(again).rejects.toMatchObject({ name: 'AbortError', cause: 'no' });
    await expect(copyFile(signalled.pipe, dest, { timeout: 20 })).rejects.toMatchObject({
      message: `ETIMEDOUT: the operation timed out after 20 ms, copyfile '${signalled.pipe}' -> '${dest}'`,
      code: 'ETIMEDOUT',
      syscall: 'copyfile',
      path: signalled.pipe,
      dest,
      bytesTransferred: 0,
    });
    expect(readFileSync(dest, 'utf8')).toBe('precious');
    await submitted();
    expect(openDescriptors()).toBe(before);
  });
});

describe('copyFile of a file with holes', () => {
  const MIB = 1 << 20;

  it.each([200_000, 8 * MIB])('keeps them (%i bytes)', async (size) => {
    sparseFile(src, size, { 0: 'begin', [size / 2]: 'middle' });
    await copyFile(src, dest);
    expect(readFileSync(dest).equals(readFileSync(src))).toBe(true);
    expect(room(dest)).toBeLessThanOrEqual(room(src));
  });

  it('keeps them over a file that has none', async () => {
    sparseFile(src, MIB, { 1000: 'x' });
    writeFileSync(dest, Buffer.alloc(2 * MIB, 1));
    await copyFile(src, dest);
    expect(readFileSync(dest).equals(readFileSync(src))).toBe(true);
    expect(room(dest)).toBeLessThanOrEqual(room(src));
  });

  it('copies one that is nothing but a hole, or ends with one', async () => {
    sparseFile(src, 3 * MIB + 5, {});
    await copyFile(src, dest);
    expect([statSync(dest).size, room(dest)]).toEqual([3 * MIB + 5, 0]);
    sparseFile(src, 3 * MIB + 5, { 0: 'x' });
    await copyFile(src, dest);
    expect(readFileSync(dest).equals(readFileSync(src))).toBe(true);
    expect(room(dest)).toBe(room(src));
  });

  it('copies more than 4 GiB', async () => {
    const size = 2 ** 32 + 2 ** 31 + 3;
    const places = [0, 2 ** 31 - 3, 2 ** 32 - 4, 2 ** 32 + 9, size - 7];
    sparseFile(src, size, Object.fromEntries(places.map((at, i) => [at, `mark ${i}`])));
    const told: unknown[] = [];
    await copyFile(src, dest, { progress: (...args) => told.push(args) });
    expect(statSync(dest).size).toBe(size);
    expect(room(dest)).toBeLessThanOrEqual(room(src));
    await using copy = await File.open(dest);
    const buffer = Buffer.alloc(6);
    for (const [i, at] of places.entries()) {
      await copy.read(buffer, at);
      expect(buffer.toString()).toBe(`mark ${i}`);
    }
    expect(told.at(-1)).toEqual([size, size]);
  });

  it("fills them with sparse: 'never'", async () => {
    sparseFile(src, MIB, { 5: 'x' });
    await copyFile(src, dest, { sparse: 'never' });
    expect(readFileSync(dest).equals(readFileSync(src))).toBe(true);
    expect(room(dest)).toBeGreaterThanOrEqual(MIB);
  });

  it("makes holes of zeros with sparse: 'always', also over a file that has none", async () => {
    const bytes = Buffer.alloc(2 * MIB + 77);
    bytes.write('begin', 3);
    bytes.write('middle', MIB + 4090);
    bytes.write('end', 2 * MIB + 70);
    writeFileSync(src, bytes);
    for (const again of [false, true]) {
      await copyFile(src, dest, { sparse: 'always' });
      expect(readFileSync(dest).equals(bytes), `again: ${again}`).toBe(true);
      expect(room(dest)).toBeLessThanOrEqual(5 * 4096);
      writeFileSync(dest, Buffer.alloc(3 * MIB, 1));
    }
  });
});

describe('copyFile fails as in Node', () => {
  const cases: Record<string, [prepare: () => void, from: string, to: string, mode?: number]> = {
    'nothing there': [() => {}, src, dest],
    'a directory to copy': [() => mkdirSync(src), src, dest],
    'a directory in the way': [() => [writeFileSync(src, 'x'), mkdirSync(dest)], src, dest],
    'no directory for it': [() => writeFileSync(src, 'x'), src, join(dir, 'no', 'dest')],
    'a file as a directory': [() => writeFileSync(src, 'x'), src, join(src, 'dest')],
    'there, and COPYFILE_EXCL': [
      () => [writeFileSync(src, 'x'), writeFileSync(dest, 'y')],
      src,
      dest,
      COPYFILE_EXCL,
    ],
    'a long file, there, and COPYFILE_EXCL': [
      () => [writeFileSync(src, Buffer.alloc(LONG)), writeFileSync(dest, 'y')],
      src,
      dest,
      COPYFILE_EXCL,
    ],
    'links in a circle': [() => symlinkSync('src', src), src, dest],
    'too long a name': [() => writeFileSync(src, 'x'), src, join(dir, 'x'.repeat(256))],
    COPYFILE_FICLONE: [() => writeFileSync(src, 'x'), src, dest, COPYFILE_FICLONE],
    COPYFILE_FICLONE_FORCE: [() => writeFileSync(src, 'x'), src, dest, COPYFILE_FICLONE_FORCE],
  };

  it.each(Object.entries(cases))('%s', async (_name, [prepare, from, to, bits]) => {
    const [theirs, ours] = await both(prepare, (copy) => copy(from, to, bits));
    expect(ours).toEqual(theirs);
  });

  it('and closes everything', async () => {
    writeFileSync(src, Buffer.alloc(LONG));
    const before = openDescriptors();
    await failure(copyFile(src, join(dir, 'no', 'dest')));
    await failure(copyFile(dir, dest));
    await failure(copyFile(src, dest, COPYFILE_FICLONE_FORCE | COPYFILE_EXCL)).catch(() => {});
    await submitted();
    expect(openDescriptors()).toBe(before);
  });

  it('leaves a target alone whose data cannot be shared, unless it had to be cut for that', async ({
    skip,
  }) => {
    writeFileSync(src, 'a long source');
    writeFileSync(dest, 'short');
    const error = await failure(copyFile(src, dest, { clone: 'always' })).catch(() => null);
    if (error === null) skip('the file system can share data');
    expect(readFileSync(dest, 'utf8')).toBe('short');
    writeFileSync(dest, 'a target that is longer');
    await failure(copyFile(src, dest, { clone: 'always' }));
    expect(existsSync(dest)).toBe(false);
  });

  it('leaves what was there where nothing has been done to it', async () => {
    writeFileSync(dest, 'precious');
    mkdirSync(src);
    expect((await failure(copyFile(src, dest))).code).toBe('EISDIR');
    expect(readFileSync(dest, 'utf8')).toBe('precious');
  });

  it('for arguments that make no sense, before anything is submitted', () => {
    const count = begun();
    const wrong = (...args: unknown[]): unknown =>
      thrown(() => (copyFile as (...args: unknown[]) => unknown)(...args)).code;
    expect(wrong(3, dest)).toBe('ERR_INVALID_ARG_TYPE');
    expect(wrong(src, null)).toBe('ERR_INVALID_ARG_TYPE');
    expect(wrong(src, 'a\0b')).toBe('ERR_INVALID_ARG_VALUE');
    expect(wrong(src, dest, 8)).toBe('ERR_OUT_OF_RANGE');
    expect(wrong(src, dest, { mode: 'x' })).toBe('ERR_INVALID_ARG_TYPE');
    expect(wrong(src, dest, 'x')).toBe('ERR_INVALID_ARG_TYPE');
    expect(wrong(src, dest, [])).toBe('ERR_INVALID_ARG_TYPE');
    expect(wrong(src, dest, { sparse: 'maybe' })).toBe('ERR_INVALID_ARG_VALUE');
    expect(wrong(src, dest, { clone: 'maybe' })).toBe('ERR_INVALID_ARG_VALUE');
    expect(wrong(src, dest, { progress: 1 })).toBe('ERR_INVALID_ARG_TYPE');
    expect(wrong(src, dest, { timeout: -1 })).toBe('ERR_OUT_OF_RANGE');
    expect(begun()).toBe(count);
  });
});

describe('copyFile on the way', () => {
  it('tells how far it is', async () => {
    writeFileSync(src, Buffer.alloc(20 << 20, 1));
    const told: number[] = [];
    await copyFile(src, dest, {
      progress: (copied, total) => {
        expect(total).toBe(20 << 20);
        told.push(copied);
      },
    });
    expect(told.length).toBeGreaterThanOrEqual(3);
    expect(told).toEqual(told.toSorted((a, b) => a - b));
    expect(told.at(-1)).toBe(20 << 20);
  });

  it('ends with what its progress throws, and half a copy is removed', async () => {
    writeFileSync(src, Buffer.alloc(20 << 20, 1));
    const before = openDescriptors();
    const copying = copyFile(src, dest, {
      progress: () => {
        throw new RangeError('enough');
      },
    });
    await expect(copying).rejects.toThrow('enough');
    expect([existsSync(dest), openDescriptors()]).toEqual([false, before]);
  });

  it('can be cancelled between two steps: half a copy is removed, the source is as it was', async () => {
    writeFileSync(src, Buffer.alloc(40 << 20, 1));
    const before = openDescriptors();
    let at = 0;
    const copying = copyFile(src, dest, {
      progress: (copied) => {
        at = copied;
        copying.cancel('enough');
      },
    });
    const error = await copying.catch((error) => error);
    expect(error).toMatchObject({ name: 'AbortError', cause: 'enough', bytesTransferred: at });
    expect([existsSync(dest), openDescriptors(), statSync(src).size]).toEqual([false, before, 40 << 20]);
  });

  it('has a timeout', async () => {
    const pipe = fifo(join(dir, 'pipe'));
    await using held = await File.open(pipe, 'r+'); // a writer that never writes
    const says = (ms: number): string =>
      `ETIMEDOUT: the operation timed out after ${ms} ms, copyfile '${pipe}' -> '${dest}'`;
    await expect(copyFile(pipe, dest, { timeout: 20 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      message: says(20),
    });
    await held.write(Buffer.from('something')); // and then nothing more
    // (So long that a busy machine has copied that much by then.)
    await expect(copyFile(pipe, dest, { timeout: 1500 })).rejects.toMatchObject({
      message: says(1500),
      bytesTransferred: 9,
    });
    expect(existsSync(dest)).toBe(false);
  });

  it.each(['auto', 'never'] as const)(
    'leaves nothing open, cancelled at any moment (sparse: %s)',
    async (sparse) => {
      const bytes = pattern(3 << 20);
      writeFileSync(src, bytes);
      const before = openDescriptors();
      const next = random(7);
      for (let i = 0; i < 60; i++) {
        const copying = copyFile(src, dest, { sparse });
        for (let turns = Math.floor(next() * 14); turns > 0; turns--) await submitted();
        copying.cancel();
        const outcome = await copying.then(
          () => 'done',
          ({ name }) => name,
        );
        // All of it or nothing.
        if (outcome === 'done') expect(readFileSync(dest).equals(bytes)).toBe(true);
        else expect([outcome, existsSync(dest)]).toEqual(['AbortError', false]);
        rmSync(dest, { force: true });
      }
      await submitted();
      expect(openDescriptors()).toBe(before);
      expect(readFileSync(src).equals(bytes)).toBe(true);
    },
  );

  it('refuses what is cancelled already', async () => {
    writeFileSync(src, 'x');
    await expect(copyFile(src, dest, { signal: AbortSignal.abort() })).rejects.toThrow('aborted');
    expect(existsSync(dest)).toBe(false);
  });
});

describe('copyFile where it cannot be done the fast way', () => {
  // Small files too, and with neither of the system calls: step by step, by reading and writing.
  it.each([
    'COPY_FILE',
    'COPY_FILE,COPY_FILE_RANGE,FICLONE',
    'COPY_FILE,COPY_FILE_RANGE,FICLONE,SPLICE,LSEEK',
  ])('without %s', async (OURO_WITHOUT) => {
    const program = `
        import { copyFile } from '@ouro/fs';
        import { readFileSync, writeFileSync, truncateSync, mkdirSync, statSync } from 'node:fs';
        const dir = process.argv[1];
        const sizes = [0, 1, 4096, 300_000, 2_000_000];
        for (const size of sizes) {
          const bytes = Buffer.from({ length: size }, (_, i) => i % 251);
          writeFileSync(dir + '/a', bytes, { mode: 0o640 });
          await copyFile(dir + '/a', dir + '/b');
          if (!readFileSync(dir + '/b').equals(bytes)) throw new Error('other bytes: ' + size);
          await copyFile(dir + '/a', dir + '/a');
          if (!readFileSync(dir + '/a').equals(bytes)) throw new Error('itself: ' + size);
        }
        await copyFile('/proc/self/mountinfo', dir + '/b');
        if (readFileSync(dir + '/b').length === 0) throw new Error('empty');
        try { await copyFile(dir + '/none', dir + '/c'); } catch (error) { console.log(error.message); }
        console.log('done');`;
    const { stdout, stderr } = await runProgram(program, { args: [dir], env: { OURO_WITHOUT } });
    expect(stderr).toBe('');
    expect(stdout).toBe(`ENOENT: no such file or directory, copyfile '${dir}/none' -> '${dir}/c'\ndone\n`);
  });

  it('between file systems', async ({ skip }) => {
    if (!existsSync('/dev/shm') || statSync('/dev/shm').dev === statSync(dir).dev) skip('there is only one');
    const there = `/dev/shm/ouro-copy-${process.pid}`;
    try {
      writeFileSync(src, pattern(5_000_000));
      await copyFile(src, there);
      await copyFile(there, dest);
      expect(readFileSync(dest).equals(pattern(5_000_000))).toBe(true);
      sparseFile(src, 4 << 20, { 1000000: 'x' });
      await copyFile(src, there);
      expect(readFileSync(there).equals(readFileSync(src))).toBe(true);
      expect(room(there)).toBeLessThanOrEqual(room(src));
    } finally {
      rmSync(there, { force: true });
    }
  });
});

describe('copyFile where there is no room', () => {
  it.for([900_000, 40_000])(
    'fails with ENOSPC (%i bytes free before) and leaves no half file',
    async (taken, { skip }) => {
      const mount = join(root, 'small');
      mkdirSync(mount, { recursive: true });
      try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', mount], { stdio: 'pipe' });
      } catch {
        skip('mounting a tmpfs is not permitted here');
      }
      try {
        writeFileSync(join(mount, 'other'), Buffer.alloc(taken, 1));
        for (const size of [(1 << 20) - taken + 5000, 3 << 20]) {
          writeFileSync(src, pattern(size));
          const before = openDescriptors();
          expect(await failure(copyFile(src, join(mount, 'copy')))).toMatchObject({
            message: `ENOSPC: no space left on device, copyfile '${src}' -> '${join(mount, 'copy')}'`,
            code: 'ENOSPC',
            syscall: 'copyfile',
          });
          expect(existsSync(join(mount, 'copy'))).toBe(false);
          expect(openDescriptors()).toBe(before);
          expect(readFileSync(join(mount, 'other')).equals(Buffer.alloc(taken, 1))).toBe(true);
        }
        execFileSync('mount', ['-o', 'remount,ro', mount], { stdio: 'pipe' });
        expect((await failure(copyFile(src, join(mount, 'copy')))).code).toBe('EROFS');
      } finally {
        execFileSync('umount', [mount]);
      }
    },
  );
});
