import { execFileSync } from 'node:child_process';
import { closeSync, createReadStream, openSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { ChunkLease, File } from '@ouro/fs';
import { AbortError, BufferPool } from '@ouro/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { root, runProgram } from '../../../testing/program.ts';
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
const path = join(dir, 'file');
/** Different in every byte from what lies a chunk further on. */
const CONTENT = Buffer.from(Array.from({ length: 100_003 }, (_, i) => (i * 31 + (i >> 8) * 7) & 0xff));
writeFileSync(path, CONTENT);

let pipes = 0;
/** A pipe that is open at both ends: what is written to `peer` is read from the file. */
async function openPipe(): Promise<{ readonly file: File; readonly peer: number }> {
  const name = fifo(join(dir, `pipe-${pipes++}`));
  const file = await File.open(name, 'r+');
  return { file, peer: openSync(name, 'r+') };
}

async function all(loop: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of loop) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function* one(loop: AsyncIterable<Buffer[]>): AsyncGenerator<Buffer> {
  for await (const batch of loop) yield* batch;
}

async function* copies(loop: AsyncIterable<ChunkLease>): AsyncGenerator<Buffer> {
  for await (using lease of loop) yield lease.copy();
}

/** Numbers from 0 to 1 that are the same each time. */
function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function lengths(loop: AsyncIterable<Buffer>): Promise<number[]> {
  const found: number[] = [];
  for await (const { length } of loop) found.push(length);
  return found;
}

describe('a loop over a file', () => {
  it('brings all of it, in order', async () => {
    await using file = await File.open(path);
    expect((await all(file)).equals(CONTENT)).toBe(true);
  });

  it.each([1, 7, 1000, 4096, 65_536, 100_002, 100_003, 100_004, 1 << 20])(
    'brings chunks of %i bytes, the last one shorter',
    async (size) => {
      await using file = await File.open(path);
      const chunks: Buffer[] = [];
      const end = size === 1 ? 99 : CONTENT.length - 1;
      for await (const chunk of file.chunks({ size, start: 0, end })) chunks.push(chunk);
      expect(Buffer.concat(chunks).equals(CONTENT.subarray(0, end + 1))).toBe(true);
      for (const { length } of chunks.slice(0, -1)) expect(length).toBe(size);
    },
  );

  it.each([1, 2, 3, 16, 1024])('brings the same with %i reads ahead', async (ahead) => {
    await using file = await File.open(path);
    expect((await all(file.chunks({ size: 1000, ahead }))).equals(CONTENT)).toBe(true);
  });

  it('brings nothing of an empty file', async () => {
    const empty = join(dir, 'empty');
    writeFileSync(empty, '');
    await using file = await File.open(empty);
    expect(await lengths(file)).toEqual([]);
  });

  it('keeps reads in flight while its body works', async () => {
    await using file = await File.open(path);
    const before = begun();
    for await (const _ of file.chunks({ size: 1000, ahead: 8 })) break;
    // The first and those ahead of it; leaving the loop cancels what is not done.
    expect(begun() - before).toBeGreaterThanOrEqual(8);
    expect(begun() - before).toBeLessThan(20);
  });

  it('reads nothing before it is asked for', async () => {
    await using file = await File.open(path);
    const before = begun();
    file.chunks();
    file.chunks()[Symbol.asyncIterator]();
    await submitted();
    expect(begun() - before).toBe(1);
  });

  it('goes on from where the file stands, which moves on', async () => {
    await using file = await File.open(path);
    await file.read(Buffer.alloc(10));
    expect((await all(file)).equals(CONTENT.subarray(10))).toBe(true);
    expect(descriptorInfo(file.fd).pos).toBe(CONTENT.length);
    expect(await lengths(file)).toEqual([]);
  });

  it('leaves the file standing behind the last chunk when it is left early', async () => {
    await using file = await File.open(path);
    for await (const chunk of file.chunks({ size: 1000 })) {
      expect(chunk.equals(CONTENT.subarray(0, 1000))).toBe(true);
      break;
    }
    expect(descriptorInfo(file.fd).pos).toBe(1000);
    const rest = Buffer.alloc(5);
    await file.read(rest);
    expect(rest.equals(CONTENT.subarray(1000, 1005))).toBe(true);
    expect((await all(file)).equals(CONTENT.subarray(1005))).toBe(true);
  });

  it('leaves the file open, and nothing in flight, when its body throws', async () => {
    await using file = await File.open(path);
    const loop = async (): Promise<void> => {
      for await (const _ of file.chunks({ size: 100 })) throw new Error('mine');
    };
    await expect(loop()).rejects.toThrow('mine');
    expect(file.descriptor.idle).toBe(true);
    expect((await file.stat()).size).toBe(CONTENT.length);
  });

  it('of another part leaves the position of the file alone', async () => {
    await using file = await File.open(path);
    expect((await all(file.chunks({ start: 50_000, size: 999 }))).equals(CONTENT.subarray(50_000))).toBe(
      true,
    );
    expect(descriptorInfo(file.fd).pos).toBe(0);
  });

  it.each([
    [0, 0],
    [0, 999],
    [1000n, 1999n],
    [99_999, 200_000],
    [100_003, 200_000],
    [5, Number.POSITIVE_INFINITY],
  ])('from byte %s to byte %s has both of them', async (start, end) => {
    await using file = await File.open(path);
    const last = Math.min(Number(end) + 1, CONTENT.length);
    const found = await all(file.chunks({ start, end, size: 333 }));
    expect(found.equals(CONTENT.subarray(Number(start), last))).toBe(true);
  });

  it('with an end and no start reads from where the file stands', async () => {
    await using file = await File.open(path);
    await file.read(Buffer.alloc(10));
    expect((await all(file.chunks({ end: 19 }))).equals(CONTENT.subarray(10, 20))).toBe(true);
  });

  it('beside another over the same file brings each all of it', async () => {
    await using file = await File.open(path);
    const found = await Promise.all(
      [3, 1000, 777].map((size) => all(file.chunks({ size: size * 3, start: 0 }))),
    );
    for (const each of found) expect(each.equals(CONTENT)).toBe(true);
  });

  it('brings what createReadStream brings, whatever part, size and depth', async () => {
    const random = mulberry(20_261_121);
    for (let round = 0; round < 60; round++) {
      const length = Math.floor(random() * 20_000);
      const some = join(dir, 'some');
      writeFileSync(some, CONTENT.subarray(0, length));
      const start = Math.floor(random() * (length + 10));
      const end = random() < 0.3 ? Number.POSITIVE_INFINITY : start + Math.floor(random() * length);
      const options = {
        start,
        end,
        size: 1 + Math.floor(random() * 3000),
        ahead: 1 + Math.floor(random() * 9),
      };
      const theirs = await all(createReadStream(some, { start, end }));
      await using file = await File.open(some);
      const way = [
        file.chunks(options),
        one(file.batches(options)),
        copies(file.chunks({ ...options, lease: true })),
      ];
      for (const ours of way)
        expect({ ...options, same: (await all(ours)).equals(theirs) }).toEqual({ ...options, same: true });
    }
  });

  it('can be written by hand: calls of next() are answered in order', async () => {
    await using file = await File.open(path);
    const loop = file.chunks({ size: 40_000 });
    const answers = await Promise.all([loop.next(), loop.next(), loop.next(), loop.next(), loop.next()]);
    expect(answers.map(({ done, value }) => done || value?.length)).toEqual([
      40_000,
      40_000,
      20_003,
      true,
      true,
    ]);
  });

  it('that has been left brings nothing more', async () => {
    await using file = await File.open(path);
    const loop = file.chunks({ size: 10 });
    await loop.next();
    await loop.return?.();
    expect(await loop.next()).toEqual({ done: true, value: undefined });
    expect(await loop.return?.()).toEqual({ done: true, value: undefined });
  });

  it('ends where the file ends although that has shrunk meanwhile', async () => {
    const shrinking = join(dir, 'shrinking');
    writeFileSync(shrinking, CONTENT);
    await using file = await File.open(shrinking);
    let found = 0;
    for await (const { length } of file.chunks({ size: 1000, ahead: 2 })) {
      found += length;
      truncateSync(shrinking, 20_500);
    }
    expect(found).toBe(20_500);
  });

  it('brings what is appended meanwhile', async () => {
    const growing = join(dir, 'growing');
    writeFileSync(growing, 'one,');
    await using file = await File.open(growing);
    const found: string[] = [];
    for await (const chunk of file) {
      found.push(chunk.toString());
      if (found.length < 3) writeFileSync(growing, 'more,', { flag: 'a' });
    }
    expect(found.join('')).toMatch(/^one,(more,){2}$/);
  });

  it('does not skip bytes where a chunk was short because the file was growing', async () => {
    const growing = join(dir, 'growing-fast');
    writeFileSync(growing, CONTENT.subarray(0, 1500));
    await using file = await File.open(growing);
    const found: Buffer[] = [];
    for await (const chunk of file.chunks({ size: 1000, ahead: 4 })) {
      found.push(chunk);
      if (found.length === 1) writeFileSync(growing, CONTENT);
    }
    expect(Buffer.concat(found).equals(CONTENT)).toBe(true);
  });

  it('of a sparse file beyond 4 GiB reads at its positions', async () => {
    const sparse = join(dir, 'sparse');
    await using file = await File.open(sparse, 'w+');
    const start = 2 ** 32 + 123;
    await file.write('here it is', start);
    expect((await all(file.chunks({ start }))).toString()).toBe('here it is');
    expect((await all(file.chunks({ start: start - 2, end: start + 3 }))).toString()).toBe('\0\0here');
  });
});

describe('a chunk', () => {
  it('is the caller’s: it has memory of its own and keeps its bytes', async () => {
    await using file = await File.open(path);
    const chunks: Buffer[] = [];
    for await (const chunk of file.chunks({ size: 10_000, start: 0 })) chunks.push(chunk);
    expect(new Set(chunks.map(({ buffer }) => buffer)).size).toBe(chunks.length);
    for (const chunk of chunks.slice(1)) chunk.fill(0);
    expect(chunks[0]?.equals(CONTENT.subarray(0, 10_000))).toBe(true);
  });

  it('can be transferred to another thread', async () => {
    await using file = await File.open(path);
    for await (const chunk of file.chunks({ size: 50_000 })) {
      const moved = structuredClone(chunk.buffer, { transfer: [chunk.buffer as ArrayBuffer] });
      expect([chunk.length, moved.byteLength]).toEqual([0, 50_000]);
      break;
    }
  });

  it('does not hold much more memory than it has bytes', async () => {
    const { file, peer } = await openPipe();
    writeSync(peer, 'little');
    const { value } = await file.chunks({ size: 1 << 20 }).next();
    expect([value?.toString(), value?.buffer.byteLength]).toEqual(['little', 6]);
    closeSync(peer);
    await file.close();
  });
});

describe('what is no regular file', () => {
  it('brings what a pipe has, as it comes', async () => {
    const { file, peer } = await openPipe();
    const loop = file[Symbol.asyncIterator]();
    writeSync(peer, 'one');
    expect((await loop.next()).value?.toString()).toBe('one');
    const waiting = loop.next();
    await submitted();
    writeSync(peer, 'two');
    expect((await waiting).value?.toString()).toBe('two');
    closeSync(peer);
    await file.close();
  });

  it('ends when the writers of a pipe have gone', async () => {
    const name = fifo(join(dir, `pipe-${pipes++}`));
    const [file, peer] = await Promise.all([File.open(name), File.open(name, 'w')]);
    const writing = peer.write(CONTENT).then(() => peer.close());
    expect((await all(file)).equals(CONTENT)).toBe(true);
    await writing;
    await file.close();
  });

  it('is not read ahead of the loop: what a pipe has stays there when the loop is left', async () => {
    const { file, peer } = await openPipe();
    writeSync(peer, 'onetwo');
    for await (const chunk of file.chunks({ size: 3 })) {
      expect(chunk.toString()).toBe('one');
      await submitted();
      break;
    }
    const rest = Buffer.alloc(10);
    expect(rest.toString('utf8', 0, await file.read(rest))).toBe('two');
    closeSync(peer);
    await file.close();
  });

  it('answers several next() in order', async () => {
    const { file, peer } = await openPipe();
    const loop = file.chunks({ size: 3 });
    const answers = Promise.all([loop.next(), loop.next(), loop.next()]);
    await submitted();
    writeSync(peer, 'onetwo');
    await submitted();
    writeSync(peer, 'six');
    expect((await answers).map(({ value }) => value?.toString())).toEqual(['one', 'two', 'six']);
    closeSync(peer);
    await file.close();
  });

  it('may be in /proc', async () => {
    await using file = await File.open('/proc/self/status');
    expect((await all(file.chunks({ size: 100 }))).toString()).toMatch(/^Name:\t.*\nPid:\t.*\n$/s);
  });

  it('may be in /proc and be read from the middle', async () => {
    await using file = await File.open('/proc/self/status');
    expect((await all(file.chunks({ start: 4, end: 5 }))).toString()).toBe(':\t');
  });

  it('may be in /sys, where files say they are longer than they are', async () => {
    await using file = await File.open('/sys/kernel/mm/transparent_hugepage/enabled');
    expect((await all(file)).toString()).toContain('never');
  });

  it('may be without end', async () => {
    await using file = await File.open('/dev/zero');
    let found = 0;
    for await (const chunk of file.chunks({ size: 1000, end: 12_345 })) found += chunk.length;
    expect(found).toBe(12_346);
  });

  it('may be a socket', async () => {
    // What Node gives its children for standard input is one.
    const { stdout, stderr } = await runProgram(
      `import { fstatSync } from 'node:fs';
      import { File } from '@ouro/fs';
      const chunks = [];
      for await (const chunk of File.fromFd(0)) chunks.push(chunk);
      console.log(fstatSync(0).isSocket(), Buffer.concat(chunks).length);`,
      { input: 'x'.repeat(300_000) },
    );
    expect({ stdout, stderr }).toEqual({ stdout: 'true 300000\n', stderr: '' });
  });

  it('may be a terminal', async () => {
    const text = execFileSync(
      'script',
      [
        '-qec',
        `${process.execPath} --input-type=module -e "
      import { File } from '@ouro/fs';
      for await (const chunk of File.fromFd(0)) { process.stdout.write('got ' + chunk.toString().trim()); break; }
      process.exit(0);
    "`,
        '/dev/null',
      ],
      { input: 'typed\n', cwd: root, env: { ...process.env, NODE_OPTIONS: '' } },
    );
    expect(text.toString()).toContain('got typed');
  });

  it('fails with ESPIPE where it has no positions and a start is given', async () => {
    const { file, peer } = await openPipe();
    expect(await failure(all(file.chunks({ start: 5 })))).toMatchObject({
      message: 'ESPIPE: invalid seek, read',
      code: 'ESPIPE',
      syscall: 'read',
    });
    closeSync(peer);
    await file.close();
  });

  it('fails with EISDIR where it is a directory', async () => {
    await using file = await File.open(dir);
    const loop = file.chunks();
    expect(await failure(loop.next())).toMatchObject({ code: 'EISDIR', errno: -21, syscall: 'read' });
    expect(await loop.next()).toEqual({ done: true, value: undefined });
  });
});

describe('batches', () => {
  it('bring all of the file, several chunks at once', async () => {
    await using file = await File.open(path);
    const batches: Buffer[][] = [];
    for await (const batch of file.batches({ size: 1000, ahead: 8 })) batches.push(batch);
    expect(Buffer.concat(batches.flat()).equals(CONTENT)).toBe(true);
    for (const batch of batches) {
      expect(batch.length).toBeGreaterThan(0);
      expect(batch.length).toBeLessThanOrEqual(8);
    }
    expect(batches.length).toBeLessThan(101);
  });

  it('leave the file standing behind the last one', async () => {
    await using file = await File.open(path);
    for await (const batch of file.batches({ size: 1000 })) {
      expect(descriptorInfo(file.fd).pos).toBe(batch.length * 1000);
      break;
    }
  });

  it('bring leases as well', async () => {
    await using file = await File.open(path);
    const found: Buffer[] = [];
    for await (const batch of file.batches({ size: 1000, lease: true })) {
      for (const lease of batch) {
        found.push(lease.copy());
        lease.release();
      }
    }
    expect(Buffer.concat(found).equals(CONTENT)).toBe(true);
  });
});

describe('leases', () => {
  it('bring all of the file, in memory that is used again', async () => {
    await using file = await File.open(path);
    const buffers = new Set<unknown>();
    const found: Buffer[] = [];
    for await (using lease of file.chunks({ size: 1000, lease: true })) {
      expect(lease).toBeInstanceOf(ChunkLease);
      buffers.add(lease.buffer.buffer);
      found.push(lease.copy());
    }
    expect(Buffer.concat(found).equals(CONTENT)).toBe(true);
    expect(buffers.size).toBe(1);
  });

  it('cannot be used once released', async () => {
    await using file = await File.open(path);
    for await (const lease of file.chunks({ lease: true })) {
      lease.release();
      lease.release();
      expect(lease.released).toBe(true);
      expect(thrown(() => lease.buffer).code).toBe('ERR_INVALID_STATE');
      expect(thrown(() => lease.copy()).code).toBe('ERR_INVALID_STATE');
    }
  });

  it('may be of a pool of the caller’s, registered with the ring', async () => {
    using pool = new BufferPool({ count: 3, size: 4096 });
    await using file = await File.open(path);
    const found: Buffer[] = [];
    for await (using lease of file.chunks({ pool, lease: true, ahead: 16 })) found.push(lease.copy());
    expect(Buffer.concat(found).equals(CONTENT)).toBe(true);
    expect(found.map(({ length }) => length).slice(0, 3)).toEqual([4096, 4096, 4096]);
    expect(pool.available).toBe(3);
  });

  it('of which all are lent make the loop wait', async () => {
    using pool = new BufferPool({ count: 2, size: 1000 });
    await using file = await File.open(path);
    const loop = file.chunks({ pool, lease: true });
    const first = await loop.next();
    const second = await loop.next();
    let came = false;
    const third = loop.next().then((answer) => {
      came = true;
      return answer;
    });
    await submitted();
    expect(came).toBe(false);
    second.value?.release();
    expect((await third).value?.buffer.equals(CONTENT.subarray(2000, 3000))).toBe(true);
    expect(first.value?.buffer.equals(CONTENT.subarray(0, 1000))).toBe(true);
    first.value?.release();
    (await third).value?.release();
    await loop.return?.();
    expect(pool.available).toBe(2);
  });

  it('that are waited for do not keep the file from being closed', async () => {
    using pool = new BufferPool({ count: 1, size: 1000 });
    const file = await File.open(path);
    const loop = file.chunks({ pool, lease: true });
    const { value } = await loop.next();
    const waiting = failure(loop.next());
    await submitted();
    await file.close();
    expect(await waiting).toMatchObject({ code: 'ECANCELED', syscall: 'read' });
    value?.release();
    await submitted();
    expect(pool.available).toBe(1);
  });

  it('of a pool that is closed end the loop with EBADF', async () => {
    const pool = new BufferPool({ count: 1, size: 1000 });
    await using file = await File.open(path);
    const loop = file.chunks({ pool, lease: true });
    const { value } = await loop.next();
    const waiting = failure(loop.next());
    pool.close();
    expect(await waiting).toMatchObject({ code: 'EBADF' });
    value?.release();
    expect(await loop.next()).toEqual({ done: true, value: undefined });
  });

  it('that nobody got are given back when the loop is left', async () => {
    using pool = new BufferPool({ count: 8, size: 1000 });
    await using file = await File.open(path);
    for await (using _ of file.chunks({ pool, lease: true, ahead: 8 })) break;
    expect(pool.available).toBe(8);
  });

  it('outlive their loop and their file', async () => {
    const file = await File.open(path);
    const { value } = await file.chunks({ size: 1000, lease: true }).next();
    await file.close();
    await using other = await File.open(path);
    for await (using _ of other.chunks({ size: 1000, lease: true, start: 5000 }));
    expect(value?.buffer.equals(CONTENT.subarray(0, 1000))).toBe(true);
    value?.release();
  });
});

describe('a loop that is cancelled', () => {
  it('by a signal ends with an AbortError, and with nothing in flight', async () => {
    const { file, peer } = await openPipe();
    const controller = new AbortController();
    const loop = file.chunks({ signal: controller.signal });
    const waiting = loop.next();
    await submitted();
    controller.abort('enough');
    const error = await waiting.catch((error: unknown) => error);
    expect(error).toBeInstanceOf(AbortError);
    expect(error).toMatchObject({ code: 'ABORT_ERR', cause: 'enough' });
    expect(file.descriptor.idle).toBe(true);
    expect(await loop.next()).toEqual({ done: true, value: undefined });
    closeSync(peer);
    await file.close();
  });

  it('by a signal between two chunks ends at the next', async () => {
    await using file = await File.open(path);
    const controller = new AbortController();
    let count = 0;
    const loop = async (): Promise<void> => {
      for await (const _ of file.chunks({ size: 1000, signal: controller.signal })) {
        count++;
        controller.abort();
      }
    };
    await expect(loop()).rejects.toMatchObject({ code: 'ABORT_ERR' });
    expect([count, descriptorInfo(file.fd).pos]).toEqual([1, 1000]);
  });

  it('by a signal that has aborted before reads nothing', async () => {
    await using file = await File.open(path);
    const before = begun();
    const loop = file.chunks({ signal: AbortSignal.abort() });
    expect(await failure(loop.next())).toMatchObject({ code: 'ABORT_ERR' });
    expect(begun()).toBe(before);
  });

  it('by a timeout ends with ETIMEDOUT', async () => {
    const { file, peer } = await openPipe();
    const loop = file.chunks({ timeout: 5 });
    expect(await failure(loop.next())).toMatchObject({ code: 'ETIMEDOUT' });
    closeSync(peer);
    await file.close();
  });

  it('by File.cancel ends with an AbortError', async () => {
    const { file, peer } = await openPipe();
    const waiting = failure(file.chunks().next());
    await submitted();
    file.cancel('stop');
    expect(await waiting).toMatchObject({ code: 'ABORT_ERR' });
    closeSync(peer);
    await file.close();
  });

  it('loses no byte of a pipe: what was quicker is handed out', async () => {
    const { file, peer } = await openPipe();
    let found = '';
    for (let round = 0; round < 100; round++) {
      const loop = file.chunks();
      const waiting = loop.next();
      if (round % 2 === 0) await submitted();
      writeSync(peer, 'x');
      file.cancel();
      const answer = await waiting.catch(() => null);
      if (answer === null) {
        const rest = Buffer.alloc(1);
        await file.read(rest);
        found += rest.toString();
      } else found += answer.value?.toString();
    }
    expect(found).toBe('x'.repeat(100));
    closeSync(peer);
    await file.close();
  });

  it('by return() while it waits ends at once', async () => {
    const { file, peer } = await openPipe();
    const loop = file.chunks();
    const waiting = loop.next();
    await submitted();
    await loop.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });
    writeSync(peer, 'still there');
    const rest = Buffer.alloc(20);
    expect(await file.read(rest)).toBe(11);
    closeSync(peer);
    await file.close();
  });
});

