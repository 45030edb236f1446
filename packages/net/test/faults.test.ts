import net from 'node:net';
import { metrics } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import {
  bytes,
  failure,
  fill,
  flush,
  leavesNothing,
  type Mixed,
  mixed,
  nodeServer,
  POLL,
  pair,
  readAll,
  readExactly,
  type Told,
  told,
} from './support.ts';

/** What node:net says when its peer resets while it reads. */
async function nodeReset(): Promise<Told> {
  await using server = await nodeServer((socket) => socket.once('data', () => socket.resetAndDestroy()));
  return await new Promise((failed) => {
    const socket = net.connect({ host: '127.0.0.1', port: server.port });
    socket.once('error', (error) => failed(told(error))).write('now');
  });
}

/** Resets the connection, and waits until our side has heard of it. */
async function reset(ends: Mixed): Promise<void> {
  ends.socket.resetAndDestroy();
  await expect.poll(() => ends.stream.remoteAddress, POLL).toBeUndefined();
}

const ECONNRESET = { message: 'read ECONNRESET', code: 'ECONNRESET', errno: -104, syscall: 'read' };

describe('a peer that resets', () => {
  it('fails a read that waits, as node:net says it', async () => {
    await using ends = await mixed();
    const reading = ends.stream.read(Buffer.alloc(10));
    ends.socket.resetAndDestroy();
    expect(await failure(reading)).toEqual(ECONNRESET);
    expect(await nodeReset()).toEqual(ECONNRESET);
  });

  it('fails a loop that waits', async () => {
    await using ends = await mixed();
    const received = readAll(ends.stream);
    ends.socket.resetAndDestroy();
    expect(await failure(received)).toEqual(ECONNRESET);
  });

  it('fails a read that waits after a loop', async () => {
    await using ends = await mixed();
    ends.socket.write('x');
    const chunks = ends.stream[Symbol.asyncIterator]();
    await chunks.next();
    const reading = ends.stream.read(Buffer.alloc(10));
    ends.socket.resetAndDestroy();
    expect(await failure(reading)).toEqual(ECONNRESET);
  });

  it('fails the read that comes afterwards', async () => {
    await using ends = await mixed();
    await reset(ends);
    expect(await failure(ends.stream.read(Buffer.alloc(10)))).toEqual(ECONNRESET);
  });

  it('fails the loop that comes afterwards', async () => {
    await using ends = await mixed();
    await reset(ends);
    expect(await failure(readAll(ends.stream))).toEqual(ECONNRESET);
  });

  it('is told once; then comes the end', async () => {
    await using ends = await mixed();
    const received = readAll(ends.stream);
    ends.socket.resetAndDestroy();
    expect(await failure(received)).toEqual(ECONNRESET);
    expect(await readAll(ends.stream)).toHaveLength(0);
    expect(await ends.stream.read(Buffer.alloc(1))).toBe(0);
  });

  it('is told to one of several that wait; the others see the end', async () => {
    await using ends = await mixed();
    const chunks = ends.stream[Symbol.asyncIterator]();
    const waiting = [chunks.next(), chunks.next()];
    ends.socket.resetAndDestroy();
    const outcomes = await Promise.allSettled(waiting);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
    expect(await waiting[1]).toEqual({ done: true, value: undefined });
  });

  it('does not take away what had arrived before', async () => {
    await using ends = await mixed();
    const chunks = ends.stream[Symbol.asyncIterator]();
    ends.socket.write('one');
    expect(String((await chunks.next()).value)).toBe('one');
    ends.socket.write('two');
    await expect.poll(() => ends.stream.buffered, POLL).toBe(3);
    ends.socket.resetAndDestroy();
    await expect.poll(() => metrics().inFlight, POLL).toBe(0);
    expect(String((await chunks.next()).value)).toBe('two');
    expect(await failure(chunks.next())).toEqual(ECONNRESET);
    expect(await chunks.next()).toEqual({ done: true, value: undefined });
  });

  it('fails a writeAll that waits, and the error says how much was sent', async () => {
    await using ends = await mixed();
    const { waiting, size } = await fill(ends.stream);
    await expect.poll(() => metrics().inFlight, POLL).toBe(1);
    ends.socket.resetAndDestroy();
    const error = await failure(waiting);
    expect(error).toMatchObject({ syscall: 'write', code: expect.stringMatching(/^(ECONNRESET|EPIPE)$/) });
    expect(error.message).toBe(`write ${error.code}`);
    expect(error.bytesTransferred).toBeGreaterThan(0);
    expect(error.bytesTransferred).toBeLessThan(size);
  });

  it('fails all sends that wait behind it', async () => {
    await using ends = await mixed();
    const { waiting } = await fill(ends.stream);
    const behind = [ends.stream.writeAll('a'), ends.stream.write('b'), ends.stream.writeAll('c')];
    const errors = Promise.all(behind.map(failure));
    ends.socket.resetAndDestroy();
    await failure(waiting);
    for (const error of await errors) {
      expect(error.code).toMatch(/^(ECONNRESET|EPIPE)$/);
      expect(error).not.toHaveProperty('bytesTransferred');
    }
  });

  it('fails the writes that come afterwards: ECONNRESET to whom it is news, then EPIPE', async () => {
    await using ends = await mixed();
    await reset(ends);
    expect(await failure(ends.stream.writeAll('x'))).toEqual({
      message: 'write ECONNRESET',
      code: 'ECONNRESET',
      errno: -104,
      syscall: 'write',
    });
    expect(await failure(ends.stream.writeAll('x'))).toEqual({
      message: 'write EPIPE',
      code: 'EPIPE',
      errno: -32,
      syscall: 'write',
    });
  });

  it('fails what both directions wait for, and leaves nothing behind', async () => {
    await leavesNothing(async () => {
      await using ends = await mixed();
      const { waiting } = await fill(ends.stream);
      const received = readAll(ends.stream);
      ends.socket.resetAndDestroy();
      const outcomes = await Promise.allSettled([waiting, received]);
      expect(outcomes.map(({ status }) => status)).toContain('rejected');
    });
  });
});

