import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { ChunkLease, TcpStream } from '@ouro/net';
import { metrics, Scope } from '@ouro/runtime';
import { addressOf, UNSTABLE } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { bytes, failure, leavesNothing, mixed, POLL, pair, readAll, readExactly } from './support.ts';

const KIB = 1024;
const MIB = 1 << 20;

/** Node 22 lets go of memory that it was asked to keep: leases are of copies there. */
const UNPINNED = addressOf(new Uint8Array(8)) === UNSTABLE;

/** Waits until `count` bytes lie in the stream. */
const arrived = (stream: TcpStream, count: number): Promise<void> =>
  expect.poll(() => stream.buffered, POLL).toBe(count);

describe('chunks', () => {
  it('are those of plain iteration', async () => {
    await using ends = await pair();
    await ends.client.writeAll('hello');
    await ends.client.shutdown();
    const texts: string[] = [];
    for await (const chunk of ends.server.chunks()) texts.push(chunk.toString());
    expect(texts).toEqual(['hello']);
  });

  it.each([false, true])(
    'are given up by signal, scope and timeout, each of which ends the loop only (lease: %s)',
    async (lease) => {
      await leavesNothing(async () => {
        await using ends = await pair();
        const controller = new AbortController();
        const loop = ends.server.chunks({ lease: lease as true, signal: controller.signal });
        const aborted = failure(loop.next());
        controller.abort(new Error('enough'));
        expect(await aborted).toMatchObject({ code: 'ABORT_ERR' });
        expect(await loop.next()).toEqual({ done: true, value: undefined });
        const scope = new Scope();
        const scoped = failure(ends.server.chunks({ lease: lease as true, scope }).next());
        scope.cancel();
        expect(await scoped).toMatchObject({ code: 'ABORT_ERR' });
        const late = ends.server.chunks({ lease: lease as true, timeout: 5 });
        expect(await failure(late.next())).toMatchObject({ code: 'ETIMEDOUT' });
        expect(metrics().inFlight).toBe(0);
        await ends.client.writeAll('on');
        expect((await readExactly(ends.server, 2)).toString()).toBe('on');
      });
    },
  );

  it('with a signal that was aborted before are refused, and what has arrived stays', async () => {
    await using ends = await pair();
    await ends.client.writeAll('kept');
    const loop = ends.server.chunks({ signal: AbortSignal.abort() });
    expect(await failure(loop.next())).toMatchObject({ code: 'ABORT_ERR' });
    expect((await readExactly(ends.server, 4)).toString()).toBe('kept');
  });

  it.each([
    ['lease', { lease: 1 }],
    ['signal', { signal: {} }],
    ['timeout', { timeout: 'x' }],
  ])('throw for a %s that is none', async (_, options) => {
    await using ends = await pair();
    expect(() => ends.server.chunks(options as never)).toThrow(TypeError);
    expect(() => ends.server.batches(options as never)).toThrow(TypeError);
  });

  it('that are large belong to the caller, each in memory of its own', async () => {
    await using ends = await pair();
    const sent = bytes(4 * MIB, 1);
    const sending = ends.client.writeAll(sent).then(() => ends.client.shutdown());
    const kept: Buffer[] = [];
    for await (const chunk of ends.server) {
      kept.push(Buffer.from(chunk));
      chunk.fill(0); // nobody else's bytes change
    }
    expect(Buffer.concat(kept).equals(sent)).toBe(true);
    await sending;
  });

  it('whose memory is taken away take none of the others with them, large ones', async () => {
    await using ends = await pair();
    const sent = bytes(4 * MIB, 1);
    const sending = ends.client.writeAll(sent).then(() => ends.client.shutdown());
    const kept: Buffer[] = [];
    for await (const chunk of ends.server) {
      kept.push(Buffer.from(chunk));
      // A byte stream detaches without asking.
      if (chunk.length > 16 * KIB)
        new ReadableStream({ type: 'bytes', start: (controller) => controller.enqueue(chunk) });
    }
    expect(Buffer.concat(kept).equals(sent)).toBe(true);
    await sending;
  });
});