describe('a file that is closed under its loop', () => {
  it('makes it fail with ECANCELED while it waits', async () => {
    const { file, peer } = await openPipe();
    const waiting = failure(file.chunks().next());
    await submitted();
    await file.close();
    expect(await waiting).toMatchObject({
      message: 'ECANCELED: operation canceled, read',
      code: 'ECANCELED',
      syscall: 'read',
    });
    closeSync(peer);
  });

  it('makes it fail in between, so that this is not taken for the end', async () => {
    const file = await File.open(path);
    const loop = async (): Promise<void> => {
      for await (const _ of file.chunks({ size: 1000 })) await file.close();
    };
    expect(await failure(loop())).toMatchObject({
      syscall: 'read',
      code: expect.stringMatching(/ECANCELED|EBADF/),
    });
  });

  it('makes a loop that begins afterwards fail with EBADF', async () => {
    const file = await File.open(path);
    await file.close();
    expect(await failure(all(file))).toMatchObject({
      message: 'EBADF: bad file descriptor, read',
      code: 'EBADF',
    });
  });

  it('leaves no descriptor behind', async () => {
    await submitted();
    const before = openDescriptors();
    for (let round = 0; round < 50; round++) {
      const file = await File.open(path);
      const loop = file.chunks({ size: 1000 });
      const waiting = loop.next().catch(() => {});
      await file.close();
      await waiting;
    }
    expect(openDescriptors()).toBe(before);
  });
});

