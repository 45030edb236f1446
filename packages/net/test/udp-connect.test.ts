import { UdpSocket } from '@ouro/net';
import { nop } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { failure, leavesNothing } from './support.ts';
import { collect, local, peer, texts, unusedPort } from './udp-support.ts';

describe('connect', () => {
  it('lets sends go without a destination, and receives only what comes from there', () =>
    leavesNothing(async () => {
      await using socket = await local();
      await using to = await peer();
      await using stranger = await peer();
      await socket.connect(to);
      expect(socket.remoteAddress).toEqual({ address: '127.0.0.1', port: to.port, family: 'IPv4' });
      expect(await socket.send('hello')).toBe(5);
      expect((await to.next()).data.toString()).toBe('hello');
      expect(await socket.send(['in ', 'parts'].map((text) => Buffer.from(text)))).toBe(8);
      expect((await to.next()).data.toString()).toBe('in parts');
      await stranger.send('no', socket.address);
      await to.send('yes', socket.address);
      expect(texts(await collect(socket, 1))).toEqual(['yes']);
      expect(await socket.sendMany([{ data: 'a' }, { data: 'bb', segmentSize: 1 }])).toEqual([
        { status: 'fulfilled', value: 1 },
        { status: 'fulfilled', value: 2 },
      ]);
      const got = [await to.next(), await to.next(), await to.next()];
      expect(got.map(({ data }) => data.toString())).toEqual(['a', 'b', 'b']);
    }));

  it('goes by name too, from a socket that takes IPv4 and IPv6', async () => {
    await using socket = await UdpSocket.bind();
    await using to = await peer();
    await socket.connect({ address: '127.0.0.1', port: to.port });
    expect(await socket.send('x')).toBe(1);
    expect((await to.next()).data.toString()).toBe('x');
    await socket.disconnect();
    await using named = await local();
    await named.connect({ address: 'localhost', port: to.port });
    expect(await named.send('y')).toBe(1);
    expect((await to.next()).data.toString()).toBe('y');
    const error = await failure(socket.connect({ address: 'nowhere.invalid', port: 9 }));
    expect(['ENOTFOUND', 'EAI_AGAIN']).toContain(error.code);
    await socket.connect(to);
  });

  it('is done once, and takes no destinations from there on', async () => {
    await using socket = await local();
    await using to = await peer();
    const connecting = socket.connect(to);
    expect(await failure(socket.connect(to))).toMatchObject({ code: 'ERR_SOCKET_DGRAM_IS_CONNECTED' });
    await connecting;
    expect(await failure(socket.connect(to))).toMatchObject({ code: 'ERR_SOCKET_DGRAM_IS_CONNECTED' });
    expect(await failure(socket.send('x', to))).toMatchObject({
      message: 'Already connected',
      code: 'ERR_SOCKET_DGRAM_IS_CONNECTED',
    });
  });

  it('fails with the words of the kernel', async () => {
    await using socket = await local();
    expect(await failure(socket.connect({ address: '::1', port: 9 }))).toMatchObject({
      message: 'connect EAFNOSUPPORT ::1:9',
      code: 'EAFNOSUPPORT',
      syscall: 'connect',
    });
    expect(socket.remoteAddress).toBeUndefined();
    expect(() => socket.connect({ address: '127.0.0.1', port: 0 })).toThrow(RangeError);
    expect(() => socket.connect(undefined as never)).toThrow(TypeError);
  });
});

describe('disconnect', () => {
  it('opens the socket to all again, under the same port, while a loop goes on', () =>
    leavesNothing(async () => {
      await using socket = await local();
      await using first = await peer();
      await using second = await peer();
      const { port } = socket.address;
      const receiving = collect(socket, 2);
      await socket.connect(first);
      await first.send('1', socket.address);
      await socket.disconnect();
      expect(socket.remoteAddress).toBeUndefined();
      expect(socket.address).toEqual({ address: '127.0.0.1', port, family: 'IPv4' });
      await second.send('2', socket.address);
      expect(texts(await receiving)).toEqual(['1', '2']);
      expect(await socket.send('back', second)).toBe(4);
      expect(await second.next()).toMatchObject({ data: Buffer.from('back'), port });
    }));

  it('is for sockets that are connected', async () => {
    await using socket = await local();
    expect(await failure(socket.disconnect())).toMatchObject({ code: 'ERR_SOCKET_DGRAM_NOT_CONNECTED' });
  });

  it('keeps the port of a socket on all addresses', async () => {
    await using socket = await UdpSocket.bind({ host: '0.0.0.0' });
    await using to = await peer();
    const { port } = socket.address;
    await socket.connect(to);
    expect(socket.address).toEqual({ address: '127.0.0.1', port, family: 'IPv4' });
    await socket.disconnect();
    expect(socket.address).toEqual({ address: '0.0.0.0', port, family: 'IPv4' });
  });
});