describe('batches', () => {
  it.each([false, true])('bring all that has arrived with one wait (lease: %s)', async (lease) => {
    await using ends = await pair();
    const loop = ends.server.batches({ lease: lease as false });
    const first = loop.next();
    await ends.client.writeAll('a');
    for (const chunk of (await first).value ?? []) if (lease) (chunk as unknown as ChunkLease).release();
    for (const text of ['b', 'c', 'd']) {
      const before = ends.server.buffered;
      await ends.client.writeAll(text);
      await arrived(ends.server, before + 1);
    }
    const { value } = (await loop.next()) as { value: readonly (Buffer | ChunkLease)[] };
    const texts = value.map((chunk) =>
      String('buffer' in chunk && 'release' in chunk ? chunk.buffer : chunk),
    );
    expect(texts).toEqual(['b', 'c', 'd']);
    for (const chunk of value) if ('release' in chunk) chunk.release();
    await loop.return?.();
  });

  it('end where the stream does', async () => {
    await using ends = await pair();
    const sent = bytes(MIB, 3);
    const sending = ends.client.writeAll(sent).then(() => ends.client.shutdown());
    const received: Buffer[] = [];
    for await (const batch of ends.server.batches()) received.push(...batch);
    expect(Buffer.concat(received).equals(sent)).toBe(true);
    await sending;
  });
});

