import { metrics } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { bytes, failure, fill, leavesNothing, mixed, pair, Random, readAll, readExactly } from './support.ts';

const KIB = 1024;
const MIB = 1 << 20;

/** Bytes in memory that nobody has sent before. */
const fresh = (length: number, seed: number): Buffer =>
  Buffer.from(new Uint8Array(bytes(length, seed)).buffer);

describe('a large send of memory that has not been sent before', () => {
  it('needs no SQE where the socket has room, and leaves the memory transferable', async () => {
    await using ends = await pair();
    const data = fresh(64 * KIB, 1);
    const expected = Buffer.from(data);
    const before = metrics().sqes;
    expect(await ends.client.writeAll(data)).toBe(64 * KIB);
    expect(metrics().sqes).toBe(before);
    expect(ends.client.bytesWritten).toBe(64 * KIB);
    structuredClone(data.buffer, { transfer: [data.buffer as ArrayBuffer] });
    expect(data.byteLength).toBe(0);
    expect((await readExactly(ends.server, 64 * KIB)).equals(expected)).toBe(true);
  });

  it('that the socket takes in part goes on through the ring, in its place among others', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const parts = [fresh(16 * MIB, 1), fresh(MIB, 2), Buffer.from('end')];
      const sends = parts.map((part) => ends.client.writeAll(part));
      const ended = ends.client.shutdown();
      expect((await readAll(ends.server)).equals(Buffer.concat(parts))).toBe(true);
      expect(await Promise.all(sends)).toEqual(parts.map(({ length }) => length));
      await ended;
      expect(ends.client.bytesQueued).toBe(0);
    });
  });

  it('waits for its turn behind others', async () => {
    await using ends = await pair();
    const { waiting, size } = await fill(ends.client);
    const sending = ends.client.writeAll(fresh(64 * KIB, 3));
    const received = readAll(ends.server);
    await Promise.all([waiting, sending, ends.client.shutdown()]);
    expect((await received).subarray(size).equals(bytes(64 * KIB, 3))).toBe(true);
  });

  it('again and again lets everybody else have a turn', async () => {
    await using ends = await mixed();
    ends.socket.resume();
    let turns = 0;
    let over = false;
    const count = (): void => {
      turns++;
      if (!over) setImmediate(count);
    };
    setImmediate(count);
    for (let i = 0; i < 200; i++) await ends.stream.writeAll(Buffer.alloc(32 * KIB));
    over = true;
    expect(turns).toBeGreaterThan(20);
  });

  it('cancelled on the way says how much was sent, what was sent at once included', async () => {
    await using ends = await pair();
    const data = fresh(64 * MIB, 4);
    const sending = ends.client.writeAll(data);
    const failed = failure(sending);
    sending.cancel();
    const { code, bytesTransferred = 0 } = await failed;
    expect(code).toBe('ABORT_ERR');
    expect(bytesTransferred).toBeGreaterThan(0);
    expect(bytesTransferred).toBe(ends.client.bytesWritten);
    const ended = ends.client.shutdown();
    expect((await readAll(ends.server)).equals(data.subarray(0, bytesTransferred))).toBe(true);
    await ended;
  });

  it('runs out of time with the number of bytes that were sent', async () => {
    await using ends = await pair();
    const { code, bytesTransferred } = await failure(
      ends.client.writeAll(fresh(64 * MIB, 5), { timeout: 20 }),
    );
    expect(code).toBe('ETIMEDOUT');
    expect(bytesTransferred).toBe(ends.client.bytesWritten);
  });

  it('does not begin with a signal that was aborted before', async () => {
    await using ends = await pair();
    const sending = ends.client.writeAll(fresh(64 * KIB, 6), { signal: AbortSignal.abort() });
    expect(await failure(sending)).toMatchObject({ code: 'ABORT_ERR' });
    expect(ends.client.bytesWritten).toBe(0);
  });

  it('says that the peer is gone', async () => {
    await using ends = await mixed();
    ends.socket.resetAndDestroy();
    await failure(ends.stream.readExact(Buffer.alloc(1)));
    expect(await failure(ends.stream.writeAll(fresh(64 * KIB, 7)))).toMatchObject({
      code: expect.stringMatching(/EPIPE|ECONNRESET/),
      syscall: 'write',
    });
  });

  it('of resizable memory sends what that held', async () => {
    await using ends = await pair();
    const Kind = ArrayBuffer as unknown as new (
      length: number,
      options: { maxByteLength: number },
    ) => ArrayBuffer & { resize(length: number): void };
    const memory = new Kind(MIB, { maxByteLength: MIB });
    new Uint8Array(memory).set(bytes(MIB, 8));
    const sending = ends.client.writeAll(new Uint8Array(memory));
    memory.resize(0);
    const received = readExactly(ends.server, MIB);
    expect(await sending).toBe(MIB);
    expect((await received).equals(bytes(MIB, 8))).toBe(true);
  });
});

