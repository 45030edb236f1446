import { constants, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { getuid } from 'node:process';
import { MessageChannel } from 'node:worker_threads';
import { File } from '@ouro/fs';
import { IORING_OP_READ_FIXED } from '@ouro/native/abi';
import { BufferPool, type Lease } from '@ouro/runtime';
import { addressOf, fixedIndexOf } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { itOnRing } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';
import { failure, fifo, submitted, temporaryDirectory } from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
writeFileSync(path, Buffer.alloc(16_384, 'content '));

describe('a buffer pool', () => {
  it('lends buffers of one registered stretch, each on a page of its own', () => {
    using pool = new BufferPool({ count: 3, size: 5000 });
    expect(pool).toMatchObject({ count: 3, size: 5000, available: 3, registered: true, refusal: undefined });
    const leases = [pool.lease(), pool.lease(), pool.lease()];
    const addresses = leases.map(({ buffer }) => addressOf(buffer));
    expect(addresses.map((address) => address % 4096)).toEqual([0, 0, 0]);
    expect(new Set(addresses).size).toBe(3);
    expect(leases.map(({ buffer }) => buffer.length)).toEqual([5000, 5000, 5000]);
    expect(leases.map(({ buffer }) => fixedIndexOf(buffer))).toEqual([pool.index, pool.index, pool.index]);
    expect(pool.available).toBe(0);
    for (const lease of leases) lease.release();
    expect(pool.available).toBe(3);
  });

  it('that has lent all says ENOBUFS', () => {
    using pool = new BufferPool({ count: 1, size: 10 });
    using _lease = pool.lease();
    expect(() => pool.lease()).toThrow(expect.objectContaining({ code: 'ENOBUFS' }) as Error);
  });

  it('takes a buffer back once, however often it is released', () => {
    using pool = new BufferPool({ count: 2, size: 10 });
    const lease = pool.lease();
    const { buffer } = lease;
    lease.release();
    lease.release();
    expect([pool.available, lease.released]).toEqual([2, true]);
    expect(() => lease.buffer).toThrow(expect.objectContaining({ code: 'ERR_INVALID_STATE' }) as Error);
    expect(buffer).toHaveLength(10);
  });

  it('gives buffers to those who wait in the order of asking', async () => {
    using pool = new BufferPool({ count: 1, size: 10 });
    const first = await pool.acquire();
    const order: number[] = [];
    const waiting = [1, 2, 3].map((number) =>
      pool.acquire().then((lease: Lease) => {
        order.push(number);
        lease.release();
      }),
    );
    first.release();
    await Promise.all(waiting);
    expect([order, pool.available]).toEqual([[1, 2, 3], 1]);
  });

  it('forgets who gives up waiting: by cancel, timeout or signal', async () => {
    using pool = new BufferPool({ count: 1, size: 10 });
    const lease = pool.lease();
    const cancelled = pool.acquire();
    const next = pool.acquire();
    cancelled.cancel('no more');
    await expect(cancelled).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'no more' });
    await expect(pool.acquire({ timeout: 5 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    await expect(pool.acquire({ signal: AbortSignal.timeout(5) })).rejects.toMatchObject({
      code: 'ABORT_ERR',
    });
    lease.release();
    (await next).release();
    expect(pool.available).toBe(1);
  });

  it('that is closed lends no more, and gives its memory back with the last lease', async () => {
    const pool = new BufferPool({ count: 2, size: 10 });
    const leases = [pool.lease(), pool.lease()];
    const waiting = pool.acquire();
    pool.close();
    pool.close();
    await expect(waiting).rejects.toMatchObject({ code: 'EBADF' });
    await expect(pool.acquire()).rejects.toMatchObject({ code: 'EBADF' });
    expect(() => pool.lease()).toThrow(expect.objectContaining({ code: 'EBADF' }) as Error);
    const { buffer } = leases[0] as Lease;
    leases[1]?.release();
    expect([pool.closed, pool.registered, fixedIndexOf(buffer)]).toEqual([true, true, pool.index]);
    leases[0]?.release();
    expect([pool.registered, fixedIndexOf(buffer)]).toEqual([false, -1]);
  });

  it('is found by reads and writes: they become READ_FIXED and WRITE_FIXED', async () => {
    const { read, write } = await import('../../fs/src/op/transfer.ts');
    using pool = new BufferPool({ count: 1, size: 4096 });
    using lease = pool.lease();
    expect(write).toBeTypeOf('function');
    expect(read(0, lease.buffer.subarray(100), 0)).toMatchObject({
      opcode: IORING_OP_READ_FIXED,
      buf: pool.index,
    });
    await using file = await File.open(join(dir, 'written'), 'w+');
    lease.buffer.write('through the pool');
    expect(await file.write(lease.buffer.subarray(0, 16), 0)).toBe(16);
    lease.buffer.fill(0);
    expect(await file.read(lease.buffer.subarray(8), 0)).toBe(16);
    expect(lease.buffer.toString('utf8', 8, 24)).toBe('through the pool');
  });

  it('has memory fit for O_DIRECT', async () => {
    using pool = new BufferPool({ count: 2, size: 8192 });
    using lease = pool.lease();
    const opened = await File.open(path, constants.O_RDONLY | constants.O_DIRECT).catch(
      (error) => error.code,
    );
    if (opened === 'EINVAL') return; // a file system without
    await using file = opened as File;
    expect(await file.read(lease.buffer, 4096)).toBe(8192);
    expect(lease.buffer.equals(readFileSync(path).subarray(4096, 12_288))).toBe(true);
  });

  it('keeps its memory while an op is in flight, whatever scripts try', async () => {
    using pool = new BufferPool({ count: 1, size: 4096 });
    const { buffer } = pool.lease();
    await using pipe = await File.open(fifo(dir), 'r+');
    const reading = pipe.read(buffer);
    await submitted();
    const memory = buffer.buffer as ArrayBuffer;
    const channel = new MessageChannel();
    const attempts = [
      () => structuredClone(memory, { transfer: [memory] }),
      () => channel.port1.postMessage(memory, [memory]),
      () => (memory as { transfer?: () => void }).transfer?.(),
      () => new ReadableStream({ type: 'bytes', start: (controller) => controller.enqueue(buffer) }),
    ];
    for (const attempt of attempts) {
      try {
        attempt();
      } catch {
        // Refused: so much the better.
      }
    }
    await pipe.write('into our memory');
    expect(await reading).toBe(15);
    channel.port1.close();
    // A byte stream does take the buffer away, but not the memory: the kernel wrote where it may.
    if (buffer.length > 0) expect(buffer.toString('utf8', 0, 15)).toBe('into our memory');
  });

  it('can be many: what does not fit the table is not registered, and works', async () => {
    const pools = Array.from({ length: 260 }, () => new BufferPool({ count: 1, size: 10 }));
    const refused = pools.filter(({ registered }) => !registered);
    expect(refused.length).toBeGreaterThanOrEqual(4);
    expect(refused[0]?.refusal?.message).toContain('no more than 256 pools');
    expect(() => new BufferPool({ count: 1, size: 10, register: true })).toThrow('no more than 256 pools');
    using lease = (refused[0] as BufferPool).lease();
    await using file = await File.open(path);
    expect(await file.read(lease.buffer, 0)).toBe(10);
    for (const pool of pools) pool.close();
    using again = new BufferPool({ count: 1, size: 10, register: true });
    expect(again.registered).toBe(true);
  });

  it('need not be registered', () => {
    using pool = new BufferPool({ count: 1, size: 10, register: false });
    expect(pool).toMatchObject({ registered: false, refusal: undefined, index: -1 });
  });

  itOnRing('memlock')('beyond the memlock limit says what to do about it', async () => {
    const unprivileged =
      getuid?.() === 0
        ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all']
        : [];
    const { stdout, stderr } = await runProgram(
      `
        import { BufferPool } from '@ouro/runtime';
        import { File } from '@ouro/fs';
        const pool = new BufferPool({ count: 100, size: 4096 });
        console.log(pool.registered, pool.refusal.code, pool.refusal.message.includes('ulimit -l'));
        const file = await File.open('/dev/zero');
        console.log(await file.read(pool.lease().buffer));
        try { new BufferPool({ count: 100, size: 4096, register: true }); } catch (error) { console.log(error.code); }
      `,
      { under: ['prlimit', '--memlock=65536:65536', ...unprivileged] },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('false ENOMEM true\n4096\nENOMEM\n');
  });

  it('that nobody has any more gives its entry back, when its buffers are not used any more either', async () => {
    const { stdout, stderr } = await runProgram(
      `
        import { BufferPool, sleep } from '@ouro/runtime';
        import { fixedIndexOf } from '@ouro/runtime/driver';
        import { File } from '@ouro/fs';
        const { buffer } = (() => new BufferPool({ count: 1, size: 10 }).lease())();
        let made = 0;
        for (let round = 0; round < 6; round++) {
          for (let i = 0; i < 100; i++) made += new BufferPool({ count: 1, size: 10 }).registered ? 1 : 0;
          for (let turn = 0; turn < 3; turn++) { globalThis.gc(); await sleep(5); await new Promise(setImmediate); }
        }
        const file = await File.open('/dev/zero');
        console.log(made, await file.read(buffer), fixedIndexOf(buffer) >= 0);
      `,
      { flags: ['--expose-gc'] },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('600 10 true\n');
  });

  it('that nobody has any more keeps its entry for ops that have not begun', async () => {
    const { stdout, stderr } = await runProgram(
      `
        import { openSync } from 'node:fs';
        import { BufferPool, chain, sleep } from '@ouro/runtime';
        import { timeout } from '@ouro/runtime/ops';
        import { read } from '@ouro/fs/ops';
        const fd = openSync('/dev/zero');
        const later = (() => {
          const pool = new BufferPool({ count: 1, size: 4096, register: true });
          return chain([timeout(200), read(fd, pool.lease().buffer)]);
        })();
        for (let turn = 0; turn < 5; turn++) { globalThis.gc(); await sleep(5); await new Promise(setImmediate); }
        console.log((await later)[1]);
      `,
      { flags: ['--expose-gc'] },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('4096\n');
  });

  it.each([
    [undefined, TypeError],
    [null, TypeError],
    [{}, TypeError],
    [{ count: 0, size: 1 }, RangeError],
    [{ count: 1, size: 0 }, RangeError],
    [{ count: 1.5, size: 1 }, RangeError],
    [{ count: 1, size: 2 ** 31 }, RangeError],
    [{ count: 2 ** 18, size: 8192 }, RangeError],
    [{ count: 1, size: '1' }, TypeError],
    [{ count: 1, size: 1, register: 'yes' }, TypeError],
  ])('refuses the options %j', (options, kind) => {
    expect(() => new BufferPool(options as never)).toThrow(kind);
  });

  it('refuses bad options of acquire', async () => {
    using pool = new BufferPool({ count: 1, size: 1 });
    expect(() => pool.acquire({ timeout: -1 })).toThrow(RangeError);
    expect(await failure(pool.acquire({ signal: AbortSignal.abort() }))).toMatchObject({ code: 'ABORT_ERR' });
    expect(pool.available).toBe(1);
  });
});
