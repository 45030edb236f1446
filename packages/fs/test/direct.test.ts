import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Alignment, File } from '@ouro/fs';
import { BufferPool } from '@ouro/runtime';
import { describe, expect, it, type TestContext } from 'vitest';
import { polls } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';
import { failure, fifo, openDescriptors, submitted, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
const content = Buffer.alloc(10_000, 'what the device holds');
writeFileSync(path, content);

/** A file open for direct I/O and a pool of buffers for it; skips where the file system of the tests cannot. */
async function opened(
  { skip }: TestContext,
  name: string = path,
  flags: 'r' | 'w+' = 'r',
): Promise<{ file: File; alignment: Alignment; pool: BufferPool }> {
  const file = await File.open(name, flags, { direct: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EINVAL') throw error;
    return null;
  });
  if (file === null || file.alignment === null) return skip('this file system has no direct I/O');
  return { file, alignment: file.alignment, pool: new BufferPool({ count: 4, size: 16_384 }) };
}

describe('a file opened with direct', () => {
  it('says how memory and positions must be aligned', async (context) => {
    const { file, alignment } = await opened(context);
    expect(Math.log2(alignment.memory) % 1).toBe(0);
    expect(Math.log2(alignment.offset) % 1).toBe(0);
    expect(4096 % alignment.offset).toBe(0);
    await file.close();
    await using plain = await File.open(path);
    expect(plain.alignment).toBeNull();
  });

  it('is open with O_DIRECT', async (context) => {
    const { file } = await opened(context);
    const flags = Number.parseInt(
      /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${file.fd}`, 'utf8'))?.[1] ?? '',
      8,
    );
    expect(flags & 0o40000).not.toBe(0);
    await file.close();
  });

  it('reads into buffers of a pool, and less at the end of a file of any length', async (context) => {
    const { file, pool } = await opened(context);
    using lease = pool.lease();
    expect(await file.read(lease.buffer, 0)).toBe(10_000);
    expect(lease.buffer.subarray(0, 10_000).equals(content)).toBe(true);
    expect(await file.read(lease.buffer, 8192)).toBe(10_000 - 8192);
    expect(await file.read(lease.buffer, 12_288)).toBe(0);
    await file.close();
  });

  it('reads into several buffers at once', async (context) => {
    const { file, pool } = await opened(context);
    using one = pool.lease();
    using two = pool.lease();
    const parts = [one.buffer.subarray(0, 4096), two.buffer.subarray(0, 8192)];
    expect(await file.readv(parts, 0)).toBe(10_000);
    expect(Buffer.concat(parts).subarray(0, 10_000).equals(content)).toBe(true);
    await file.close();
  });

  it('writes whole blocks; truncate cuts off what is too much', async (context) => {
    const name = join(dir, 'written');
    const { file, pool } = await opened(context, name, 'w+');
    using lease = pool.lease();
    lease.buffer.fill('x');
    expect(await file.write(lease.buffer, 0)).toBe(16_384);
    await file.truncate(10_001);
    await file.close();
    expect(readFileSync(name).equals(Buffer.alloc(10_001, 'x'))).toBe(true);
  });

  it('refuses memory, lengths and positions that do not fit before anything is begun', async (context) => {
    const { file, pool, alignment } = await opened(context);
    using lease = pool.lease();
    const { buffer } = lease;
    const code = 'ERR_INVALID_ARG_VALUE';
    const address = thrown(() => file.read(buffer.subarray(1, 1 + alignment.offset), 0));
    expect(address).toMatchObject({ name: 'TypeError', code });
    expect(address.message).toContain(
      `'buffer' must begin at an address that is a multiple of ${alignment.memory}`,
    );
    const length = thrown(() => file.read(buffer.subarray(0, 100), 0));
    expect(length).toMatchObject({ code });
    expect(length.message).toContain(
      `must be a multiple of ${alignment.offset} bytes long for direct I/O on this file. Received 100 bytes`,
    );
    const position = thrown(() => file.read(buffer, 100));
    expect(position).toMatchObject({ code });
    expect(position.message).toContain(`'position' must be a multiple of ${alignment.offset}`);
    expect(thrown(() => file.write(buffer.subarray(0, 1), 0)).message).toContain("'data'");
    expect(thrown(() => file.readv([buffer.subarray(0, 1)], 0)).message).toContain("'buffers'");
    expect(thrown(() => file.writev([buffer.subarray(0, 1)], 0)).message).toContain("'buffers'");
    await file.close();
  });

  it('refuses memory that may move', async (context) => {
    const { file } = await opened(context);
    const resizable = Reflect.construct(ArrayBuffer, [4096, { maxByteLength: 8192 }]) as ArrayBuffer;
    expect(thrown(() => file.read(new Uint8Array(resizable), 0)).message).toContain('stays in place');
    await file.close();
  });

  it('fails as any open does, and leaves nothing open', async () => {
    await submitted();
    const before = openDescriptors();
    expect(await failure(File.open(join(dir, 'none'), 'r', { direct: true }))).toMatchObject({
      code: 'ENOENT',
      syscall: 'open',
      path: join(dir, 'none'),
    });
    const opening = File.open(path, 'r', { direct: true });
    opening.cancel();
    await opening.then((file) => file.close()).catch(() => {});
    await submitted();
    expect(openDescriptors()).toBe(before);
    // @ts-expect-error: a boolean
    expect(thrown(() => File.open(path, 'r', { direct: 1 }))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
  });

  it('on a tmpfs is refused with EINVAL, or works with the alignment of any device', async ({ skip }) => {
    const mount = join(dir, 'memory');
    mkdirSync(mount);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', mount], { stdio: 'pipe' });
    } catch (error) {
      skip(`mounting a tmpfs is not permitted here: ${String(error)}`);
    }
    try {
      const name = join(mount, 'file');
      writeFileSync(name, content);
      const opening = await File.open(name, 'r', { direct: true }).catch(
        (error: NodeJS.ErrnoException) => error,
      );
      if (opening instanceof Error) expect(opening).toMatchObject({ code: 'EINVAL', syscall: 'open' });
      else {
        expect(opening.alignment).toEqual({ memory: 4096, offset: 4096 });
        using pool = new BufferPool({ count: 1, size: 16_384 });
        using lease = pool.lease();
        expect(await opening.read(lease.buffer, 0)).toBe(statSync(name).size);
        await opening.close();
      }
    } finally {
      execFileSync('umount', [mount]);
    }
  });
});

describe('a file opened with direct, read from one end to the other', () => {
  const LENGTHS = [1, 4095, 4096, 4097, 131_072, 262_144, 300_001];

  it.each(LENGTHS)(
    'brings all of its %i bytes, as chunks, leases, lines, a stream and a whole',
    async (length) => {
      const name = join(dir, `long-${length}`);
      const all = Buffer.from(
        Array.from({ length: Math.ceil(length / 8) }, (_, i) => `${i}`.padStart(7, ' ')).join('\n'),
      ).subarray(0, length);
      writeFileSync(name, all);
      const context = { skip: (): never => undefined as never } as unknown as TestContext;
      const { file } = await opened(context, name);
      const whole = async (pieces: AsyncIterable<Uint8Array>): Promise<Buffer> => {
        const found: Uint8Array[] = [];
        for await (const piece of pieces) found.push(Buffer.from(piece));
        return Buffer.concat(found);
      };
      async function* copies(): AsyncGenerator<Buffer> {
        for await (const lease of file.chunks({ lease: true, start: 0 })) {
          yield lease.copy();
          lease.release();
        }
      }
      expect((await whole(file.chunks({ start: 0 }))).equals(all)).toBe(true);
      expect((await whole(file.chunks({ start: 0, size: 8192, ahead: 2 }))).equals(all)).toBe(true);
      expect((await whole(copies())).equals(all)).toBe(true);
      expect((await whole(file.readable({ start: 0 }))).equals(all)).toBe(true);
      const lines: string[] = [];
      for await (const line of file.lines({ start: 0 })) lines.push(line);
      expect(lines.join('\n')).toBe(all.toString());
      expect((await file.readFile()).equals(all)).toBe(true);
      await file.close();
    },
    120_000,
  );

  it('ends although what was read behind its end is still being cancelled', async (context) => {
    const name = join(dir, 'written-anew');
    const all = Buffer.alloc(300_001, 'anew');
    for (let round = 0; round < 30; round++) {
      // What has just been written goes to the disk first, which takes a while.
      writeFileSync(name, all);
      const { file } = await opened(context, name);
      let length = 0;
      for await (const chunk of file.chunks({ start: 0 })) length += chunk.length;
      expect(length).toBe(all.length);
      await file.close();
    }
  }, 60_000);

  it('refuses pieces and places that do not fit, and what could not keep to them', async (context) => {
    const { file, alignment } = await opened(context);
    const code = 'ERR_INVALID_ARG_VALUE';
    expect(thrown(() => file.chunks({ size: alignment.offset + 1 }))).toMatchObject({ code });
    expect(thrown(() => file.chunks({ start: 1 }))).toMatchObject({ code });
    expect(thrown(() => file.chunks({ start: 0, end: alignment.offset }))).toMatchObject({ code });
    expect(thrown(() => file.readable({ start: 3 }))).toMatchObject({ code });
    expect(thrown(() => file.append(Buffer.alloc(100)))).toMatchObject({ code });
    expect(thrown(() => file.writable())).toMatchObject({ code: 'ERR_INVALID_STATE' });
    let bytes = 0;
    for await (const chunk of file.chunks({ start: 0, end: alignment.offset - 1 })) bytes += chunk.length;
    expect(bytes).toBe(alignment.offset);
    await file.close();
  });
});

it.runIf(polls)(
  'direct I/O of the poll engine waits for the device in a thread, and not in the loop',
  async (context) => {
    const { file } = await opened(context);
    await file.close();
    const pipe = fifo(join(dir, 'pipe'));
    const source = `
    import { closeSync, constants, open, openSync } from 'node:fs';
    import { File } from '@ouro/fs';
    import { BufferPool } from '@ouro/runtime';
    const file = await File.open(${JSON.stringify(path)}, 'r', { direct: true });
    const pool = new BufferPool({ count: 1, size: 4096 });
    const { buffer } = pool.lease();
    // No thread is left: each waits for somebody who writes to the pipe.
    for (let i = 0; i < 4; i++) open(${JSON.stringify(pipe)}, 'r', (error, fd) => closeSync(fd));
    const reading = file.read(buffer, 0);
    console.log(await Promise.race([reading, new Promise((done) => setTimeout(done, 100, 'waits'))]));
    const writer = openSync(${JSON.stringify(pipe)}, constants.O_RDWR | constants.O_NONBLOCK);
    console.log(await reading);
    closeSync(writer);
    await file.close();`;
    const { stdout, stderr } = await runProgram(source);
    expect({ stdout, stderr }).toEqual({ stdout: 'waits\n4096\n', stderr: '' });
  },
);
