import { metrics } from '@ouro/runtime';
import { nop } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { bytes, failure, fill, leavesNothing, POLL, readAll, readExactly } from './support.ts';
import { pairBy } from './tcp-support.ts';

const direct = { direct: true };

describe('a stream on a direct descriptor', () => {
  it('reads and writes, into buffers of the program and in chunks', async () => {
    await leavesNothing(async () => {
      await using ends = await pairBy(direct);
      const { client, server } = ends;
      const data = bytes(500_000, 3);
      const [got] = await Promise.all([readExactly(server, data.length), client.writeAll(data)]);
      expect(got.equals(data)).toBe(true);
      const back = readAll(client);
      for (let at = 0; at < data.length; ) at += await server.write(data.subarray(at));
      await server.shutdown();
      expect((await back).equals(data)).toBe(true);
    });
  });

  it('reads and writes memory that may be resized', async () => {
    await using ends = await pairBy(direct);
    // Node has them, TypeScript's library for our target not yet.
    const Resizable = ArrayBuffer as unknown as new (
      length: number,
      options: { maxByteLength: number },
    ) => ArrayBuffer;
    const memory = new Uint8Array(new Resizable(100, { maxByteLength: 200 }));
    memory.fill(7);
    expect(await ends.server.writeAll(memory)).toBe(100);
    expect((await readExactly(ends.client, 100)).equals(Buffer.alloc(100, 7))).toBe(true);
    await ends.client.writeAll('resizable');
    expect(await ends.server.read(memory)).toBe(9);
    expect(Buffer.from(memory.slice(0, 9)).toString()).toBe('resizable');
  });

  it('cancels and times out what waits, and goes on', async () => {
    await leavesNothing(async () => {
      await using ends = await pairBy(direct);
      const { client, server } = ends;
      const reading = server.read(Buffer.alloc(10));
      reading.cancel('enough');
      expect(await failure(reading)).toMatchObject({ code: 'ABORT_ERR' });
      expect(await failure(server.read(Buffer.alloc(10), { timeout: 1 }))).toMatchObject({
        code: 'ETIMEDOUT',
      });
      expect(await failure(server.read(Buffer.alloc(10), { signal: AbortSignal.timeout(1) }))).toMatchObject({
        code: 'ABORT_ERR',
      });
      const { waiting } = await fill(server);
      server.cancel();
      expect(await failure(waiting)).toMatchObject({ code: 'ABORT_ERR' });
      await client.writeAll('goes on');
      expect((await readExactly(server, 7)).toString()).toBe('goes on');
    });
  });

  it('may be closed with options still on their way: the next connection in its place has none of them', async () => {
    await leavesNothing(async () => {
      const places = new Set<number>();
      for (let round = 0; round < 20; round++) {
        await using ends = await pairBy(direct);
        places.add(ends.server.fd);
        const setting = [ends.server.setNoDelay(), ends.server.setKeepAlive(true, 1000), ends.server.info()];
        const closing = ends.server.close();
        await Promise.allSettled([...setting, closing]);
        expect(ends.server.fd).toBe(-1);
      }
      expect(places.size).toBeLessThan(20); // places are given out again
    });
  });

  it('ends its loop when it is closed, ref’d or not', async () => {
    await using ends = await pairBy(direct);
    ends.server.unref();
    const loop = readAll(ends.server);
    await nop();
    ends.server.ref();
    await ends.server.close();
    expect((await loop).length).toBe(0);
    await expect.poll(() => metrics().stale, POLL).toBe(0);
  });
});
