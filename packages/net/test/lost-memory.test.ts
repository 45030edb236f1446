import { markAsUntransferable } from 'node:worker_threads';
import type { ChunkLease, TcpStream } from '@ouro/net';
import { addressOf, UNSTABLE } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { failure, leavesNothing, POLL, pair } from './support.ts';
import { local } from './udp-support.ts';

/** Takes the memory of a buffer away as a stream of bytes does with what is put into it. */
async function detach(memory: ArrayBufferLike): Promise<void> {
  const stream = new ReadableStream({
    type: 'bytes',
    pull(controller) {
      controller.enqueue(new Uint8Array(memory as ArrayBuffer));
      controller.close();
    },
  });
  await stream
    .getReader()
    .read()
    .catch(() => {});
}

const memory = new ArrayBuffer(8);
markAsUntransferable(memory);
await detach(memory);
/** Later versions of Node let nobody take memory that is marked. */
const DETACHES = memory.byteLength === 0;
/** Node 22 lets go of memory that it was asked to keep: chunks are not lent there. */
const LENDS = addressOf(new Uint8Array(8)) !== UNSTABLE;

/** Ends the use of memory that an earlier test has taken away: the first to get something in it hears of that. */
async function renew(): Promise<void> {
  await using ends = await pair();
  const next = ends.server.chunks({ lease: true }).next();
  await ends.client.writeAll('x');
  await next.then(
    ({ value }) => value?.release(),
    () => {},
  );
}

/** A chunk that is lent, with others behind it in the same memory. */
async function lent(server: TcpStream, client: TcpStream): Promise<ChunkLease> {
  await renew();
  const loop = server.chunks({ lease: true });
  const next = loop.next();
  await client.writeAll('mine');
  const { value } = await next;
  if (value === undefined) throw new Error('nothing came');
  for (const text of ['other', 'more of it']) {
    const before = server.buffered;
    await client.writeAll(text);
    await expect.poll(() => server.buffered, POLL).toBe(before + text.length);
  }
  return value;
}

describe.runIf(DETACHES)('who takes the memory of a chunk away', () => {
  it('does not take what had to wait along', async () => {
    await using ends = await pair();
    const loop = ends.server[Symbol.asyncIterator]();
    const arrive = async (text: string): Promise<void> => {
      const before = ends.server.buffered;
      await ends.client.writeAll(text);
      await expect.poll(() => ends.server.buffered, POLL).toBe(before + text.length);
    };
    // What nobody waits for, as soon as the kernel has been asked once.
    const first = loop.next();
    await ends.client.writeAll('first');
    expect((await first).value?.toString()).toBe('first');
    for (const text of ['second', 'third', 'fourth']) await arrive(text);
    const second = (await loop.next()).value as Buffer;
    expect(second.toString()).toBe('second');
    await detach(second.buffer);
    expect(second.length).toBe(0);
    for (const text of ['third', 'fourth']) expect((await loop.next()).value?.toString()).toBe(text);
  });
});

describe.runIf(DETACHES && LENDS)('who takes the memory of a lent chunk away', () => {
  const LOST = { code: 'ERR_INVALID_STATE', message: expect.stringContaining('transferred') };

  it.each([
    ['read', (stream: TcpStream) => stream.read(Buffer.alloc(4))],
    ['readExact', (stream: TcpStream) => stream.readExact(Buffer.alloc(15))],
    ['readUntil', (stream: TcpStream) => stream.readUntil('t')],
    ['chunks', (stream: TcpStream) => stream.chunks().next()],
    ['leases', (stream: TcpStream) => stream.chunks({ lease: true }).next()],
    ['batches', (stream: TcpStream) => stream.batches().next()],
    ['batches of leases', (stream: TcpStream) => stream.batches({ lease: true }).next()],
    ['splitLines', (stream: TcpStream) => stream.splitLines().next()],
    ['pipe', (stream: TcpStream) => stream.pipe({ writeAll: async () => {} })],
  ])('has %s of what lies in it fail, each time', async (_, read) => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const lease = await lent(ends.server, ends.client);
      await detach(lease.buffer.buffer);
      expect(() => lease.buffer).toThrow(expect.objectContaining(LOST));
      expect(lease.length).toBe(4);
      for (let i = 0; i < 2; i++) expect(await failure(read(ends.server))).toMatchObject(LOST);
      lease.release();
      expect(await failure(read(ends.server))).toMatchObject(LOST);
    });
  });

  it('does harm to no more than one other connection', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const lease = await lent(ends.server, ends.client);
      await detach(lease.buffer.buffer);
      let lost = 0;
      for (let i = 0; i < 20; i++) {
        await using other = await pair();
        const next = other.server.chunks({ lease: true }).next();
        await other.client.writeAll('hello');
        try {
          const { value } = await next;
          expect(value?.buffer.toString()).toBe('hello');
          value?.release();
        } catch (error) {
          expect(error).toMatchObject(LOST);
          lost++;
        }
      }
      lease.release();
      expect(lost).toBeLessThanOrEqual(1);
    });
  });
});

describe.runIf(DETACHES)('who takes the memory of a lent datagram away', () => {
  it('has those that lie in it lost, which is told, and gets others in other memory', async () => {
    await leavesNothing(async () => {
      await using socket = await local();
      await using from = await local();
      const loop = socket.datagrams({ lease: true });
      const next = loop.next();
      await from.send('first', socket.address);
      const { value: first } = await next;
      await from.send('second', socket.address);
      await from.send('third', socket.address);
      await expect.poll(() => socket.buffered, POLL).toBe(2);
      await detach(first?.data.buffer ?? new ArrayBuffer(0));
      expect(await failure(loop.next())).toMatchObject({ code: 'ERR_INVALID_STATE' });
      expect(socket.buffered).toBe(0);
      const failing = failure(loop.next());
      await from.send('fourth', socket.address);
      expect(await failing).toMatchObject({ code: 'ERR_INVALID_STATE' });
      first?.[Symbol.dispose]();
      const last = loop.next();
      await from.send('fifth', socket.address);
      const { value } = await last;
      expect(value?.data.toString()).toBe('fifth');
      value?.[Symbol.dispose]();
    });
  });
});
