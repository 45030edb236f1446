import { once } from 'node:events';
import { IPPROTO_TCP, TCP_NODELAY } from '@ouro/native/abi';
import { metrics } from '@ouro/runtime';
import { reactor } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import {
  bytes,
  failure,
  fill,
  leavesNothing,
  mixed,
  pair,
  Random,
  readAll,
  readExactly,
  socketReadAll,
} from './support.ts';

const SIZES = [1, 95, 96, 97, 2_048, 2_049, 4_095, 4_096, 16_383, 16_384, 16_385, 65_536];
const MIB = 1 << 20;

describe('writeAll', () => {
  it('sends everything, and resolves to its length', async () => {
    await using ends = await pair();
    expect(await ends.client.writeAll(Buffer.from('hello'))).toBe(5);
    expect((await readExactly(ends.server, 5)).toString()).toBe('hello');
  });

  it.each([...SIZES, MIB - 1, MIB, MIB + 1])('sends %i bytes exactly', async (size) => {
    await using ends = await pair();
    const data = bytes(size, size);
    const sending = ends.client.writeAll(data).then((sent) => ends.client.shutdown().then(() => sent));
    expect((await readAll(ends.server)).equals(data)).toBe(true);
    expect(await sending).toBe(size);
  });

  it('sends a string as UTF-8, and counts bytes', async () => {
    await using ends = await pair();
    const text = 'naïve 漢字 🚀';
    expect(await ends.client.writeAll(text)).toBe(Buffer.byteLength(text));
    expect((await readExactly(ends.server, Buffer.byteLength(text))).toString()).toBe(text);
  });

  it('sends the view only, not the rest of its buffer', async () => {
    await using ends = await pair();
    const whole = Buffer.from('..abc...');
    expect(await ends.client.writeAll(whole.subarray(2, 5))).toBe(3);
    await ends.client.writeAll(new DataView(whole.buffer, whole.byteOffset + 3, 1));
    expect((await readExactly(ends.server, 4)).toString()).toBe('abcb');
  });

  it.each(['', Buffer.alloc(0)])('of nothing is 0, without the kernel', async (nothing) => {
    await using ends = await pair();
    const before = metrics().sqes;
    expect(await ends.client.writeAll(nothing)).toBe(0);
    expect(metrics().sqes).toBe(before);
  });

  it('keeps the order in which it was asked for, awaited or not', async () => {
    await using ends = await pair();
    const random = new Random(7);
    const pieces = Array.from({ length: 200 }, (_, i) => bytes(random.integer(1, 30_000), i));
    const sending = pieces.map((piece) => ends.client.writeAll(piece));
    const received = readAll(ends.server);
    expect(await Promise.all(sending)).toEqual(pieces.map((piece) => piece.length));
    await ends.client.shutdown();
    expect((await received).equals(Buffer.concat(pieces))).toBe(true);
  });

  it('keeps the order among strings, bytes, write and writeAll', async () => {
    await using ends = await pair();
    const sending = [
      ends.client.writeAll('1'),
      ends.client.write(Buffer.from('2')),
      ends.client.writeAll(''),
      ends.client.writeAll(new Uint8Array([0x33])),
      ends.client.write('4'),
    ];
    expect(await Promise.all(sending)).toEqual([1, 1, 0, 1, 1]);
    expect((await readExactly(ends.server, 4)).toString()).toBe('1234');
  });

  it('of more than the socket takes waits for the peer', async () => {
    await using ends = await pair();
    const { waiting, size } = await fill(ends.client);
    const data = await readExactly(ends.server, size);
    expect(await waiting).toBe(size);
    expect(data.equals(bytes(size, 1))).toBe(true);
  });

  it('needs one SQE for a message', async () => {
    await using ends = await pair();
    const before = metrics().sqes;
    for (let i = 0; i < 20; i++) await ends.client.writeAll('message');
    expect(metrics().sqes - before).toBe(20);
  });

  it('needs one SQE for megabytes as well', async () => {
    await using ends = await mixed();
    const received = socketReadAll(ends.socket);
    const before = metrics().sqes;
    await ends.stream.writeAll(Buffer.alloc(16 * MIB));
    expect(metrics().sqes - before).toBe(1);
    await ends.stream.shutdown();
    expect(await received).toHaveLength(16 * MIB);
  });

  it('does not begin with a signal that was aborted before', async () => {
    await using ends = await pair();
    const before = metrics().pending;
    const sending = ends.client.writeAll('x', { signal: AbortSignal.abort('before') });
    expect(metrics().pending).toBe(before);
    await expect(sending).rejects.toMatchObject({ name: 'AbortError', cause: 'before' });
  });

  it.each([undefined, null, 5, {}, [], new ArrayBuffer(8)])('throws a TypeError for %o', async (value) => {
    await using ends = await pair();
    const send = (): unknown => ends.client.writeAll(value as unknown as string);
    expect(send).toThrow(TypeError);
    expect(send).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }));
  });
});

