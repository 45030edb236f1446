import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { metrics } from '@ouro/runtime';
import { nop } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import {
  bytes,
  failure,
  leavesNothing,
  mixed,
  POLL,
  readAll,
  readExactly,
  socketReadAll,
} from './support.ts';
import { BOTH, pairBy } from './tcp-support.ts';

describe.each(BOTH)('a Duplex over a stream on %s', (_what, how) => {
  it('carries bytes both ways, and closes the stream when both directions have ended', async () => {
    await leavesNothing(async () => {
      const ends = await pairBy(how);
      const data = bytes(3_000_000, 5);
      const duplex = ends.server.toDuplex();
      const closed = once(duplex, 'close');
      const echoing = pipeline(duplex, duplex);
      const received = readAll(ends.client);
      await ends.client.writeAll(data);
      await ends.client.shutdown();
      expect((await received).equals(data)).toBe(true);
      await Promise.all([echoing, closed]);
      expect(ends.server.fd).toBe(-1);
      await ends.client.close();
    });
  });

  it('is destroyed when its stream is closed', async () => {
    await using ends = await pairBy(how);
    const duplex = ends.server.toDuplex().resume();
    const closed = once(duplex, 'close');
    await ends.server.close();
    await closed;
    expect(duplex.destroyed).toBe(true);
  });

  it('says nothing of a peer that is gone already when it ends', async () => {
    await using ends = await pairBy(how);
    const duplex = ends.server.toDuplex();
    const errors: unknown[] = [];
    duplex.on('error', (error) => errors.push((error as NodeJS.ErrnoException).code));
    await ends.server.writeAll('never read');
    await ends.client.close(); // with unread data, which resets
    await expect.poll(() => duplex.resume().destroyed || duplex.readableEnded, POLL).toBe(true);
    duplex.end();
    await expect.poll(() => duplex.closed, POLL).toBe(true);
    expect(errors).not.toContain('ENOTCONN');
  });

  it('refuses options that are none', async () => {
    await using ends = await pairBy(how);
    expect(() => ends.server.toDuplex(5 as never)).toThrow(TypeError);
  });

  it('goes through pipelines of node:stream', async () => {
    await using ends = await pairBy(how);
    const text = Buffer.from('zip me '.repeat(50_000));
    const sending = pipeline(Readable.from([text]), createGzip(), ends.client.toDuplex());
    const parts: Buffer[] = [];
    await pipeline(ends.server.toDuplex(), createGunzip(), async (source: AsyncIterable<Buffer>) => {
      for await (const part of source) parts.push(part);
    });
    expect(Buffer.concat(parts).equals(text)).toBe(true);
    await ends.server.close();
    await sending.catch(() => {});
  });
});

describe('a Duplex over a stream', () => {
  it('is half open: its end is the peer’s, and answers still arrive', async () => {
    await using ends = await mixed();
    const duplex = ends.stream.toDuplex();
    duplex.end('question');
    const [question] = (await once(ends.socket, 'data')) as [Buffer];
    expect(question.toString()).toBe('question');
    await once(ends.socket, 'end');
    ends.socket.end('answer');
    expect(Buffer.concat(await duplex.toArray()).toString()).toBe('answer');
  });

  it('ends by itself what the peer has ended, without allowHalfOpen', async () => {
    await using ends = await mixed();
    const duplex = ends.stream.toDuplex({ allowHalfOpen: false });
    duplex.resume();
    ends.socket.end();
    expect((await socketReadAll(ends.socket)).length).toBe(0);
    await expect.poll(() => duplex.destroyed, POLL).toBe(true);
  });

  it('writes what was written in its order, however many writes wait', async () => {
    await using ends = await mixed();
    const duplex = ends.stream.toDuplex();
    const parts = Array.from({ length: 300 }, (_, i) => bytes(1 + i * 7, i));
    for (const part of parts) duplex.write(part);
    duplex.end('äöü', 'utf8');
    const got = await socketReadAll(ends.socket);
    expect(got.equals(Buffer.concat([...parts, Buffer.from('äöü')]))).toBe(true);
  });

  it('says when it is full, and when it may go on', async () => {
    await using ends = await mixed();
    const duplex = ends.stream.toDuplex({ writableHighWaterMark: 1000 });
    expect(duplex.write(bytes(8 << 20, 1))).toBe(false);
    expect(duplex.writableNeedDrain).toBe(true);
    const drained = once(duplex, 'drain');
    ends.socket.resume();
    await drained;
    expect(duplex.writableLength).toBe(0);
    duplex.destroy();
  });

  it('reads no more than it has room for, and TCP slows the peer down', async () => {
    await using ends = await mixed();
    const duplex = ends.stream.toDuplex({ readableHighWaterMark: 1000 });
    const size = 32 << 20;
    let sent = false;
    ends.socket.end(bytes(size, 3), () => {
      sent = true;
    });
    await once(duplex, 'readable');
    for (let turn = 0; turn < 20; turn++) await nop();
    expect(duplex.readableLength).toBeLessThan(1 << 20);
    expect(sent).toBe(false);
    let length = 0;
    for await (const chunk of duplex) length += (chunk as Buffer).length;
    expect(length).toBe(size);
  });

  it('goes on with what the stream holds', async () => {
    await using ends = await mixed();
    ends.socket.write('first and second');
    const chunks = ends.stream[Symbol.asyncIterator]();
    expect((await readExactly(ends.stream, 5)).toString()).toBe('first');
    await chunks.return?.();
    ends.socket.end();
    expect(Buffer.concat(await ends.stream.toDuplex().toArray()).toString()).toBe(' and second');
  });

  it('fails with what the stream fails with', async () => {
    await using ends = await mixed();
    const duplex = ends.stream.toDuplex();
    const failed = once(duplex, 'error');
    duplex.resume();
    ends.socket.resetAndDestroy();
    const [error] = await failed;
    expect(error).toMatchObject({ code: 'ECONNRESET', syscall: 'read' });
    expect(duplex.destroyed).toBe(true);
  });

  it('that is destroyed closes the stream, whatever is in flight, and says why', async () => {
    await leavesNothing(async () => {
      await using ends = await mixed();
      const duplex = ends.stream.toDuplex();
      duplex.resume();
      duplex.write(bytes(16 << 20, 1));
      const why = new Error('enough');
      const failed = once(duplex, 'error');
      duplex.destroy(why);
      expect(await failed).toEqual([why]);
      await expect.poll(() => duplex.closed, POLL).toBe(true);
      expect(ends.stream.fd).toBe(-1);
    });
  });

  it('over a closed stream fails with EBADF', async () => {
    const ends = await mixed();
    await ends[Symbol.asyncDispose]();
    const duplex = ends.stream.toDuplex();
    expect(await failure(duplex.toArray())).toMatchObject({ code: 'EBADF' });
    expect(metrics().stale).toBe(0);
  });
});
