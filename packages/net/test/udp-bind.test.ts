import { networkInterfaces } from 'node:os';
import { addon } from '@ouro/native';
import { IP_MULTICAST_TTL, IP_TTL, IPPROTO_IP, SO_BROADCAST, SOL_SOCKET } from '@ouro/native/abi';
import { UdpSocket } from '@ouro/net';
import { describe, expect, it } from 'vitest';
import { failure, leavesNothing } from './support.ts';
import { collect, local, peer, texts } from './udp-support.ts';

const hasIPv6 = Object.values(networkInterfaces()).some((all) =>
  all?.some(({ address }) => address === '::1'),
);

describe('UdpSocket.bind', () => {
  it('lets the kernel choose a port, and says which', () =>
    leavesNothing(async () => {
      await using socket = await local();
      expect(socket.address).toEqual({ address: '127.0.0.1', port: expect.any(Number), family: 'IPv4' });
      expect(socket.address.port).toBeGreaterThan(0);
      expect(socket.fd).toBeGreaterThan(0);
      expect(socket.remoteAddress).toBeUndefined();
    }));

  it('knows its address after it has been closed', async () => {
    const socket = await local();
    const { address } = socket;
    await socket.close();
    expect(socket.address).toEqual(address);
    expect(socket.fd).toBe(-1);
  });

  it('looks names up', async () => {
    await using socket = await UdpSocket.bind({ host: 'localhost' });
    expect(['127.0.0.1', '::1']).toContain(socket.address.address);
  });

  it('words errors as node:dgram does', async () => {
    await using taken = await peer();
    const { port } = taken;
    expect(await failure(local({ port }))).toMatchObject({
      message: `bind EADDRINUSE 127.0.0.1:${port}`,
      code: 'EADDRINUSE',
      syscall: 'bind',
      address: '127.0.0.1',
      port,
    });
    await leavesNothing(async () => {
      expect(await failure(UdpSocket.bind({ host: '192.0.2.1' }))).toMatchObject({
        message: 'bind EADDRNOTAVAIL 192.0.2.1',
        code: 'EADDRNOTAVAIL',
      });
    });
  });

  it('takes IPv4 and IPv6 where nobody says otherwise', async () => {
    await using socket = await UdpSocket.bind();
    const { port, family } = socket.address;
    await using v4 = await peer();
    await v4.send('four', { port });
    const [datagram] = await collect(socket, 1);
    expect(datagram.data.toString()).toBe('four');
    expect(datagram.address.port).toBe(v4.port);
    if (!hasIPv6) return;
    expect(family).toBe('IPv6');
    expect(datagram.address.address).toBe('::ffff:127.0.0.1');
    await using v6 = await peer('udp6');
    await v6.send('six', { port });
    expect((await collect(socket, 1))[0].address).toEqual({ address: '::1', port: v6.port, family: 'IPv6' });
    // An answer to either, under the name that it came by or its own.
    expect(await socket.send('to four', datagram.address)).toBe(7);
    expect(await socket.send('to four', { address: '127.0.0.1', port: v4.port })).toBe(7);
    expect(await socket.send('to six', { address: '::1', port: v6.port })).toBe(6);
    expect((await v4.next()).data.toString()).toBe('to four');
    expect((await v4.next()).data.toString()).toBe('to four');
    expect((await v6.next()).data.toString()).toBe('to six');
  });

  it.runIf(hasIPv6)('takes no IPv4 with ipv6Only, so that IPv4 can have the port', async () => {
    await using six = await UdpSocket.bind({ host: '::', ipv6Only: true });
    await using four = await UdpSocket.bind({ host: '0.0.0.0', port: six.address.port });
    await using from = await peer();
    await from.send('x', { port: four.address.port });
    expect(texts(await collect(four, 1))).toEqual(['x']);
    expect(await failure(six.send('x', { address: '127.0.0.1', port: from.port }))).toMatchObject({
      code: 'ENETUNREACH',
      syscall: 'send',
    });
  });

  it('lets several have one port with reusePort, or reuseAddress', async () => {
    for (const option of [{ reusePort: true }, { reuseAddress: true }]) {
      await using first = await local(option);
      await using second = await local({ ...option, port: first.address.port });
      expect(second.address).toEqual(first.address);
    }
  });

  it('sets what it is asked to', async () => {
    await using socket = await local({ broadcast: true, receiveBufferSize: 50_000, sendBufferSize: 40_000 });
    expect(addon().getsockopt(socket.fd, SOL_SOCKET, SO_BROADCAST)).toBe(1);
    // The kernel doubles what it is asked for.
    expect(socket.receiveBufferSize).toBe(100_000);
    expect(socket.sendBufferSize).toBe(80_000);
    socket.setReceiveBufferSize(60_000).setSendBufferSize(30_000).setBroadcast(false);
    expect([socket.receiveBufferSize, socket.sendBufferSize]).toEqual([120_000, 60_000]);
    expect(addon().getsockopt(socket.fd, SOL_SOCKET, SO_BROADCAST)).toBe(0);
    socket.setTTL(7).setMulticastTTL(9);
    expect(addon().getsockopt(socket.fd, IPPROTO_IP, IP_TTL)).toBe(7);
    expect(addon().getsockopt(socket.fd, IPPROTO_IP, IP_MULTICAST_TTL)).toBe(9);
  });

  it('sends broadcasts only where that is allowed', async () => {
    await using socket = await local();
    const to = { address: '255.255.255.255', port: 9 };
    expect(await failure(socket.send('x', to))).toMatchObject({
      message: 'send EACCES 255.255.255.255:9',
      code: 'EACCES',
    });
    socket.setBroadcast(true);
    // Bound to loopback it gets no further than the routes do.
    const sent = await socket.send('x', to).catch((error: { code: string }) => error.code);
    expect(sent).not.toBe('EACCES');
  });

  it('refuses options that make no sense', async () => {
    expect(() => UdpSocket.bind(null as never)).toThrow(TypeError);
    expect(() => UdpSocket.bind({ port: 65_536 })).toThrow(/options.port should be/);
    expect(() => UdpSocket.bind({ host: 5 as never })).toThrow(TypeError);
    expect(() => UdpSocket.bind({ reusePort: 1 as never })).toThrow(
      /"options.reusePort" argument must be of type boolean/,
    );
    expect(() => UdpSocket.bind({ receiveBufferSize: 0 })).toThrow(RangeError);
    expect(() => UdpSocket.bind({ receiveBuffers: 3 })).toThrow(/a power of two/);
    expect(() => UdpSocket.bind({ maxDatagramSize: 65_536 })).toThrow(RangeError);
    expect(() => UdpSocket.bind({ maxDatagramSize: 1000, gro: true })).toThrow(/65535 with options.gro/);
    expect(await failure(UdpSocket.bind({ signal: AbortSignal.abort() }))).toMatchObject({
      code: 'ABORT_ERR',
    });
  });

  it('refuses settings that make no sense, and all of them once it is closed', async () => {
    const socket = await local();
    expect(() => socket.setTTL(0)).toThrow(RangeError);
    expect(() => socket.setTTL(256)).toThrow(RangeError);
    expect(() => socket.setMulticastTTL(-1)).toThrow(RangeError);
    expect(() => socket.setReceiveBufferSize(0)).toThrow(RangeError);
    await socket.close();
    expect(() => socket.setTTL(1)).toThrow(/EBADF/);
    expect(() => socket.receiveBufferSize).toThrow(/EBADF/);
    expect(() => socket.dropped).toThrow(/EBADF/);
  });
});
