import {
  IP_TOS,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_TCP,
  IPV6_TCLASS,
  SO_KEEPALIVE,
  SO_RCVBUF,
  SO_SNDBUF,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_NODELAY,
} from '@ouro/native/abi';
import { TcpListener, TcpStream } from '@ouro/net';
import { getsockopt } from '@ouro/net/ops';
import { submit } from '@ouro/runtime';
import { type DirectDescriptor, files, reactor } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { bytes, dial, failure, leavesNothing, mixed, POLL, readAll, readExactly } from './support.ts';
import { BOTH, pairBy } from './tcp-support.ts';

/** Options of a stream, asked by system calls. */
async function options(stream: TcpStream, ...asked: [level: number, name: number][]): Promise<number[]> {
  const { descriptor } = stream;
  const fd = descriptor.direct ? await files().install(descriptor as DirectDescriptor) : descriptor.fd;
  const { addon } = reactor();
  const values = asked.map(([level, name]) => addon.getsockopt(fd, level, name));
  if (descriptor.direct) reactor().discard(fd);
  return values;
}

describe.each(BOTH)('a stream on %s', (_what, how) => {
  it('has TCP_NODELAY set and taken away', async () => {
    await using ends = await pairBy(how);
    const { server } = ends;
    await server.setNoDelay();
    expect(await options(server, [IPPROTO_TCP, TCP_NODELAY])).toEqual([1]);
    await server.setNoDelay(false);
    expect(await options(server, [IPPROTO_TCP, TCP_NODELAY])).toEqual([0]);
  });

  it('has keep-alive set with times in milliseconds, which become seconds', async () => {
    await using ends = await pairBy(how);
    const { server } = ends;
    const asked: [number, number][] = [
      [SOL_SOCKET, SO_KEEPALIVE],
      [IPPROTO_TCP, TCP_KEEPIDLE],
      [IPPROTO_TCP, TCP_KEEPINTVL],
      [IPPROTO_TCP, TCP_KEEPCNT],
    ];
    const [, idle, interval, count] = await options(server, ...asked);
    await server.setKeepAlive();
    expect(await options(server, ...asked)).toEqual([1, idle, interval, count]);
    await server.setKeepAlive(true, 1001, 3000, 4);
    expect(await options(server, ...asked)).toEqual([1, 2, 3, 4]);
    await server.setKeepAlive(false);
    expect(await options(server, ...asked)).toEqual([0, 2, 3, 4]);
  });

  it('has its type of service set', async () => {
    await using ends = await pairBy(how);
    await ends.server.setTypeOfService(0xb8);
    expect(await options(ends.server, [IPPROTO_IP, IP_TOS])).toEqual([0xb8]);
  });

  it('has its type of service set for both protocols where it may speak both', async () => {
    await using listener = await TcpListener.bind({ host: '::', ...how });
    const [server, client] = await Promise.all([listener.accept(), dial(listener)]);
    await server.setTypeOfService(0x28);
    expect(await options(server, [IPPROTO_IPV6, IPV6_TCLASS], [IPPROTO_IP, IP_TOS])).toEqual([0x28, 0x28]);
    await Promise.all([server.close(), client.close()]);
  });

  it('has its buffers set, which the kernel doubles', async () => {
    await using ends = await pairBy(how);
    const { server } = ends;
    await server.setReceiveBufferSize(20_000);
    await server.setSendBufferSize(30_000);
    expect(await submit(getsockopt(server, SOL_SOCKET, SO_RCVBUF))).toBe(40_000);
    expect(await submit(getsockopt(server, SOL_SOCKET, SO_SNDBUF))).toBe(60_000);
  });

  it('knows both addresses', async () => {
    await using ends = await pairBy(how);
    const { server, client } = ends;
    const { local, remote } = await server.addresses();
    expect({ local, remote }).toEqual({ local: client.remoteAddress, remote: client.localAddress });
    expect(server.localAddress).toEqual(local);
    expect(server.remoteAddress).toEqual(remote);
  });

  it('tells what the kernel knows of it', async () => {
    await using ends = await pairBy(how);
    const { client, server } = ends;
    const data = bytes(100_000, 7);
    const [got] = await Promise.all([readExactly(server, data.length), client.writeAll(data)]);
    expect(got.equals(data)).toBe(true);
    const info = await server.info();
    expect(info).toMatchObject({
      state: 'established',
      congestionState: 'open',
      retransmits: 0,
      retransmittedSegments: 0,
      bytesReceived: data.length,
      bytesSent: 0,
    });
    await expect.poll(async () => (await client.info()).bytesAcked, POLL).toBe(data.length + 1); // and the SYN
    const sent = await client.info();
    expect(sent.bytesSent).toBeGreaterThanOrEqual(data.length);
    expect(sent.rttUs).toBeGreaterThan(0);
    expect(sent.congestionWindowSegments).toBeGreaterThan(0);
    expect(sent.pathMtuBytes).toBeGreaterThan(500);
    await client.shutdown();
    await expect.poll(async () => (await server.info()).state, POLL).toBe('close-wait');
    expect((await client.info()).state).toMatch(/^fin-wait-/);
  });

  it('asks for no descriptor that stays', async () => {
    await leavesNothing(async () => {
      await using ends = await pairBy(how);
      for (let i = 0; i < 20; i++) await Promise.all([ends.server.info(), ends.server.addresses()]);
      const asked = ends.server.info();
      await ends.server.close();
      await Promise.allSettled([asked]);
    });
  });

  it('refuses to be asked anything once it is closed', async () => {
    const ends = await pairBy(how);
    await ends[Symbol.asyncDispose]();
    const { server } = ends;
    const calls: [() => PromiseLike<unknown>, string][] = [
      [() => server.info(), 'getsockopt'],
      [() => server.addresses(), 'getsockname'],
      [() => server.setNoDelay(), 'setsockopt'],
      [() => server.setKeepAlive(), 'setsockopt'],
      [() => server.setTypeOfService(0), 'setsockopt'],
      [() => server.setReceiveBufferSize(5000), 'setsockopt'],
      [() => server.setSendBufferSize(5000), 'setsockopt'],
    ];
    for (const [call, syscall] of calls) {
      expect(await failure(call())).toMatchObject({ code: 'EBADF', syscall });
    }
    expect(() => server.receiveBufferSize).toThrow(expect.objectContaining({ code: 'EBADF' }));
    expect(await server.reset()).toBeUndefined();
  });

  it('that is reset fails what the peer waits for, and the peer’s writes', async () => {
    await using ends = await pairBy(how);
    const { client, server } = ends;
    const reading = failure(client.read(Buffer.alloc(1)));
    await server.reset();
    expect(await reading).toMatchObject({ code: 'ECONNRESET', syscall: 'read' });
    expect(await failure(client.writeAll('too late'))).toMatchObject({ code: 'EPIPE' });
  });

  it('that is reset ends its own ops in flight, and leaves nothing', async () => {
    await leavesNothing(async () => {
      await using ends = await pairBy(how);
      const { client, server } = ends;
      const writing = failure(server.writeAll(Buffer.alloc(32 << 20)));
      const loop = readAll(server);
      const waiting = server.reset();
      expect(await writing).toMatchObject({ code: 'ECANCELED' });
      expect((await loop).length).toBe(0);
      await waiting;
      expect(server.fd).toBe(-1);
      // What had been sent and was not read is gone.
      const rest = await readAll(client).catch((error: { code: string }) => error.code);
      expect(rest).toBe('ECONNRESET');
    });
  });
});