describe('a peer that closes', () => {
  it('lets the first write pass and fails the next one with EPIPE, without a signal', async () => {
    await using ends = await mixed();
    ends.socket.destroy();
    expect(await ends.stream.read(Buffer.alloc(1))).toBe(0);
    expect(await ends.stream.writeAll('into the void')).toBe(13);
    await expect.poll(() => ends.stream.remoteAddress, POLL).toBeUndefined();
    expect(await failure(ends.stream.writeAll('more'))).toEqual({
      message: 'write EPIPE',
      code: 'EPIPE',
      errno: -32,
      syscall: 'write',
    });
  });

  it('with bytes of ours unread resets', async () => {
    await using ends = await pair();
    await ends.client.writeAll('never read');
    await expect.poll(() => metrics().inFlight, POLL).toBe(0);
    await ends.server.close();
    expect(await failure(ends.client.read(Buffer.alloc(1)))).toEqual(ECONNRESET);
  });
});

describe('closing a stream', () => {
  it('ends a loop that waits', async () => {
    await using ends = await pair();
    const received = readAll(ends.server);
    await ends.server.close();
    expect(await received).toHaveLength(0);
  });

  it('ends a loop whose body closes it', async () => {
    await using ends = await pair();
    const data = bytes(200_000, 1);
    ends.client.writeAll(data).catch(() => {});
    let chunks = 0;
    for await (const _ of ends.server) {
      chunks++;
      await ends.server.close();
    }
    expect(chunks).toBe(1);
    expect(ends.server.buffered).toBe(0);
  });

  it.each(['first', 'after a loop'])('rejects a read that waits, %s, with ECANCELED', async (when) => {
    await using ends = await pair();
    if (when === 'after a loop') {
      await ends.client.writeAll('x');
      await ends.server[Symbol.asyncIterator]().next();
    }
    const reading = ends.server.read(Buffer.alloc(10));
    const closing = ends.server.close();
    expect(await failure(reading)).toEqual({
      message: 'read ECANCELED',
      code: 'ECANCELED',
      errno: -125,
      syscall: 'read',
    });
    await closing;
  });

  it('rejects a writeAll that waits with ECANCELED, and the error says how much was sent', async () => {
    await using ends = await pair();
    const { waiting, size } = await fill(ends.client);
    await expect.poll(() => metrics().inFlight, POLL).toBe(1);
    await ends.client.close();
    const error = await failure(waiting);
    expect(error).toMatchObject({
      message: 'write ECANCELED',
      code: 'ECANCELED',
      errno: -125,
      syscall: 'write',
    });
    const sent = Number(error.bytesTransferred);
    expect(sent).toBeGreaterThan(0);
    const received = await readAll(ends.server);
    expect(received.equals(bytes(size, 1).subarray(0, sent))).toBe(true);
  });

  it('rejects the sends that wait behind it, and none of their bytes go out', async () => {
    await using ends = await pair();
    const { waiting, size } = await fill(ends.client);
    const behind = [ends.client.writeAll('behind'), ends.client.write('behind')];
    await expect.poll(() => metrics().inFlight, POLL).toBe(1);
    const errors = Promise.all(behind.map(failure));
    const closing = ends.client.close();
    const sent = Number((await failure(waiting)).bytesTransferred);
    for (const error of await errors) {
      expect(error).toEqual({
        message: 'write ECANCELED',
        code: 'ECANCELED',
        errno: -125,
        syscall: 'write',
      });
    }
    await closing;
    expect((await readAll(ends.server)).equals(bytes(size, 1).subarray(0, sent))).toBe(true);
  });

  it('rejects a shutdown that waits for sends with ECANCELED', async () => {
    await using ends = await pair();
    const { waiting } = await fill(ends.client);
    const ending = ends.client.shutdown();
    const closing = ends.client.close();
    expect(await failure(ending)).toMatchObject({ code: 'ECANCELED', syscall: 'shutdown' });
    expect(await failure(waiting)).toMatchObject({ code: 'ECANCELED', syscall: 'write' });
    await closing;
  });

  it('settles a loop that is just being left', async () => {
    await using ends = await pair();
    await ends.client.writeAll('x');
    const chunks = ends.server[Symbol.asyncIterator]();
    await chunks.next();
    const leaving = chunks.return?.();
    const closing = ends.server.close();
    expect(await leaving).toEqual({ done: true, value: undefined });
    await closing;
  });

  it('settles everything that is in flight at once', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const { waiting } = await fill(ends.client);
      const received = readAll(ends.client);
      const ending = ends.client.shutdown();
      const outcomes = Promise.allSettled([waiting, received, ending]);
      await ends.client.close();
      expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected']);
    });
  });

  it('before anything has begun leaves nothing either', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      ends.client.writeAll('x').catch(() => {});
      ends.server.read(Buffer.alloc(1)).catch(() => {});
      await Promise.all([ends.client.close(), ends.server.close()]);
    });
  });

  it('lets what a finished writeAll has handed over arrive', async () => {
    await using ends = await pair();
    const data = bytes(100_000, 2);
    await ends.client.writeAll(data);
    await ends.client.close();
    expect((await readAll(ends.server)).equals(data)).toBe(true);
  });

  it('ends the stream for the peer', async () => {
    await using ends = await pair();
    await ends.client.close();
    expect(await ends.server.read(Buffer.alloc(1))).toBe(0);
  });

  it('drops what has arrived and nobody has read', async () => {
    await using ends = await pair();
    await ends.client.writeAll('.');
    for await (const _ of ends.server) {
      await ends.client.writeAll('unread');
      await expect.poll(() => ends.server.buffered, POLL).toBe(6);
      break;
    }
    await ends.server.close();
    expect(ends.server.buffered).toBe(0);
  });

  it('gives back the buffers of what arrives nevertheless', async () => {
    for (let round = 0; round < 100; round++) {
      await using ends = await pair();
      await ends.client.writeAll(Buffer.alloc(65_536));
      const received = readAll(ends.server);
      flush(); // the receive has brought its bytes, and nobody has heard of them
      await ends.server.close();
      expect(await received).toHaveLength(0);
    }
    // The pool has fewer buffers than that.
    await using ends = await pair();
    const before = metrics().sqes;
    await ends.client.writeAll('hello');
    await ends.server[Symbol.asyncIterator]().next();
    expect(metrics().sqes - before).toBe(2);
  });

  it('twice is closing once', async () => {
    await using ends = await pair();
    const closing = ends.client.close();
    expect(ends.client.close()).toBe(closing);
    await closing;
    expect(ends.client.close()).toBe(closing);
  });

  it('twice is closing once while ops are in flight as well', async () => {
    await using ends = await pair();
    const received = readAll(ends.client);
    const closing = ends.client.close();
    expect(ends.client.close()).toBe(closing);
    await closing;
    expect(await received).toHaveLength(0);
  });

  it('is what `await using` does', async () => {
    await using ends = await pair();
    {
      await using stream = ends.client;
      expect(stream.fd).toBeGreaterThan(2);
    }
    expect(ends.client.fd).toBe(-1);
  });

  it('makes everything that is begun afterwards fail with EBADF', async () => {
    await using ends = await pair();
    await ends.client.close();
    const { client } = ends;
    const ops: [syscall: string, begin: () => PromiseLike<unknown>][] = [
      ['read', () => client.read(Buffer.alloc(1))],
      ['read', () => readAll(client)],
      ['write', () => client.write('x')],
      ['write', () => client.writeAll('x')],
      ['shutdown', () => client.shutdown()],
    ];
    for (const [syscall, begin] of ops) {
      expect(await failure(begin())).toEqual({
        message: `EBADF: bad file descriptor, ${syscall}`,
        code: 'EBADF',
        errno: -9,
        syscall,
      });
    }
    await expect(client.setNoDelay()).rejects.toEqual(expect.objectContaining({ code: 'EBADF' }));
  });

  it('makes everything fail with EBADF from the call on, not only once it is done', async () => {
    await using ends = await pair();
    const received = readAll(ends.client);
    const closing = ends.client.close();
    expect(await failure(ends.client.writeAll('x'))).toMatchObject({ code: 'EBADF' });
    expect(await failure(ends.client.read(Buffer.alloc(1)))).toMatchObject({ code: 'EBADF' });
    await closing;
    await received;
  });

  it('closes no descriptor that has been given out anew meanwhile', async () => {
    await using one = await pair();
    const { fd } = one.client;
    const reading = one.client.read(Buffer.alloc(1));
    const closing = one.client.close();
    await failure(reading);
    await closing;
    await using other = await pair();
    expect([other.client.fd, other.server.fd]).toContain(fd);
    await one.client.close();
    await other.client.writeAll('alive');
    expect((await readExactly(other.server, 5)).toString()).toBe('alive');
  });
});