describe('write', () => {
  it('sends what the socket takes at once, and says how much that was', async () => {
    await using ends = await pair();
    const data = bytes(64 * MIB, 3);
    const sent = await ends.client.write(data);
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(data.length);
    await ends.client.shutdown();
    expect((await readAll(ends.server)).equals(data.subarray(0, sent))).toBe(true);
  });

  it('can be repeated until all is sent', async () => {
    await using ends = await pair();
    const data = bytes(8 * MIB, 4);
    const received = readAll(ends.server);
    for (let sent = 0; sent < data.length; ) sent += await ends.client.write(data.subarray(sent));
    await ends.client.shutdown();
    expect((await received).equals(data)).toBe(true);
  });

  it('sends a string', async () => {
    await using ends = await pair();
    expect(await ends.client.write('hello')).toBe(5);
    expect((await readExactly(ends.server, 5)).toString()).toBe('hello');
  });
});

describe('both directions at once', () => {
  it('echo 5 MiB', async () => {
    await using ends = await pair();
    const data = bytes(5 * MIB, 5);
    const echoing = (async () => {
      for await (const chunk of ends.server) await ends.server.writeAll(chunk);
      await ends.server.shutdown();
    })();
    const sending = ends.client.writeAll(data).then(() => ends.client.shutdown());
    expect((await readAll(ends.client)).equals(data)).toBe(true);
    await Promise.all([echoing, sending]);
  });

  it('carry 5 MiB each, independent of one another', async () => {
    await using ends = await pair();
    const [there, back] = [bytes(5 * MIB, 6), bytes(5 * MIB, 7)];
    const [, , atServer, atClient] = await Promise.all([
      ends.client.writeAll(there).then(() => ends.client.shutdown()),
      ends.server.writeAll(back).then(() => ends.server.shutdown()),
      readAll(ends.server),
      readAll(ends.client),
    ]);
    expect([atServer.equals(there), atClient.equals(back)]).toEqual([true, true]);
  });

  it.each(SIZES)('echo messages of %i bytes', async (size) => {
    await using ends = await pair();
    const message = bytes(size, size);
    const echoing = (async () => {
      for await (const chunk of ends.server) await ends.server.writeAll(chunk);
    })();
    for (let i = 0; i < 5; i++) {
      const sending = ends.client.writeAll(message);
      expect((await readExactly(ends.client, size)).equals(message)).toBe(true);
      await sending;
    }
    await ends.client.shutdown();
    await echoing;
  });
});

describe('shutdown', () => {
  it('ends what we send, and the answer can still be read', async () => {
    await using ends = await pair();
    const answering = (async () => {
      const question = await readAll(ends.server);
      await ends.server.writeAll(`answer to ${question}`);
      await ends.server.shutdown();
    })();
    await ends.client.writeAll('question');
    await ends.client.shutdown();
    expect((await readAll(ends.client)).toString()).toBe('answer to question');
    await answering;
  });

  it('ends only one direction: a peer that has ended still receives', async () => {
    await using ends = await mixed();
    ends.socket.end('question');
    expect((await readAll(ends.stream)).toString()).toBe('question');
    await ends.stream.writeAll('answer');
    await ends.stream.shutdown();
    expect((await socketReadAll(ends.socket)).toString()).toBe('answer');
  });

  it('waits for the sends that were asked for before', async () => {
    await using ends = await pair();
    const data = bytes(16 * MIB, 8);
    const pieces = [
      data.subarray(0, 10 * MIB),
      data.subarray(10 * MIB, 16 * MIB - 5),
      data.subarray(16 * MIB - 5),
    ];
    const sending = pieces.map((piece) => ends.client.writeAll(piece));
    const ending = ends.client.shutdown();
    expect((await readAll(ends.server)).equals(data)).toBe(true);
    expect(await Promise.all(sending)).toEqual(pieces.map((piece) => piece.length));
    await ending;
  });

  it('refuses what is sent afterwards with EPIPE, even in the same turn', async () => {
    await using ends = await pair();
    const sending = ends.client.writeAll('before');
    const ending = ends.client.shutdown();
    expect(await failure(ends.client.writeAll('after'))).toEqual({
      message: 'write EPIPE',
      code: 'EPIPE',
      errno: -32,
      syscall: 'write',
    });
    await Promise.all([sending, ending]);
    expect(await failure(ends.client.write('after'))).toMatchObject({ code: 'EPIPE' });
    expect((await readAll(ends.server)).toString()).toBe('before');
  });

  it('cancelled while it waits for sends, lets sends go on', async () => {
    await using ends = await pair();
    const { waiting, size } = await fill(ends.client);
    const ending = ends.client.shutdown();
    ending.cancel('not yet');
    await expect(ending).rejects.toMatchObject({ name: 'AbortError', cause: 'not yet' });
    const more = ends.client.writeAll('more');
    await readExactly(ends.server, size);
    expect((await readExactly(ends.server, 4)).toString()).toBe('more');
    expect([await waiting, await more]).toEqual([size, 4]);
  });

  it('of the reading side ends a loop that waits', async () => {
    await using ends = await pair();
    const received = readAll(ends.server);
    await ends.server.shutdown('read');
    expect(await received).toHaveLength(0);
  });

  it('of both ends both', async () => {
    await using ends = await pair();
    await ends.client.shutdown('both');
    expect(await ends.client.read(Buffer.alloc(1))).toBe(0);
    expect(await ends.server.read(Buffer.alloc(1))).toBe(0);
    expect(await failure(ends.client.writeAll('x'))).toMatchObject({ code: 'EPIPE' });
  });

  it('may be asked for twice', async () => {
    await using ends = await pair();
    await Promise.all([ends.client.shutdown(), ends.client.shutdown()]);
    expect(await ends.server.read(Buffer.alloc(1))).toBe(0);
  });

  it('says ENOTCONN of a connection that is gone', async () => {
    await using ends = await mixed();
    const reading = ends.stream.read(Buffer.alloc(1));
    ends.socket.resetAndDestroy();
    expect(await failure(reading)).toMatchObject({ code: 'ECONNRESET' });
    expect(await failure(ends.stream.shutdown())).toEqual({
      message: 'shutdown ENOTCONN',
      code: 'ENOTCONN',
      errno: -107,
      syscall: 'shutdown',
    });
  });

  it.each(['', 'all', 0, null])('throws a TypeError for %o', async (how) => {
    await using ends = await pair();
    const shutdown = (): unknown => ends.client.shutdown(how as 'read');
    expect(shutdown).toThrow(TypeError);
    expect(shutdown).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }));
  });
});

