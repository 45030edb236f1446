import type { TcpStream } from '@ouro/net';
import { Scope } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { bytes, failure, leavesNothing, mixed, POLL, pair, readAll, readExactly } from './support.ts';

const KIB = 1024;

/** Has all that arrives go through the stream's own buffer from then on; takes one byte. */
async function throughBuffer(ends: { client: TcpStream; server: TcpStream }): Promise<void> {
  await ends.client.writeAll('.');
  for await (const _ of ends.server) break;
}

/** Sends in pieces, each of which arrives before the next is sent. */
async function trickle(
  ends: { client: TcpStream; server: TcpStream },
  pieces: readonly string[],
): Promise<void> {
  for (const piece of pieces) {
    const before = ends.server.bytesRead;
    await ends.client.writeAll(piece);
    await expect.poll(() => ends.server.bytesRead, POLL).toBeGreaterThan(before);
  }
}

describe('readExact', () => {
  it('fills the buffer, however the bytes arrive', async () => {
    await using ends = await pair();
    const buffer = Buffer.alloc(10);
    const reading = ends.server.readExact(buffer);
    for (const piece of ['hel', 'lo', ' worlds']) await ends.client.writeAll(piece);
    expect(await reading).toBe(10);
    expect(buffer.toString()).toBe('hello worl');
    expect((await readExactly(ends.server, 2)).toString()).toBe('ds');
  });

  it.each([1, 16 * KIB, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 256 * KIB + 1, 5 * KIB * KIB])(
    'of %i bytes is exact, directly and through the buffer of the stream',
    async (length) => {
      await using ends = await pair();
      const sent = [bytes(length, 1), bytes(length, 2), bytes(length, 3)] as const;
      const sending = (async () => {
        await ends.client.writeAll(sent[0]);
        await ends.client.writeAll('.');
        await ends.client.writeAll(sent[1]);
        await ends.client.writeAll(sent[2]);
      })();
      const buffer = Buffer.alloc(length);
      await ends.server.readExact(buffer);
      expect(buffer.equals(sent[0])).toBe(true);
      const first = await ends.server[Symbol.asyncIterator]().next();
      const rest = Buffer.from(first.value ?? '').subarray(1);
      const second = Buffer.alloc(length * 2 - rest.length);
      await ends.server.readExact(second);
      expect(Buffer.concat([rest, second]).equals(Buffer.concat([sent[1], sent[2]]))).toBe(true);
      await sending;
    },
  );

  it('of an empty buffer is full at once', async () => {
    await using ends = await pair();
    expect(await ends.server.readExact(Buffer.alloc(0))).toBe(0);
  });

  it.each(['directly', 'through the buffer'])(
    'says how much there was if the stream ends before, %s',
    async (way) => {
      await using ends = await pair();
      if (way !== 'directly') await throughBuffer(ends);
      const buffer = Buffer.alloc(10);
      const reading = failure(ends.server.readExact(buffer));
      await ends.client.writeAll('four');
      await ends.client.shutdown();
      expect(await reading).toMatchObject({
        code: 'ERR_OURO_UNEXPECTED_END',
        message: 'The stream has ended too early: 4 of 10 bytes had arrived',
        bytesTransferred: 4,
      });
      expect(buffer.subarray(0, 4).toString()).toBe('four');
    },
  );

  it('carries no number of bytes if there were none', async () => {
    await using ends = await pair();
    await ends.client.shutdown();
    const error = await failure(ends.server.readExact(Buffer.alloc(10)));
    expect(error).toMatchObject({ code: 'ERR_OURO_UNEXPECTED_END' });
    expect(error).not.toHaveProperty('bytesTransferred');
  });

  it.each(['directly', 'through the buffer'])(
    'cancelled on the way says how much is in the buffer, and the stream goes on behind it, %s',
    async (way) => {
      await using ends = await pair();
      if (way !== 'directly') await throughBuffer(ends);
      const buffer = Buffer.alloc(10);
      const reading = ends.server.readExact(buffer);
      const failed = failure(reading);
      await ends.client.writeAll('four');
      await expect.poll(() => buffer.subarray(0, 4).toString(), POLL).toBe('four');
      reading.cancel(new Error('enough'));
      expect(await failed).toMatchObject({ code: 'ABORT_ERR', bytesTransferred: 4 });
      await ends.client.writeAll('more');
      expect((await readExactly(ends.server, 4)).toString()).toBe('more');
    },
  );

  it.each(['directly', 'through the buffer'])('is given up by signal, scope and timeout, %s', async (way) => {
    await using ends = await pair();
    if (way !== 'directly') await throughBuffer(ends);
    const controller = new AbortController();
    const aborted = failure(ends.server.readExact(Buffer.alloc(4), { signal: controller.signal }));
    controller.abort();
    expect(await aborted).toMatchObject({ code: 'ABORT_ERR' });
    const scope = new Scope();
    const scoped = failure(ends.server.readExact(Buffer.alloc(4), { scope }));
    scope.cancel();
    expect(await scoped).toMatchObject({ code: 'ABORT_ERR' });
    expect(await failure(ends.server.readExact(Buffer.alloc(4), { timeout: 5 }))).toMatchObject({
      code: 'ETIMEDOUT',
    });
    await ends.client.writeAll('good');
    expect((await readExactly(ends.server, 4)).toString()).toBe('good');
  });

  it.each(['directly', 'through the buffer'])(
    'fails with ECANCELED when the stream is closed meanwhile, %s',
    async (way) => {
      await using ends = await pair();
      if (way !== 'directly') await throughBuffer(ends);
      const buffer = Buffer.alloc(10);
      const reading = failure(ends.server.readExact(buffer));
      await ends.client.writeAll('four');
      await expect.poll(() => buffer.subarray(0, 4).toString(), POLL).toBe('four');
      await ends.server.close();
      expect(await reading).toMatchObject({ code: 'ECANCELED', syscall: 'read', bytesTransferred: 4 });
      expect(await failure(ends.server.readExact(buffer))).toMatchObject({ code: 'EBADF' });
    },
  );

  it('says ECONNRESET, with the bytes that came before', async () => {
    await using ends = await mixed();
    const buffer = Buffer.alloc(10);
    const reading = failure(ends.stream.readExact(buffer));
    ends.socket.write('four');
    await expect.poll(() => buffer.subarray(0, 4).toString(), POLL).toBe('four');
    ends.socket.resetAndDestroy();
    expect(await reading).toMatchObject({ code: 'ECONNRESET', bytesTransferred: 4 });
  });

  it('is one read: another is refused meanwhile', async () => {
    await using ends = await pair();
    const reading = ends.server.readExact(Buffer.alloc(2));
    expect(await failure(ends.server.read(Buffer.alloc(2)))).toMatchObject({ code: 'ERR_INVALID_STATE' });
    expect(await failure(ends.server.readUntil('x'))).toMatchObject({ code: 'ERR_INVALID_STATE' });
    expect(await failure(ends.server.chunks().next())).toMatchObject({ code: 'ERR_INVALID_STATE' });
    await ends.client.writeAll('ok');
    expect(await reading).toBe(2);
  });

  it('into a resizable buffer that shrinks meanwhile is a TypeError, and the bytes can still be read', async () => {
    await using ends = await pair();
    const Kind = ArrayBuffer as unknown as new (
      length: number,
      options: { maxByteLength: number },
    ) => ArrayBuffer & { resize(length: number): void };
    const memory = new Kind(8, { maxByteLength: 8 });
    const reading = ends.server.readExact(new Uint8Array(memory, 0, 8));
    const failed = failure(reading);
    memory.resize(2);
    await ends.client.writeAll('12345678');
    await expect(failed).resolves.toMatchObject({
      message: expect.stringMatching(/shrunk|detached|out-of-bounds|bounds/i),
    });
    expect((await readExactly(ends.server, 8)).toString()).toBe('12345678');
  });

  it('does not begin with a detached buffer', async () => {
    await using ends = await pair();
    const view = new Uint8Array(8);
    structuredClone(view.buffer, { transfer: [view.buffer] });
    expect(() => ends.server.readExact(view)).toThrow(TypeError);
  });
});