describe('bad arguments are refused at once', () => {
  const file = File.open(path);
  afterAll(async () => (await file).close());
  it.each([
    ['size', 0, 'ERR_OUT_OF_RANGE'],
    ['size', 2 ** 31, 'ERR_OUT_OF_RANGE'],
    ['size', '1', 'ERR_INVALID_ARG_TYPE'],
    ['ahead', 0, 'ERR_OUT_OF_RANGE'],
    ['ahead', 1.5, 'ERR_OUT_OF_RANGE'],
    ['start', -1, 'ERR_OUT_OF_RANGE'],
    ['start', 'x', 'ERR_INVALID_ARG_TYPE'],
    ['end', -1, 'ERR_OUT_OF_RANGE'],
    ['end', 'x', 'ERR_INVALID_ARG_TYPE'],
    ['lease', 1, 'ERR_INVALID_ARG_TYPE'],
    ['timeout', -1, 'ERR_OUT_OF_RANGE'],
    ['signal', {}, 'ERR_INVALID_ARG_TYPE'],
  ])('options.%s = %s', async (name, value, code) => {
    const opened = await file;
    const error = thrown(() => opened.chunks({ [name]: value } as never));
    expect(error).toMatchObject({ code, message: expect.stringContaining(`options.${name}`) });
    expect(thrown(() => opened.batches({ [name]: value } as never)).code).toBe(code);
  });

  it('an end before the start', async () => {
    const opened = await file;
    expect(thrown(() => opened.chunks({ start: 5, end: 4 }))).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
  });

  it('options and pools that are none', async () => {
    const opened = await file;
    expect(thrown(() => opened.chunks('utf8' as never)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrown(() => opened.chunks({ lease: true, pool: {} as never })).code).toBe('ERR_INVALID_ARG_TYPE');
  });
});