describe('the buffers of a stream', () => {
  it('have sizes that can be asked for, on an ordinary descriptor', async () => {
    await using ends = await mixed();
    const { stream } = ends;
    await stream.setReceiveBufferSize(20_000);
    await stream.setSendBufferSize(30_000);
    expect(stream.receiveBufferSize).toBe(40_000);
    expect(stream.sendBufferSize).toBe(60_000);
  });

  it('have none on a direct one, which is said', async () => {
    await using ends = await pairBy({ direct: true });
    for (const ask of [() => ends.server.receiveBufferSize, () => ends.server.sendBufferSize]) {
      expect(ask).toThrow(expect.objectContaining({ code: 'ERR_OURO_UNSUPPORTED', syscall: 'getsockopt' }));
    }
  });
});

describe('bad values', () => {
  it('are thrown at once', async () => {
    await using ends = await pairBy({});
    const { server } = ends;
    const bad: (() => unknown)[] = [
      () => server.setTypeOfService(256),
      () => server.setTypeOfService(-1),
      () => server.setReceiveBufferSize(0),
      () => server.setSendBufferSize(2 ** 31),
      () => server.setKeepAlive(true, 0),
      () => server.setKeepAlive(true, 1000, 40_000_000),
      () => server.setKeepAlive(true, 1000, 1000, 128),
    ];
    for (const call of bad) expect(call).toThrow(RangeError);
    expect(() => server.setKeepAlive(true, 'long' as never)).toThrow(TypeError);
  });
});

describe('keepAlive of connect and bind', () => {
  it('is on every connection', async () => {
    const keepAlive = { idle: 5000, interval: 2000, count: 3 };
    for (const [, how] of BOTH) {
      await using listener = await TcpListener.bind({ host: '127.0.0.1', keepAlive, ...how });
      const connecting = TcpStream.connect({
        host: '127.0.0.1',
        port: listener.address.port,
        keepAlive: true,
      });
      const [server, client] = await Promise.all([listener.accept(), connecting]);
      const asked: [number, number][] = [
        [SOL_SOCKET, SO_KEEPALIVE],
        [IPPROTO_TCP, TCP_KEEPIDLE],
        [IPPROTO_TCP, TCP_KEEPINTVL],
        [IPPROTO_TCP, TCP_KEEPCNT],
      ];
      expect(await options(server, ...asked)).toEqual([1, 5, 2, 3]);
      expect(await options(client, [SOL_SOCKET, SO_KEEPALIVE])).toEqual([1]);
      await Promise.all([server.close(), client.close()]);
    }
  });
});
