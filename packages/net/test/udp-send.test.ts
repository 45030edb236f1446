import { addon } from '@ouro/native';
import { IPPROTO_UDP, SOL_SOCKET, UDP_SEGMENT } from '@ouro/native/abi';
import { metrics } from '@ouro/runtime';
import { nop } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { bytes, failure, leavesNothing, told } from './support.ts';
import { collect, local, peer } from './udp-support.ts';

const SO_NO_CHECK = 11;

describe('send', () => {
  it('sends bytes, views of bytes, text, and lists of bytes as one datagram', () =>
    leavesNothing(async () => {
      await using socket = await local();
      await using to = await peer();
      const data = bytes(100, 1);
      const words = new Uint16Array([0x4241, 0x4443]);
      const sent = [
        await socket.send(data, to),
        await socket.send(words, to),
        await socket.send(new DataView(words.buffer, 1, 2), to),
        await socket.send('héllo', to),
        await socket.send([data, words, Buffer.alloc(0), Buffer.from('end')], to),
        await socket.send([], to),
      ];
      expect(sent).toEqual([100, 4, 2, 6, 107, 0]);
      const got = [];
      for (const _ of sent) got.push((await to.next()).data);
      expect(got).toEqual([
        data,
        Buffer.from('ABCD'),
        Buffer.from('BC'),
        Buffer.from('héllo'),
        Buffer.concat([data, Buffer.from('ABCDend')]),
        Buffer.alloc(0),
      ]);
    }));

  it('sends lists of more parts than one call takes', async () => {
    await using socket = await local();
    await using to = await peer();
    const parts = Array.from({ length: 2000 }, (_, i) => bytes(i % 7, i));
    expect(await socket.send(parts, to)).toBe(Buffer.concat(parts).length);
    expect((await to.next()).data.equals(Buffer.concat(parts))).toBe(true);
  });

  it('sends empty datagrams, and those of 65,507 bytes, which is the most', async () => {
    await using socket = await local();
    await using to = await peer();
    for (const length of [0, 1, 65_507]) {
      const data = bytes(length, length);
      expect(await socket.send(data, to)).toBe(length);
      expect((await to.next()).data.equals(data)).toBe(true);
    }
    expect(await failure(socket.send(Buffer.alloc(65_508), to))).toMatchObject({
      message: `send EMSGSIZE 127.0.0.1:${to.port}`,
      code: 'EMSGSIZE',
      syscall: 'send',
      address: '127.0.0.1',
      port: to.port,
    });
  });

  it('looks names up, and tells what node:dns says of those that are none', async () => {
    await using socket = await local();
    await using to = await peer();
    expect(await socket.send('by name', { address: 'localhost', port: to.port })).toBe(7);
    expect((await to.next()).data.toString()).toBe('by name');
    const error = await failure(socket.send('x', { address: 'nowhere.invalid', port: 9 }));
    expect(['ENOTFOUND', 'EAI_AGAIN']).toContain(error.code);
  });

  it('is refused without a destination, and with one that is none', async () => {
    await using socket = await local();
    expect(await failure(socket.send('x'))).toMatchObject({ code: 'ERR_SOCKET_DGRAM_NOT_CONNECTED' });
    expect(() => socket.send('x', { address: '127.0.0.1' } as never)).toThrow(TypeError);
    expect(() => socket.send('x', { address: '127.0.0.1', port: 0 })).toThrow(RangeError);
    expect(() => socket.send('x', { address: 5, port: 1 } as never)).toThrow(TypeError);
    expect(() => socket.send(5 as never, { address: '127.0.0.1', port: 1 })).toThrow(
      /"data" argument must be of type string or an instance of/,
    );
    expect(() => socket.send(['x'] as never, { address: '127.0.0.1', port: 1 })).toThrow(/"data\[0\]"/);
    expect(() => socket.send('x', { address: '127.0.0.1', port: 1 }, { segmentSize: 0 })).toThrow(RangeError);
    expect(await failure(socket.send('x', { address: '::1', port: 9 }))).toMatchObject({
      message: 'send EAFNOSUPPORT ::1:9',
    });
  });

  it('does not look again at an address that was changed after it had been used', async () => {
    await using socket = await local();
    await using first = await peer();
    await using second = await peer();
    const to = { address: '127.0.0.1', port: first.port };
    await socket.send('1', to);
    to.port = second.port;
    await socket.send('2', to);
    expect((await first.next()).data.toString()).toBe('1');
    expect((await second.next()).data.toString()).toBe('2');
  });
});

