import { addon } from '@ouro/native';
import { IPPROTO_UDP, UDP_GRO } from '@ouro/native/abi';
import type { LeasedDatagram, UdpSocket } from '@ouro/net';
import { metrics } from '@ouro/runtime';
import { nop } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { itOnRing } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';
import { bytes, failure, leavesNothing, POLL } from './support.ts';
import { collect, local, peer, texts } from './udp-support.ts';

describe('recv', () => {
  it('says how many bytes have come, and from whom', () =>
    leavesNothing(async () => {
      await using socket = await local();
      await using from = await peer();
      const buffer = Buffer.alloc(20);
      const receiving = socket.recv(buffer);
      await from.send('hello', socket.address);
      const received = await receiving;
      expect(received).toEqual({
        bytes: 5,
        address: { address: '127.0.0.1', port: from.port, family: 'IPv4' },
        truncated: false,
        size: 5,
        segmentSize: 0,
      });
      expect(buffer.toString('utf8', 0, 5)).toBe('hello');
      expect(buffer.subarray(5)).toEqual(Buffer.alloc(15));
    }));

  it('says that the buffer was too short, and for how many', async () => {
    await using socket = await local();
    await using from = await peer();
    const data = bytes(1000, 1);
    for (const room of [0, 10, 999]) {
      await from.send(data, socket.address);
      const buffer = Buffer.alloc(room);
      expect(await socket.recv(buffer)).toMatchObject({ bytes: room, truncated: true, size: 1000 });
      expect(buffer.equals(data.subarray(0, room))).toBe(true);
    }
  });

  it('brings empty datagrams, and those of 65,507 bytes', async () => {
    await using socket = await local();
    await using from = await peer();
    const buffer = Buffer.alloc(65_507);
    for (const length of [0, 65_507]) {
      const data = bytes(length, 2);
      await from.send(data, socket.address);
      expect(await socket.recv(buffer)).toMatchObject({ bytes: length, size: length, truncated: false });
      expect(buffer.subarray(0, length).equals(data)).toBe(true);
    }
  });

  it('gives each of several that wait a datagram of its own', async () => {
    await using socket = await local();
    await using from = await peer();
    const buffers = Array.from({ length: 10 }, () => Buffer.alloc(1));
    const receiving = buffers.map((buffer) => socket.recv(buffer));
    for (let i = 0; i < 10; i++) await from.send(Buffer.from([i]), socket.address);
    expect((await Promise.all(receiving)).every((each) => each.bytes === 1)).toBe(true);
    expect(buffers.map(([first]) => first).sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('takes what a loop has left lying', async () => {
    await using socket = await local();
    await using from = await peer();
    for (const text of ['a', 'bb', 'ccc']) await from.send(text, socket.address);
    expect(texts(await collect(socket, 1))).toEqual(['a']);
    const buffer = Buffer.alloc(2);
    expect(await socket.recv(buffer)).toMatchObject({ bytes: 2, truncated: false });
    expect(buffer.toString()).toBe('bb');
    expect(await socket.recv(buffer)).toMatchObject({ bytes: 2, truncated: true, size: 3 });
    expect(buffer.toString()).toBe('cc');
  });

  it('waits beside a loop, and each gets another datagram', async () => {
    await using socket = await local();
    await using from = await peer();
    const loop = collect(socket, 1);
    await nop();
    const buffer = Buffer.alloc(10);
    const receiving = socket.recv(buffer);
    await from.send('1', socket.address);
    await from.send('2', socket.address);
    const [first] = await loop;
    const { bytes: count } = await receiving;
    expect([first.data.toString(), buffer.toString('utf8', 0, count)].sort()).toEqual(['1', '2']);
  });

  it('refuses what is no buffer', async () => {
    await using socket = await local();
    expect(() => socket.recv('x' as never)).toThrow(TypeError);
    expect(() => socket.recv(undefined as never)).toThrow(TypeError);
  });
});

describe('a loop over a socket', () => {
  it('brings datagrams in order, in memory of their own, with their senders', () =>
    leavesNothing(async () => {
      await using socket = await local();
      await using one = await peer();
      await using other = await peer();
      const sent: [number, Buffer][] = [];
      for (let i = 0; i < 50; i++) {
        const from = i % 3 === 0 ? one : other;
        const data = bytes([0, 1, 100, 1472, 9000, 65_507][i % 6], i);
        await from.send(data, socket.address);
        sent.push([from.port, data]);
        if (i % 10 !== 9) continue;
        const got = await collect(socket, 10);
        for (const [j, { data, address, truncated, size }] of got.entries()) {
          const [port, expected] = sent[i - 9 + j];
          expect(data.equals(expected)).toBe(true);
          expect({ address, truncated, size }).toEqual({
            address: { address: '127.0.0.1', port, family: 'IPv4' },
            truncated: false,
            size: expected.length,
          });
        }
      }
      expect(socket.buffered).toBe(0);
    }));

  it('cuts datagrams that are longer than maxDatagramSize, and says so', async () => {
    await using socket = await local({ maxDatagramSize: 100 });
    await using from = await peer();
    const data = bytes(101, 1);
    await from.send(data.subarray(0, 100), socket.address);
    await from.send(data, socket.address);
    const [whole, cut] = await collect(socket, 2);
    expect(whole).toMatchObject({ truncated: false, size: 100 });
    expect(cut).toMatchObject({ truncated: true, size: 101 });
    expect(cut.data.equals(data.subarray(0, 100))).toBe(true);
  });

  it('can be left and taken up again, with nothing lost', () =>
    leavesNothing(async () => {
      await using socket = await local();
      await using from = await peer();
      const all: string[] = [];
      for (let i = 0; i < 100; i++) await from.send(String(i), socket.address);
      while (all.length < 100)
        all.push(...texts(await collect(socket, Math.min(1 + (all.length % 7), 100 - all.length))));
      expect(all).toEqual(Array.from({ length: 100 }, (_, i) => String(i)));
    }));

  it('ends when the socket is closed, and does not begin on one that is', async () => {
    const socket = await local();
    const loop = (async () => {
      for await (const _ of socket) throw new Error('nobody has sent anything');
    })();
    await nop();
    await socket.close();
    await loop;
    expect(await failure(socket[Symbol.asyncIterator]().next())).toMatchObject({
      code: 'EBADF',
      syscall: 'recvmsg',
    });
    expect(await failure(socket.recv(Buffer.alloc(1)))).toMatchObject({ code: 'EBADF' });
    expect(await failure(socket.send('x', { address: '127.0.0.1', port: 9 }))).toMatchObject({
      code: 'EBADF',
    });
    expect(await failure(socket.sendMany([]))).toMatchObject({ code: 'EBADF' });
  });

  it('may be slow: what it does not take stays in the kernel, which drops what is too much', () =>
    leavesNothing(async () => {
      await using socket = await local({ receiveBufferSize: 200_000 });
      await using from = await local();
      expect(socket.dropped).toBe(0);
      await from.send('first', socket.address);
      expect(texts(await collect(socket, 1))).toEqual(['first']);
      const iterator = socket[Symbol.asyncIterator]();
      const first = iterator.next();
      const data = Buffer.alloc(1400);
      const sent = 3000;
      for (let i = 0; i < sent; i += 50)
        await from.sendMany(
          Array.from({ length: 50 }, (_, j) => ({
            data: Buffer.concat([Buffer.from([(i + j) >> 8, i + j]), data]),
            to: socket.address,
          })),
        );
      await expect.poll(() => socket.dropped, POLL).toBeGreaterThan(0);
      // What is held: 256 KiB, and what came in the meantime.
      expect(socket.buffered).toBeGreaterThan(0);
      expect(socket.buffered).toBeLessThan(1000);
      const { dropped } = socket;
      let last = ((await first).value?.data.readUInt16BE(0) ?? -1) as number;
      let count = 1;
      for (; count < sent - dropped; count++) {
        const number = (await iterator.next()).value?.data.readUInt16BE(0) ?? -1;
        expect(number).toBeGreaterThan(last);
        last = number;
      }
      await iterator.return?.();
      expect(count + socket.dropped).toBe(sent);
      expect(socket.buffered).toBe(0);
    }));

  it('goes on where its buffers run out, with nothing lost', () =>
    leavesNothing(async () => {
      await using socket = await local({ receiveBuffers: 1, receiveBufferSize: 1 << 20 });
      await using from = await local();
      const all = Array.from({ length: 100 }, (_, i) => bytes(i * 13, i));
      const receiving = collect(socket, 100);
      await from.sendMany(all.map((data) => ({ data, to: socket.address })));
      expect((await receiving).every(({ data }, i) => data.equals(all[i]))).toBe(true);
    }));

  it('limits each wait', async () => {
    await using socket = await local();
    await using from = await peer();
    const timed = socket.datagrams({ timeout: 10 });
    expect(await failure(timed.next())).toMatchObject({ code: 'ETIMEDOUT' });
    await from.send('late', socket.address);
    expect(texts(await collect(socket, 1))).toEqual(['late']);
    const controller = new AbortController();
    const aborted = socket.datagrams({ signal: controller.signal });
    const waiting = aborted.next();
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toMatchObject({ code: 'ABORT_ERR', cause: new Error('enough') });
    expect(await failure(aborted.next())).toMatchObject({ code: 'ABORT_ERR' });
    expect(() => socket.datagrams({ timeout: -1 })).toThrow(RangeError);
    expect(() => socket.datagrams({ lease: 1 as never } as never)).toThrow(TypeError);
  });
});

describe('batches', () => {
  it('bring all that one turn has brought', () =>
    leavesNothing(async () => {
      await using socket = await local();
      await using from = await local();
      const batches = socket.batches();
      const first = batches.next();
      await from.sendMany(Array.from({ length: 40 }, (_, i) => ({ data: String(i), to: socket.address })));
      const found = texts((await first).value ?? []);
      let turns = 1;
      while (found.length < 40) {
        found.push(...texts((await batches.next()).value ?? []));
        turns++;
      }
      expect(found).toEqual(Array.from({ length: 40 }, (_, i) => String(i)));
      expect(turns).toBeLessThan(20);
      await batches.return?.();
    }));
});

describe('leases', () => {
  it('are released and copied as those of streams', () =>
    leavesNothing(async () => {
      await using socket = await local({ receiveBuffers: 1 });
      await using from = await peer();
      const datagrams = socket.datagrams({ lease: true });
      for (const text of ['a', 'bb']) {
        await from.send(text, socket.address);
        const { value } = await datagrams.next();
        const copy = value?.copy();
        value?.release();
        value?.release();
        expect(copy?.toString()).toBe(text);
      }
      await datagrams.return?.();
    }));

  it('are the memory that the datagram has arrived in, until they are given back', () =>
    leavesNothing(async () => {
      await using socket = await local({ receiveBuffers: 4 });
      await using from = await peer();
      const datagrams = socket.datagrams({ lease: true });
      const lent: LeasedDatagram[] = [];
      for (const text of ['a', 'bb', 'ccc', 'dddd']) {
        const next = datagrams.next();
        await from.send(text, socket.address);
        const { value } = await next;
        if (value !== undefined) lent.push(value);
      }
      const [first, second, third, fourth] = lent;
      expect(lent.map(({ data }) => data.toString())).toEqual(['a', 'bb', 'ccc', 'dddd']);
      expect(first).toMatchObject({
        truncated: false,
        size: 1,
        segmentSize: 0,
        address: { port: from.port },
      });
      // Three of four are lent, and the last one is the kernel's: what comes then is a copy. (No `toBe`, which would print them.)
      expect([second, third, fourth].map(({ data }) => data.buffer === first.data.buffer)).toEqual([
        true,
        true,
        false,
      ]);
      first[Symbol.dispose]();
      first[Symbol.dispose](); // once is enough
      const fifth = datagrams.next();
      await from.send('eeeee', socket.address);
      const last = (await fifth).value;
      expect(last?.data.toString()).toBe('eeeee');
      expect(last?.data.buffer === second.data.buffer).toBe(true);
      for (const each of [second, third, fourth, last]) each?.[Symbol.dispose]();
      await datagrams.return?.();
    }));

  it.each([
    ['held', true],
    ['forgotten', false],
  ])('that are %s for ever hold up nobody, and are not written over', async (_, held) => {
    await leavesNothing(async () => {
      await using socket = await local({ receiveBuffers: 8, maxDatagramSize: 100 });
      await using from = await local();
      const leases: { readonly data: Buffer }[] = [];
      const datagrams = socket.datagrams({ lease: true });
      for (let i = 0; i < 100; i++) {
        const next = datagrams.next();
        await from.send(`datagram ${i}`, socket.address);
        const { value } = await next;
        expect(value?.data.toString()).toBe(`datagram ${i}`);
        if (held && value !== undefined) leases.push(value);
      }
      expect(leases.map(({ data }) => data.toString())).toEqual(
        Array.from({ length: held ? 100 : 0 }, (_each, i) => `datagram ${i}`),
      );
      await datagrams.return?.();
    });
  });

  it('that are never disposed of cost the kernel nothing once the socket is closed, and stay what they are', async () => {
    await leavesNothing(async () => {
      await using from = await peer();
      const held: LeasedDatagram[] = [];
      for (let i = 0; i < 20; i++) {
        const socket = await local({ receiveBuffers: 4, maxDatagramSize: 100 });
        await from.send(`datagram ${i}`, socket.address);
        held.push(...(await collect(socket.datagrams({ lease: true }), 1)));
        await socket.close();
      }
      expect(held.map(({ data }) => data.toString())).toEqual(
        Array.from({ length: 20 }, (_each, i) => `datagram ${i}`),
      );
      for (const each of held) each[Symbol.dispose]();
    });
  });

  it('stay valid when the socket is closed', async () => {
    const socket = await local();
    await using from = await peer();
    await from.send('kept', socket.address);
    const [lease] = await collect(socket.datagrams({ lease: true }), 1);
    await socket.close();
    // Others use memory that is free.
    await using other = await local();
    await from.send('other', other.address);
    await collect(other.datagrams({ lease: true }), 1);
    expect(lease.data.toString()).toBe('kept');
    lease[Symbol.dispose]();
  });

  it('come by batches too, and go on for as many datagrams as there are', () =>
    leavesNothing(async () => {
      await using socket = await local({ receiveBuffers: 8, receiveBufferSize: 1 << 20 });
      await using from = await local();
      const all = Array.from({ length: 200 }, (_, i) => bytes(i * 7, i));
      const sending = from.sendMany(all.map((data) => ({ data, to: socket.address })));
      let count = 0;
      for await (const batch of socket.batches({ lease: true })) {
        for (const lease of batch) {
          using datagram = lease;
          expect(datagram.data.equals(all[count++])).toBe(true);
        }
        if (count === 200) break;
      }
      await sending;
    }));

  it('that have arrived and are taken by a loop without leases, or by recv, are copied', () =>
    leavesNothing(async () => {
      await using socket = await local({ receiveBuffers: 4 });
      await using from = await peer();
      const leases = socket.datagrams({ lease: true });
      const first = leases.next();
      for (const text of ['a', 'b', 'c']) await from.send(text, socket.address);
      (await first).value?.[Symbol.dispose]();
      const [second] = await collect(socket, 1);
      const buffer = Buffer.alloc(1);
      await socket.recv(buffer);
      for (const text of ['w', 'x', 'y', 'z']) await from.send(text, socket.address);
      for await (const { data } of socket) if (data.toString() === 'z') break;
      expect(second.data.toString()).toBe('b');
      expect(buffer.toString()).toBe('c');
    }));
});

describe('gro', () => {
  const group = async (from: UdpSocket, to: UdpSocket, data: Buffer, segmentSize: number): Promise<void> => {
    await from.send(data, to.address, { segmentSize });
  };

  it('is in force where the kernel can', async () => {
    await using socket = await local({ gro: true });
    await using without = await local();
    expect(socket.gro).toBe(addon().getsockopt(without.fd, IPPROTO_UDP, UDP_GRO) >= 0);
    expect(without.gro).toBe(false);
  });

  it('is not seen in a loop: datagrams come one by one', () =>
    leavesNothing(async () => {
      await using socket = await local({ gro: true, receiveBufferSize: 1 << 20 });
      await using from = await local();
      const data = bytes(50_000, 1);
      await group(from, socket, data, 1000);
      await from.send('single', socket.address);
      await group(from, socket, data.subarray(0, 2500), 1000);
      const got = await collect(socket, 54);
      expect(got.map((each) => each.data.length)).toEqual([...Array(50).fill(1000), 6, 1000, 1000, 500]);
      expect(Buffer.concat(got.slice(0, 50).map((each) => each.data)).equals(data)).toBe(true);
      expect(got.every((each) => !each.truncated && each.size === each.data.length)).toBe(true);
    }));

  it('is what leases and recv tell of', async () => {
    await using socket = await local({ gro: true });
    await using from = await local();
    const data = bytes(2500, 1);
    await group(from, socket, data, 1000);
    const buffer = Buffer.alloc(5000);
    const received = await socket.recv(buffer);
    await group(from, socket, data, 1000);
    await from.send('single', socket.address);
    const leases = socket.datagrams({ lease: true });
    const first = (await leases.next()).value;
    if (received.bytes === 2500) {
      expect(received).toMatchObject({ segmentSize: 1000, truncated: false });
      expect(buffer.subarray(0, 2500).equals(data)).toBe(true);
      expect(first).toMatchObject({ segmentSize: 1000, size: 2500 });
      expect(first?.data.equals(data)).toBe(true);
    }
    first?.[Symbol.dispose]();
    const single = (await leases.next()).value;
    expect(single).toMatchObject({ segmentSize: 0, data: Buffer.from('single') });
    single?.[Symbol.dispose]();
    await leases.return?.();
  });
});

describe('where the kernel gives no buffers', () => {
  itOnRing('memlock')('datagrams come all the same, one by one', async () => {
    const { stdout, stderr, code } = await runProgram(
      `
        import { UdpSocket } from '@ouro/net';
        const socket = await UdpSocket.bind({ host: '127.0.0.1', maxDatagramSize: 1000 });
        const from = await UdpSocket.bind({ host: '127.0.0.1' });
        for (const length of [5, 0, 1000, 2000]) await from.send(Buffer.alloc(length, 'x'), socket.address);
        let count = 0;
        for await (const { data, truncated, size, address } of socket) {
          console.log(data.length, data.toString().replace(/x+/, 'x'), truncated, size, address.port === from.address.port);
          if (++count === 4) break;
        }
        await from.send('lent', socket.address);
        for await (const lease of socket.datagrams({ lease: true })) {
          console.log(lease.data.toString());
          lease[Symbol.dispose]();
          break;
        }
        await socket.close();
        await from.close();
      `,
      { under: ['prlimit', '--memlock=0'], env: { OURO_DRIVER: 'uring' } },
    );
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toBe(
      '5 x false 5 true\n0  false 0 true\n1000 x false 1000 true\n1000 x true 2000 true\nlent\n',
    );
  });
});

describe('the sockets of a thread', () => {
  it('share buffers, however many there are', () =>
    leavesNothing(async () => {
      const sockets = await Promise.all(Array.from({ length: 200 }, () => local()));
      await using from = await local();
      const receiving = sockets.map((socket) => collect(socket, 3));
      await from.sendMany(
        sockets.flatMap((socket, i) => [0, 1, 2].map((j) => ({ data: `${i} ${j}`, to: socket.address }))),
      );
      const got = await Promise.all(receiving);
      for (const [i, each] of got.entries()) expect(texts(each)).toEqual([`${i} 0`, `${i} 1`, `${i} 2`]);
      await Promise.all(sockets.map((socket) => socket.close()));
      expect(metrics().stale).toBe(0);
    }));
});