describe('a chunk that is lent', () => {
  it('has its bytes until it is released, and tells so afterwards', async () => {
    await using ends = await pair();
    await ends.client.writeAll('hello');
    const { value } = await ends.server.chunks({ lease: true }).next();
    if (value === undefined) throw new Error('no chunk');
    expect(value.buffer.toString()).toBe('hello');
    expect(value.length).toBe(5);
    const copy = value.copy();
    expect(value.released).toBe(false);
    value.release();
    value.release();
    expect(value.released).toBe(true);
    expect(value.length).toBe(0);
    expect(() => value.buffer).toThrow(expect.objectContaining({ code: 'ERR_INVALID_STATE' }));
    expect(() => value.copy()).toThrow(expect.objectContaining({ code: 'ERR_INVALID_STATE' }));
    expect(copy.toString()).toBe('hello');
  });

  it.each([1, 64, 16 * KIB, 64 * KIB + 1, 300 * KIB, 5 * MIB])(
    'echoes %i bytes, every one right',
    async (size) => {
      await leavesNothing(async () => {
        await using ends = await pair();
        const echo = (async () => {
          for await (const chunk of ends.server.chunks({ lease: true })) {
            await ends.server.writeAll(chunk.buffer);
            chunk.release();
          }
          await ends.server.shutdown();
        })();
        const sent = bytes(size, size);
        const sending = ends.client.writeAll(sent).then(() => ends.client.shutdown());
        expect((await readAll(ends.client)).equals(sent)).toBe(true);
        await Promise.all([sending, echo]);
      });
    },
  );

  it.each(['write', 'writeAll'] as const)(
    'are sent by their memory: %s of a lease itself says so',
    async (how) => {
      await using ends = await pair();
      await ends.client.writeAll('x');
      const { value } = await ends.server.chunks({ lease: true }).next();
      expect(() => ends.server[how](value as never)).toThrow(
        /an instance of ChunkLease.*write lease\.buffer/s,
      );
      expect(() => ends.server.writev([value] as never)).toThrow(/"buffers\[0\]".*write lease\.buffer/s);
      expect(() => ends.server[how](5 as never)).toThrow(/Received type number \(5\)$/);
      value?.release();
    },
  );

  it('keeps its bytes while a hundred megabytes go through beside it', async () => {
    await using held = await pair();
    await using busy = await pair();
    const loop = held.server.chunks({ lease: true });
    const leases: { readonly lease: ChunkLease; readonly expected: string }[] = [];
    const hold = async (text: string): Promise<void> => {
      await held.client.writeAll(text);
      const { value } = await loop.next();
      if (value !== undefined) leases.push({ lease: value, expected: text });
    };
    const piece = bytes(MIB, 9);
    const sending = (async () => {
      for (let i = 0; i < 100; i++) await busy.client.writeAll(piece);
      await busy.client.shutdown();
    })();
    let received = 0;
    for await (const chunk of busy.server.chunks({ lease: true })) {
      for (let i = 0; i < chunk.length; i += 4099) {
        if (chunk.buffer[i] !== piece[(received + i) % MIB]) throw new Error(`wrong byte at ${received + i}`);
      }
      if (received % (8 * MIB) < chunk.length) await hold(`held at ${received}`);
      received += chunk.length;
      chunk.release();
    }
    await sending;
    expect(received).toBe(100 * MIB);
    expect(leases.length).toBeGreaterThan(5);
    for (const { lease, expected } of leases) {
      expect(lease.buffer.toString()).toBe(expected);
      lease.release();
    }
  });

  it('and never released keeps nobody from receiving: what comes when too much is held is copied', async () => {
    await using greedy = await pair();
    await using other = await pair();
    // Half more than what can be lent.
    const sent = bytes(48 * MIB, 4);
    const sending = greedy.client.writeAll(sent).then(() => greedy.client.shutdown());
    const leases: ChunkLease[] = [];
    for await (const lease of greedy.server.chunks({ lease: true })) leases.push(lease);
    await sending;
    expect(Buffer.concat(leases.map(({ buffer }) => buffer)).equals(sent)).toBe(true);
    for (const lease of [true, false]) {
      const answer = bytes(2 * MIB, 5);
      const sent = other.client.writeAll(answer);
      const parts: Buffer[] = [];
      let count = 0;
      for await (const chunk of other.server.chunks({ lease: lease as true })) {
        parts.push(Buffer.from(lease ? chunk.buffer : (chunk as unknown as Buffer)));
        count += chunk.length;
        if (lease) chunk.release();
        if (count === answer.length) break;
      }
      expect(Buffer.concat(parts).equals(answer)).toBe(true);
      await sent;
    }
    for (const lease of leases) lease.release();
  });

  it('that lies in the stream when the loop is left becomes a copy: the memory is free', async () => {
    await using ends = await pair();
    const loop = ends.server.chunks({ lease: true });
    const first = loop.next();
    await ends.client.writeAll('first');
    (await first).value?.release();
    await ends.client.writeAll('second');
    await arrived(ends.server, 6);
    await loop.return?.();
    expect((await readExactly(ends.server, 6)).toString()).toBe('second');
  });

  it('can be read as plain chunks, in parts and up to a delimiter by whoever comes next', async () => {
    await using ends = await pair();
    const loop = ends.server.chunks({ lease: true });
    const first = loop.next();
    await ends.client.writeAll('.');
    (await first).value?.release();
    await ends.client.writeAll('abc|def|rest');
    await arrived(ends.server, 12);
    const part = Buffer.alloc(2);
    await ends.server.readExact(part);
    expect(part.toString()).toBe('ab');
    expect((await ends.server.readUntil('|')).toString()).toBe('c|');
    const { value } = await ends.server[Symbol.asyncIterator]().next();
    expect(value?.toString()).toBe('def|rest');
  });

  it('outlives its stream', async () => {
    await using ends = await pair();
    await ends.client.writeAll('still here');
    const { value } = await ends.server.chunks({ lease: true }).next();
    await ends.server.close();
    expect(value?.buffer.toString()).toBe('still here');
    value?.release();
  });

  it.skipIf(UNPINNED)('whose memory is taken away while it is lent is lost to the taker only', async () => {
    await using ends = await pair();
    await using other = await pair();
    await ends.client.writeAll('mine');
    const { value } = await ends.server.chunks({ lease: true }).next();
    if (value === undefined) throw new Error('no chunk');
    const { buffer } = value;
    // A byte stream detaches without asking, up to Node 22.
    const enqueue = (): unknown =>
      new ReadableStream({ type: 'bytes', start: (controller) => controller.enqueue(buffer) });
    if (Number.parseInt(process.versions.node, 10) < 24) enqueue();
    else expect(enqueue).toThrow(TypeError);
    value.release();
    // All slabs come by again: one that is gone fails the stream whose bytes would be in it, and is replaced.
    let failures = 0;
    for (let round = 0; round < 3; round++) {
      await using next = await pair();
      const sent = bytes(24 * MIB, round);
      const sending = next.client
        .writeAll(sent)
        .then(() => next.client.shutdown())
        .catch(() => {});
      const parts: Buffer[] = [];
      try {
        for await (const chunk of next.server.chunks({ lease: true })) {
          parts.push(chunk.copy());
          chunk.release();
        }
        expect(Buffer.concat(parts).equals(sent)).toBe(true);
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_INVALID_STATE' });
        failures++;
        await next.server.close();
      }
      await sending;
    }
    expect(failures).toBeLessThanOrEqual(1);
    await other.client.writeAll('fine');
    expect((await readExactly(other.server, 4)).toString()).toBe('fine');
  });

  it('is of a copy where the kernel gives no ring of buffers', async () => {
    const { stdout, stderr } = await runProgram(
      `
      import { TcpListener, TcpStream } from '@ouro/net';
      import { reactor } from '@ouro/runtime/driver';
      const { addon } = reactor();
      const { register } = addon;
      addon.register = (opcode, ...rest) => (opcode === 22 ? -12 : register.call(addon, opcode, ...rest));
      const listener = await TcpListener.bind({ host: '127.0.0.1' });
      const [client, server] = await Promise.all([TcpStream.connect({ host: '127.0.0.1', port: listener.address.port }), listener.accept()]);
      const sent = Buffer.alloc(1 << 20, 'abcdefghijk');
      const sending = client.writeAll(sent).then(() => client.shutdown());
      const parts = [];
      for await (const lease of server.chunks({ lease: true })) {
        parts.push(lease.copy());
        lease.release();
      }
      await sending;
      console.log(Buffer.concat(parts).equals(sent));
      await Promise.all([listener, client, server].map((each) => each.close()));
      `,
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('true\n');
  });

  it('is copied nowhere: an echo of 64 KiB makes no Buffer of that size', async () => {
    await using ends = await pair();
    const echo = (async () => {
      for await (const chunk of ends.server.chunks({ lease: true })) {
        await ends.server.writeAll(chunk.buffer);
        chunk.release();
      }
    })();
    const message = bytes(64 * KIB, 1);
    const answer = Buffer.alloc(64 * KIB);
    const round = async (): Promise<void> => {
      const sending = ends.client.writeAll(message);
      await ends.client.readExact(answer);
      await sending;
    };
    for (let i = 0; i < 20; i++) await round();
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 100; i++) await round();
    // A collection may take some away; nothing comes to what was there.
    expect(process.memoryUsage().arrayBuffers).toBeLessThan(before + MIB);
    expect(answer.equals(message)).toBe(true);
    await ends.client.shutdown();
    await echo;
  });
});

describe('a worker with leases in its hands', () => {
  it('can be terminated, and others go on', async () => {
    for (let round = 0; round < 3; round++) {
      const worker = new Worker(
        `
        const { parentPort } = require('node:worker_threads');
        (async () => {
          const { TcpListener } = await import('@ouro/net');
          const listener = await TcpListener.bind({ host: '127.0.0.1' });
          parentPort.postMessage(listener.address.port);
          const held = [];
          for await (const stream of listener) {
            (async () => {
              for await (const chunk of stream.chunks({ lease: true })) {
                held.push(chunk);
                stream.writeAll(chunk.buffer).catch(() => {});
              }
            })();
          }
        })();
      `,
        { eval: true },
      );
      const [port] = (await once(worker, 'message')) as [number];
      await using ends = await mixed();
      const { TcpStream } = await import('@ouro/net');
      await using client = await TcpStream.connect({ host: '127.0.0.1', port });
      client.writeAll(Buffer.alloc(8 * MIB)).catch(() => {});
      await client.read(Buffer.alloc(1));
      await worker.terminate();
      await readAll(client).catch(() => {});
      ends.socket.write('still here');
      expect((await readExactly(ends.stream, 10)).toString()).toBe('still here');
    }
  });
});