describe('what the network says of a peer', () => {
  const gone = async (): Promise<UdpSocket> => {
    const socket = await local();
    await socket.connect({ address: '127.0.0.1', port: await unusedPort() });
    return socket;
  };

  it('fails the send that comes next, which is not done then', async () => {
    await using socket = await gone();
    const { port } = socket.remoteAddress ?? { port: 0 };
    expect(await socket.send('first')).toBe(5);
    expect(await failure(socket.send('second'))).toMatchObject({
      message: `send ECONNREFUSED 127.0.0.1:${port}`,
      code: 'ECONNREFUSED',
      syscall: 'send',
      address: '127.0.0.1',
      port,
    });
    // The error has been told; this one goes out, and is refused in turn.
    expect(await socket.send('third')).toBe(5);
    expect(await failure(socket.recv(Buffer.alloc(1)))).toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('fails the receive that waits', async () => {
    await using socket = await gone();
    const receiving = failure(socket.recv(Buffer.alloc(1)));
    await nop();
    await socket.send('x');
    const { port } = socket.remoteAddress ?? { port: 0 };
    expect(await receiving).toMatchObject({
      message: 'recvmsg ECONNREFUSED',
      code: 'ECONNREFUSED',
      syscall: 'recvmsg',
      address: '127.0.0.1',
      port,
    });
  });

  it('is thrown in a loop, and the next one goes on', () =>
    leavesNothing(async () => {
      await using socket = await gone();
      const { port } = socket.remoteAddress ?? { port: 0 };
      const loop = failure(collect(socket, 1));
      await nop();
      await socket.send('x');
      expect(await loop).toMatchObject({ message: 'recvmsg ECONNREFUSED', syscall: 'recvmsg', port });
      // Now there is somebody.
      await using later = await UdpSocket.bind({ host: '127.0.0.1', port });
      const answer = collect(socket, 1);
      await later.send('here', socket.address);
      expect(texts(await answer)).toEqual(['here']);
    }));

  it('is told once, also if nobody waits just then, and to batches and leases too', () =>
    leavesNothing(async () => {
      await using socket = await gone();
      for (const iterator of [socket.datagrams(), socket.batches(), socket.datagrams({ lease: true })]) {
        const waiting = failure(iterator.next());
        await nop();
        await socket.send('x');
        expect(await waiting).toMatchObject({ code: 'ECONNREFUSED' });
      }
      // A receive in flight, whose waiter has gone, takes the error.
      const iterator = socket.datagrams();
      const waiting = iterator.next();
      await nop();
      (waiting as unknown as { cancel(): void }).cancel();
      await waiting.catch(() => {});
      await socket.send('x');
      await expect.poll(() => socket.buffered).toBe(1);
      expect(await failure(iterator.next())).toMatchObject({ code: 'ECONNREFUSED' });
      const silent = iterator.next();
      await nop();
      expect(socket.buffered).toBe(0);
      await socket.close();
      expect(await silent).toEqual({ done: true, value: undefined });
    }));

  it('does not come between datagrams that have arrived: none is lost', () =>
    leavesNothing(async () => {
      await using socket = await local();
      const to = await peer();
      await socket.connect(to);
      for (let i = 0; i < 20; i++) await to.send(String(i), socket.address);
      await to[Symbol.asyncDispose]();
      await socket.send('x');
      const got: string[] = [];
      let errors = 0;
      const iterator = socket[Symbol.asyncIterator]();
      while (got.length < 20) {
        try {
          const { value } = await iterator.next();
          if (value !== undefined) got.push(value.data.toString());
        } catch (error) {
          expect(error).toMatchObject({ code: 'ECONNREFUSED' });
          errors++;
        }
      }
      expect(got).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
      expect(errors).toBe(1);
      await iterator.return?.();
    }));

  it('is not heard by a socket that is not connected', async () => {
    await using socket = await local();
    await using from = await peer();
    const to = { address: '127.0.0.1', port: await unusedPort() };
    for (let i = 0; i < 3; i++) expect(await socket.send('x', to)).toBe(1);
    await from.send('y', socket.address);
    expect(texts(await collect(socket, 1))).toEqual(['y']);
  });
});