describe('a stream', () => {
  it('sends small writes at once after setNoDelay, and gathers them again after setNoDelay(false)', async () => {
    await using ends = await pair();
    const noDelay = (): number => reactor().addon.getsockopt(ends.client.fd, IPPROTO_TCP, TCP_NODELAY);
    expect(noDelay()).toBe(0);
    const set = ends.client.setNoDelay();
    expect(noDelay()).toBe(1);
    await set;
    await ends.client.setNoDelay(false);
    expect(noDelay()).toBe(0);
  });

  it('knows its addresses after it was closed, if somebody had asked before', async () => {
    await using ends = await pair();
    const { localAddress, remoteAddress } = ends.client;
    await ends.client.close();
    expect([ends.client.localAddress, ends.client.remoteAddress]).toEqual([localAddress, remoteAddress]);
    await ends.server.close();
    expect([ends.server.localAddress, ends.server.remoteAddress]).toEqual([undefined, undefined]);
  });

  it('knows the address of a peer that is gone, if somebody had asked before', async () => {
    await using asked = await mixed();
    await using late = await mixed();
    const { remoteAddress } = asked.stream;
    expect(remoteAddress?.port).toBe(asked.socket.localPort);
    for (const ends of [asked, late]) {
      ends.socket.resetAndDestroy();
      expect(await failure(ends.stream.read(Buffer.alloc(1)))).toMatchObject({ code: 'ECONNRESET' });
    }
    expect(asked.stream.remoteAddress).toEqual(remoteAddress);
    expect(late.stream.remoteAddress).toBeUndefined();
  });

  it('knows the address of a peer that has ended', async () => {
    await using ends = await mixed();
    ends.socket.end();
    expect(await ends.stream.read(Buffer.alloc(1))).toBe(0);
    expect(ends.stream.remoteAddress?.port).toBe(ends.socket.localPort);
  });

  it('sends to node:net what it sends to its own kind', async () => {
    await using ends = await mixed();
    const data = bytes(3 * MIB + 1, 9);
    const received = socketReadAll(ends.socket);
    await ends.stream.writeAll(data);
    await ends.stream.shutdown();
    expect((await received).equals(data)).toBe(true);
  });

  it('receives from node:net what it receives from its own kind', async () => {
    await using ends = await mixed();
    const data = bytes(3 * MIB + 1, 10);
    ends.socket.end(data);
    const received = readAll(ends.stream);
    await once(ends.socket, 'finish');
    expect((await received).equals(data)).toBe(true);
  });

  it('leaves nothing behind after megabytes in both directions', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const data = bytes(2 * MIB, 11);
      await Promise.all([
        ends.client.writeAll(data).then(() => ends.client.shutdown()),
        ends.server.writeAll(data).then(() => ends.server.shutdown()),
        readAll(ends.client),
        readAll(ends.server),
      ]);
    });
  });
});