describe('readUntil', () => {
  it.each([
    ['a byte', 10],
    ['a string', '\n'],
    ['bytes', new Uint8Array([10])],
  ])('takes %s', async (_, delimiter) => {
    await using ends = await pair();
    await ends.client.writeAll('one\ntwo\nrest');
    expect((await ends.server.readUntil(delimiter)).toString()).toBe('one\n');
    expect((await ends.server.readUntil(delimiter)).toString()).toBe('two\n');
    expect((await readExactly(ends.server, 4)).toString()).toBe('rest');
  });

  it('finds a delimiter that comes in pieces', async () => {
    await using ends = await pair();
    const reading = ends.server.readUntil('\r\n\r\n');
    await trickle(ends, ['GET / HTTP/1.1\r', '\n', 'Host: x\r\n\r', '\nbody']);
    expect((await reading).toString()).toBe('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect((await readExactly(ends.server, 4)).toString()).toBe('body');
  });

  it('finds one that comes byte by byte, behind the beginnings of others', async () => {
    await using ends = await pair();
    const reading = ends.server.readUntil('aab');
    await trickle(ends, [...'xaaaaabaab']);
    expect((await reading).toString()).toBe('xaaaaab');
    expect((await ends.server.readUntil('aab')).toString()).toBe('aab');
  });

  it.each([16 * KIB, 64 * KIB, 256 * KIB, KIB * KIB])(
    'finds one around byte %i of what has arrived',
    async (where) => {
      await using ends = await pair();
      for (const before of [where - 2, where - 1, where, where + 1]) {
        const sending = ends.client.writeAll(Buffer.concat([Buffer.alloc(before, 'x'), Buffer.from('END!')]));
        const found = await ends.server.readUntil('END', { maxLength: 2 * KIB * KIB });
        expect(found.length).toBe(before + 3);
        expect(found.subarray(before).toString()).toBe('END');
        expect((await readExactly(ends.server, 1)).toString()).toBe('!');
        await sending;
      }
    },
  );

  it('is empty where the stream has ended', async () => {
    await using ends = await pair();
    await ends.client.writeAll('last\n');
    await ends.client.shutdown();
    expect((await ends.server.readUntil('\n')).toString()).toBe('last\n');
    expect((await ends.server.readUntil('\n')).length).toBe(0);
    expect((await ends.server.readUntil('\n')).length).toBe(0);
  });

  it('says so if the stream ends without it, and loses nothing', async () => {
    await using ends = await pair();
    await ends.client.writeAll('no end');
    await ends.client.shutdown();
    for (let i = 0; i < 2; i++) {
      expect(await failure(ends.server.readUntil('\n'))).toMatchObject({
        code: 'ERR_OURO_UNEXPECTED_END',
        message: 'The stream has ended too early: 6 bytes without the delimiter can still be read',
      });
    }
    expect((await readAll(ends.server)).toString()).toBe('no end');
  });

  it('beyond maxLength is a RangeError, and nothing is lost', async () => {
    await using ends = await pair();
    await ends.client.writeAll('12345678\nrest');
    expect(await failure(ends.server.readUntil('\n', { maxLength: 8 }))).toMatchObject({
      code: 'ERR_OUT_OF_RANGE',
    });
    expect((await ends.server.readUntil('\n', { maxLength: 9 })).toString()).toBe('12345678\n');
    expect((await readExactly(ends.server, 4)).toString()).toBe('rest');
  });

  it('of a peer who never sends it takes no more than maxLength and what one turn brings', async () => {
    await using ends = await mixed();
    ends.socket.write(Buffer.alloc(32 * KIB * KIB, 'x'));
    expect(await failure(ends.stream.readUntil('\n', { maxLength: 100_000 }))).toMatchObject({
      code: 'ERR_OUT_OF_RANGE',
    });
    expect(ends.stream.buffered).toBeLessThanOrEqual((256 + 2 * 4096) * KIB);
  });

  it('waits for more than a slow reader would be given', async () => {
    await using ends = await pair();
    const line = Buffer.concat([Buffer.alloc(3 * KIB * KIB, 'x'), Buffer.from('\n')]);
    const sending = ends.client.writeAll(line);
    expect((await ends.server.readUntil('\n', { maxLength: line.length })).equals(line)).toBe(true);
    await sending;
  });

  it('cancelled on the way leaves everything to the next', async () => {
    await using ends = await pair();
    const reading = ends.server.readUntil('\n');
    const failed = failure(reading);
    await trickle(ends, ['half a ']);
    reading.cancel();
    expect(await failed).toMatchObject({ code: 'ABORT_ERR' });
    await ends.client.writeAll('line\n');
    expect((await ends.server.readUntil('\n')).toString()).toBe('half a line\n');
  });

  it('is given up by a signal and a timeout, and by cancel of the stream', async () => {
    await using ends = await pair();
    const controller = new AbortController();
    const aborted = failure(ends.server.readUntil('\n', { signal: controller.signal }));
    controller.abort();
    expect(await aborted).toMatchObject({ code: 'ABORT_ERR' });
    expect(await failure(ends.server.readUntil('\n', { timeout: 5 }))).toMatchObject({ code: 'ETIMEDOUT' });
    const cancelled = failure(ends.server.readUntil('\n'));
    ends.server.cancel();
    expect(await cancelled).toMatchObject({ code: 'ABORT_ERR' });
  });

  it('fails with ECANCELED when the stream is closed meanwhile, with EBADF afterwards', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const reading = failure(ends.server.readUntil('\n'));
      await ends.server.close();
      expect(await reading).toMatchObject({ code: 'ECANCELED', syscall: 'read' });
      expect(await failure(ends.server.readUntil('\n'))).toMatchObject({ code: 'EBADF' });
    });
  });

  it('says ECONNRESET once, behind what came before', async () => {
    await using ends = await mixed();
    const reading = failure(ends.stream.readUntil('\n'));
    ends.socket.write('half');
    await expect.poll(() => ends.stream.bytesRead, POLL).toBe(4);
    ends.socket.resetAndDestroy();
    expect(await reading).toMatchObject({ code: 'ECONNRESET' });
    expect((await readExactly(ends.stream, 4)).toString()).toBe('half');
  });

  it.each([
    ['an empty delimiter', ''],
    ['no bytes', new Uint8Array(0)],
    ['a number that is no byte', 256],
  ])('of %s is a RangeError', async (_, delimiter) => {
    await using ends = await pair();
    expect(() => ends.server.readUntil(delimiter)).toThrow(RangeError);
  });

  it('of what is no delimiter, or beyond what makes sense, throws', async () => {
    await using ends = await pair();
    expect(() => ends.server.readUntil(null as never)).toThrow(TypeError);
    expect(() => ends.server.readUntil('\r\n', { maxLength: 1 })).toThrow(RangeError);
    expect(() => ends.server.readUntil('x'.repeat(1025))).toThrow(RangeError);
    expect(() => ends.server.readUntil('\n', { maxLength: '1' as never })).toThrow(TypeError);
  });

  it('knows its delimiter although the caller changes it', async () => {
    await using ends = await pair();
    const delimiter = Buffer.from('\n');
    const reading = ends.server.readUntil(delimiter);
    delimiter[0] = 0x78;
    await ends.client.writeAll('xx\n');
    expect((await reading).toString()).toBe('xx\n');
  });
});