describe('cancelling', () => {
  const ways = ['cancel', 'signal'] as const;

  it.each(ways)('a read by %s rejects with an AbortError, and the stream goes on', async (way) => {
    await using ends = await pair();
    const controller = new AbortController();
    const reading = ends.server.read(Buffer.alloc(10), { signal: controller.signal });
    await expect.poll(() => metrics().inFlight, POLL).toBe(1);
    if (way === 'cancel') reading.cancel('why');
    else controller.abort('why');
    await expect(reading).rejects.toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: 'why' });
    await ends.client.writeAll('hello');
    expect((await readExactly(ends.server, 5)).toString()).toBe('hello');
  });

  it('leaves nothing behind', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const waiting = [ends.server.read(Buffer.alloc(10)), ends.client.writeAll(Buffer.alloc(16 << 20))];
      await expect.poll(() => metrics().inFlight, POLL).toBeGreaterThan(0);
      for (const each of waiting) each.cancel();
      await Promise.allSettled(waiting);
    });
  });

  it.each(ways)('a read after a loop by %s loses no bytes', async (way) => {
    await using ends = await pair();
    const chunks = ends.server[Symbol.asyncIterator]();
    await ends.client.writeAll('1');
    await chunks.next();
    const controller = new AbortController();
    const reading = ends.server.read(Buffer.alloc(10), { signal: controller.signal });
    if (way === 'cancel') reading.cancel('why');
    else controller.abort('why');
    await expect(reading).rejects.toMatchObject({ name: 'AbortError', cause: 'why' });
    await ends.client.writeAll('2');
    expect(String((await chunks.next()).value)).toBe('2');
  });

  it('reads again and again loses no bytes', async () => {
    await using ends = await pair();
    const data = bytes(500_000, 3);
    const sending = (async () => {
      for (let at = 0; at < data.length; at += 1_000) {
        await ends.client.writeAll(data.subarray(at, at + 1_000));
        if (at % 7_000 === 0) await new Promise(setImmediate);
      }
      await ends.client.shutdown();
    })();
    const parts: Buffer[] = [];
    let aborted = 0;
    for (let round = 0; ; round++) {
      const buffer = Buffer.alloc(1_500);
      const reading = ends.server.read(buffer);
      // Before it is submitted, or while it waits, or when it has ended already.
      if (round % 3 === 0) reading.cancel();
      else if (round % 3 === 1) setImmediate(() => reading.cancel());
      try {
        const count = await reading;
        if (count === 0) break;
        parts.push(buffer.subarray(0, count));
      } catch {
        aborted++;
      }
    }
    await sending;
    expect(aborted).toBeGreaterThan(0);
    expect(Buffer.concat(parts).equals(data)).toBe(true);
  });

  it.each(ways)('a writeAll by %s says how much was sent, and exactly that arrives', async (way) => {
    await using ends = await pair();
    const controller = new AbortController();
    const data = bytes(16 << 20, 4);
    const sending = ends.client.writeAll(data, { signal: controller.signal });
    await expect.poll(() => metrics().inFlight, POLL).toBe(1);
    if (way === 'cancel') sending.cancel('why');
    else controller.abort('why');
    const error = await sending.catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: 'AbortError', cause: 'why' });
    const { bytesTransferred: sent } = error as { bytesTransferred: number };
    expect(sent).toBeGreaterThan(0);
    const rest = ends.client.writeAll(data.subarray(sent)).then(() => ends.client.shutdown());
    expect((await readAll(ends.server)).equals(data)).toBe(true);
    await rest;
  });

  it.each(ways)('a writeAll that waits for another by %s takes only itself away', async (way) => {
    await using ends = await pair();
    const { waiting, size } = await fill(ends.client);
    const controller = new AbortController();
    const cancelled = ends.client.writeAll('not this', { signal: controller.signal });
    const after = ends.client.writeAll('but this');
    if (way === 'cancel') cancelled.cancel('why');
    else controller.abort('why');
    await expect(cancelled).rejects.toMatchObject({ name: 'AbortError', cause: 'why', bytesTransferred: 0 });
    await readExactly(ends.server, size);
    expect((await readExactly(ends.server, 8)).toString()).toBe('but this');
    expect([await waiting, await after]).toEqual([size, 8]);
  });

  it('what has settled changes nothing', async () => {
    await using ends = await pair();
    const sending = ends.client.writeAll('hello');
    expect(await sending).toBe(5);
    sending.cancel();
    const reading = ends.server.read(Buffer.alloc(5));
    expect(await reading).toBe(5);
    reading.cancel();
    await ends.client.writeAll('again');
    expect((await readExactly(ends.server, 5)).toString()).toBe('again');
  });

  it('twice keeps the first reason', async () => {
    await using ends = await pair();
    const reading = ends.server.read(Buffer.alloc(1));
    reading.cancel('first');
    reading.cancel('second');
    await expect(reading).rejects.toMatchObject({ cause: 'first' });
  });

  it('and closing in the same turn rejects with the AbortError', async () => {
    await using ends = await pair();
    const reading = ends.server.read(Buffer.alloc(1));
    reading.cancel('first');
    const closing = ends.server.close();
    await expect(reading).rejects.toMatchObject({ name: 'AbortError', cause: 'first' });
    await closing;
  });

  it('leaves no listener on a signal that outlives the op', async () => {
    await using ends = await pair();
    const controller = new AbortController();
    let added = 0;
    const { signal } = controller;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>): void => {
      added++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>): void => {
      added--;
      remove(...args);
    };
    for (let i = 0; i < 20; i++) {
      await ends.client.writeAll('x', { signal });
      await ends.server.read(Buffer.alloc(1), { signal });
    }
    expect(added).toBe(0);
  });
});