describe('sendMany', () => {
  it('hands all to the kernel with one system call, and in order', () =>
    leavesNothing(async () => {
      await using socket = await local();
      await using to = await local();
      const messages = Array.from({ length: 100 }, (_, i) => ({ data: bytes(i, i), to: to.address }));
      await nop();
      const before = metrics();
      const results = await socket.sendMany(messages);
      const after = metrics();
      expect(after.enters - before.enters).toBeLessThanOrEqual(3);
      expect(results).toEqual(messages.map(({ data }) => ({ status: 'fulfilled', value: data.length })));
      const got = await collect(to, 100);
      expect(got.every(({ data }, i) => data.equals(messages[i].data))).toBe(true);
    }));

  it('sends more than the submission queue takes', async () => {
    await using socket = await local();
    await using to = await local({ receiveBufferSize: 4 << 20 });
    const messages = Array.from({ length: 600 }, (_, i) => ({ data: String(i), to: to.address }));
    const receiving = collect(to, 600);
    const results = await socket.sendMany(messages);
    expect(results.every(({ status }) => status === 'fulfilled')).toBe(true);
    expect((await receiving).map(({ data }) => data.toString())).toEqual(messages.map(({ data }) => data));
  });

  it('tells of each message what has become of it', async () => {
    await using socket = await local();
    await using to = await peer();
    const results = await socket.sendMany([
      { data: 'one', to },
      { data: Buffer.alloc(70_000), to },
      { data: 'by name', to: { address: 'localhost', port: to.port } },
      { data: 'x', to: { address: 'nowhere.invalid', port: 9 } },
      { data: 'nowhere' },
      { data: 'two', to },
    ]);
    expect(
      results.map((each) => (each.status === 'fulfilled' ? each.value : told(each.reason).code)),
    ).toEqual([
      3,
      'EMSGSIZE',
      7,
      expect.stringMatching(/ENOTFOUND|EAI_AGAIN/),
      'ERR_SOCKET_DGRAM_NOT_CONNECTED',
      3,
    ]);
    const got = [await to.next(), await to.next(), await to.next()];
    expect(got.map(({ data }) => data.toString()).sort()).toEqual(['by name', 'one', 'two']);
  });

  it('takes none at all, and nothing that is no message', async () => {
    await using socket = await local();
    expect(await socket.sendMany([])).toEqual([]);
    expect(() => socket.sendMany({} as never)).toThrow(TypeError);
    expect(() => socket.sendMany([null] as never)).toThrow(/"messages\[0\]"/);
    expect(() => socket.sendMany([{ data: 5 }] as never)).toThrow(/"messages\[0\].data"/);
    expect(() => socket.sendMany([{ data: '', to: {} }] as never)).toThrow(/"messages\[0\].to.address"/);
  });
});

describe('segments', () => {
  it('are datagrams of their own, the last one with what is left', () =>
    leavesNothing(async () => {
      await using socket = await local();
      await using to = await local({ receiveBufferSize: 4 << 20 });
      for (const [total, segmentSize] of [
        [1000, 300],
        [1000, 1000],
        [1000, 5000],
        [0, 10],
        [64, 1],
        [200, 1], // more than one call can have
        [200_000, 1400],
        [150_000, 65_507],
      ]) {
        const data = bytes(total, total);
        const count = Math.max(1, Math.ceil(total / segmentSize));
        const receiving = collect(to, count);
        expect(await socket.send(data, to.address, { segmentSize })).toBe(total);
        const got = await receiving;
        expect(got.slice(0, -1).every((each) => each.data.length === segmentSize)).toBe(true);
        expect(Buffer.concat(got.map((each) => each.data)).equals(data)).toBe(true);
      }
    }));

  it('go to the kernel in one piece where it splits them', async () => {
    await using socket = await local();
    await using to = await local();
    const splits = addon().getsockopt(socket.fd, IPPROTO_UDP, UDP_SEGMENT) >= 0;
    const sent = (): number => metrics().ops.SENDMSG?.submitted ?? 0;
    const before = sent();
    await socket.send(bytes(6000, 1), to.address, { segmentSize: 1000 });
    expect(sent() - before).toBe(splits ? 1 : 6);
    expect((await collect(to, 6)).length).toBe(6);
  });

  it('may lie in several pieces of memory', async () => {
    await using socket = await local();
    await using to = await local();
    const parts = [10, 25, 0, 3, 62].map((length, i) => bytes(length, i));
    await socket.send(parts, to.address, { segmentSize: 30 });
    const got = await collect(to, 4);
    expect(got.map(({ data }) => data.length)).toEqual([30, 30, 30, 10]);
    expect(Buffer.concat(got.map(({ data }) => data)).equals(Buffer.concat(parts))).toBe(true);
  });

  it('are cut by hand where the kernel refuses to', () =>
    leavesNothing(async () => {
      await using socket = await local();
      await using to = await local({ receiveBufferSize: 4 << 20 });
      // Without checksums it does not split.
      addon().setsockopt(socket.fd, SOL_SOCKET, SO_NO_CHECK, 1);
      const data = bytes(100_000, 7);
      expect(await socket.send(data, to.address, { segmentSize: 1400 })).toBe(data.length);
      const got = await collect(to, 72);
      expect(Buffer.concat(got.map((each) => each.data)).equals(data)).toBe(true);
    }));

  it('go with other messages in sendMany', async () => {
    await using socket = await local();
    await using to = await local();
    const results = await socket.sendMany([
      { data: 'first', to: to.address },
      { data: bytes(100, 1), to: to.address, segmentSize: 40 },
      { data: 'last', to: to.address },
    ]);
    expect(results).toEqual([5, 100, 4].map((value) => ({ status: 'fulfilled', value })));
    expect((await collect(to, 5)).map(({ data }) => data.length)).toEqual([5, 40, 40, 20, 4]);
  });

  it('that are too long fail as datagrams of that length do', async () => {
    await using socket = await local();
    await using to = await peer();
    expect(await failure(socket.send(Buffer.alloc(140_000), to, { segmentSize: 65_510 }))).toMatchObject({
      message: `send EMSGSIZE 127.0.0.1:${to.port}`,
      bytesTransferred: 140_000 - 2 * 65_510,
    });
  });
});