describe('a stream whose messages change their size', () => {
  it.each([false, true])('brings every byte right (lease: %s)', async (lease) => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const random = new Random(lease ? 1 : 2);
      // Long runs of each, so that the way of receiving changes several times.
      const sizes = Array.from({ length: 600 }, (_, i) =>
        Math.floor(i / 100) % 2 === 0 ? random.integer(1, 200) : random.integer(40 * KIB, 200 * KIB),
      );
      const sending = (async () => {
        for (const [i, size] of sizes.entries()) await ends.client.writeAll(bytes(size, i));
        await ends.client.shutdown();
      })();
      const expected = Buffer.concat(sizes.map((size, i) => bytes(size, i)));
      let at = 0;
      for await (const chunk of ends.server.chunks({ lease: lease as true })) {
        const data = lease ? chunk.buffer : (chunk as unknown as Buffer);
        expect(data.equals(expected.subarray(at, at + data.length))).toBe(true);
        at += data.length;
        if (lease) chunk.release();
      }
      expect(at).toBe(expected.length);
      await sending;
    });
  });

  it('may be read in every way, one after the other', async () => {
    await using ends = await pair();
    const random = new Random(3);
    const sent = bytes(8 * MIB, 9);
    for (let i = 0; i < sent.length; i++) if (sent[i] === 10) sent[i] = 11;
    for (let i = 1000; i < sent.length; i += 5003) sent[i] = 10;
    const sending = ends.client.writeAll(sent).then(() => ends.client.shutdown());
    const received: Buffer[] = [];
    const stream = ends.server;
    const ways: (() => Promise<boolean>)[] = [
      async () => {
        const buffer = Buffer.alloc(random.integer(1, 100_000));
        const count = await stream.read(buffer);
        received.push(buffer.subarray(0, count));
        return count > 0;
      },
      async () => {
        const line = await stream.readUntil(10).catch((error: { code: string }) => error.code);
        if (typeof line === 'string') return true;
        received.push(line);
        return line.length > 0;
      },
      async () => {
        for await (const chunk of stream) {
          received.push(chunk);
          return true;
        }
        return false;
      },
      async () => {
        for await (const chunk of stream.chunks({ lease: true })) {
          received.push(chunk.copy());
          chunk.release();
          return true;
        }
        return false;
      },
      async () => {
        for await (const batch of stream.batches({ lease: true })) {
          for (const chunk of batch) {
            received.push(chunk.copy());
            chunk.release();
          }
          return true;
        }
        return false;
      },
      async () => {
        for await (const line of stream.splitLines({ encoding: 'latin1' })) {
          received.push(Buffer.from(`${line}\n`, 'latin1'));
          return true;
        }
        return false;
      },
    ];
    while (await ways[random.integer(0, ways.length - 1)]?.());
    await sending;
    const all = Buffer.concat(received);
    // (What splitLines brings has lost carriage returns, and the last line may have got an end.)
    const plain = (data: Buffer): string =>
      data.toString('latin1').replaceAll('\r\n', '\n').replace(/\n$/, '');
    expect(plain(all) === plain(sent)).toBe(true);
  });
});
