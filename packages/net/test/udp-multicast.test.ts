import { networkInterfaces } from 'node:os';
import { UdpSocket } from '@ouro/net';
import { describe, expect, it } from 'vitest';
import { failure, leavesNothing, told } from './support.ts';
import { collect, local, peer, texts } from './udp-support.ts';

const GROUP = '239.255.77.77';
const OTHER_GROUP = '239.255.77.78';
const GROUP6 = 'ff01::7777'; // of this node only
const LOOPBACK = '127.0.0.1';

/** Whether groups work through loopback here: some containers have no route for them. */
const works = await (async () => {
  await using socket = await UdpSocket.bind({ host: '0.0.0.0' });
  try {
    socket.addMembership(GROUP, LOOPBACK).setMulticastInterface(LOOPBACK);
    await socket.send('x', { address: GROUP, port: socket.address.port });
    return (await socket.recv(Buffer.alloc(1), { timeout: 2000 })).bytes === 1;
  } catch {
    return false;
  }
})();

/** An interface by which IPv6 groups of this node work: what is sent there with no hops left stays on this machine. */
const interface6 = await (async () => {
  for (const [name, all] of Object.entries(networkInterfaces())) {
    if (!all?.some(({ family }) => family === 'IPv6')) continue;
    await using socket = await UdpSocket.bind({ host: '::' });
    const by = `::%${name}`;
    try {
      socket.addMembership(GROUP6, by).setMulticastInterface(by).setMulticastTTL(0);
      await socket.send('x', { address: GROUP6, port: socket.address.port });
      if ((await socket.recv(Buffer.alloc(1), { timeout: 2000 })).bytes === 1) return name;
    } catch {
      // Not by this one.
    }
  }
  return undefined;
})();

const sender = async (): Promise<UdpSocket> =>
  (await local()).setMulticastInterface(LOOPBACK).setMulticastTTL(0);

describe('multicast', () => {
  it.runIf(works)('brings what is sent to a group that was joined, to all who have joined it', () =>
    leavesNothing(async () => {
      await using one = await UdpSocket.bind({ host: '0.0.0.0', reuseAddress: true });
      const { port } = one.address;
      await using two = await UdpSocket.bind({ host: '0.0.0.0', port, reuseAddress: true });
      one.addMembership(GROUP, LOOPBACK);
      two.addMembership(GROUP, LOOPBACK);
      await using from = await sender();
      await from.send('all', { address: GROUP, port });
      expect(texts([...(await collect(one, 1)), ...(await collect(two, 1))])).toEqual(['all', 'all']);
    }),
  );

  it.runIf(works)('comes no more when the group has been left', async () => {
    await using socket = await UdpSocket.bind({ host: '0.0.0.0' });
    const { port } = socket.address;
    await using from = await sender();
    socket.addMembership(GROUP, LOOPBACK).addMembership(OTHER_GROUP, LOOPBACK);
    socket.dropMembership(GROUP, LOOPBACK);
    await from.send('left', { address: GROUP, port });
    await from.send('joined', { address: OTHER_GROUP, port });
    expect(texts(await collect(socket, 1))).toEqual(['joined']);
  });

  it.runIf(works)('reaches this machine or not, as setMulticastLoopback says', async () => {
    await using socket = await UdpSocket.bind({ host: '0.0.0.0' });
    const { port } = socket.address;
    socket.addMembership(GROUP, LOOPBACK);
    await using from = await sender();
    from.setMulticastTTL(1).setMulticastLoopback(false);
    await from.send('not here', { address: GROUP, port });
    from.setMulticastLoopback(true).setMulticastTTL(0);
    await from.send('here', { address: GROUP, port });
    const got = await collect(socket, 1);
    // (What loopback sends out comes in by itself there: both are allowed to arrive.)
    expect(['here', 'not here']).toContain(texts(got)[0]);
  });

  it.runIf(works)('of one source comes from that one only', async () => {
    await using socket = await UdpSocket.bind({ host: '0.0.0.0' });
    const { port } = socket.address;
    socket.addSourceSpecificMembership('127.0.0.1', GROUP, LOOPBACK);
    await using right = await sender();
    await using wrong = (await UdpSocket.bind({ host: '127.0.0.2' })).setMulticastInterface(LOOPBACK);
    await wrong.send('wrong', { address: GROUP, port });
    await right.send('right', { address: GROUP, port });
    expect(texts(await collect(socket, 1))).toEqual(['right']);
    socket.dropSourceSpecificMembership('127.0.0.1', GROUP, LOOPBACK);
    expect(() => socket.dropSourceSpecificMembership('127.0.0.1', GROUP, LOOPBACK)).toThrow(
      /^dropSourceSpecificMembership E/,
    );
  });

  it.runIf(works)('goes to and fro with node:dgram', async () => {
    await using theirs = await peer('udp4', '0.0.0.0');
    theirs.socket.addMembership(GROUP, LOOPBACK);
    await using from = await sender();
    await from.send('ours', { address: GROUP, port: theirs.port });
    expect((await theirs.next()).data.toString()).toBe('ours');
    await using socket = await UdpSocket.bind({ host: '0.0.0.0' });
    socket.addMembership(GROUP, LOOPBACK);
    theirs.socket.setMulticastInterface(LOOPBACK);
    theirs.socket.send('theirs', socket.address.port, GROUP);
    expect(texts(await collect(socket, 1))).toEqual(['theirs']);
  });

  it.runIf(interface6 !== undefined)('goes over IPv6, by the interface that is said', async () => {
    await using socket = await UdpSocket.bind({ host: '::' });
    const { port } = socket.address;
    const by = `::%${interface6}`;
    socket.addMembership(GROUP6, by);
    await using from = await UdpSocket.bind({ host: '::' });
    from.setMulticastInterface(by).setMulticastTTL(0).setMulticastLoopback(true);
    await from.send('six', { address: GROUP6, port });
    expect(texts(await collect(socket, 1))).toEqual(['six']);
    socket.dropMembership(GROUP6, by);
    socket.addSourceSpecificMembership('::1', 'ff31::7777', by);
    socket.dropSourceSpecificMembership('::1', 'ff31::7777', by);
    expect(() => socket.dropSourceSpecificMembership('::1', 'ff31::7777', by)).toThrow(
      /^dropSourceSpecificMembership E/,
    );
  });

  it('fails with the words of node:dgram', async () => {
    await using socket = await local();
    const error = told(
      (() => {
        try {
          socket.addMembership('192.0.2.1', LOOPBACK);
          return undefined;
        } catch (thrown) {
          return thrown;
        }
      })(),
    );
    expect(error).toMatchObject({
      message: 'addMembership EINVAL',
      code: 'EINVAL',
      syscall: 'addMembership',
    });
    expect(() => socket.dropMembership(GROUP, LOOPBACK)).toThrow('dropMembership EADDRNOTAVAIL');
    expect(() => socket.addMembership('name.invalid')).toThrow(/Invalid IP address/);
    expect(() => socket.addMembership(5 as never)).toThrow(TypeError);
    expect(() => socket.setMulticastInterface('192.0.2.1')).toThrow(/^setMulticastInterface E/);
    await socket.close();
    expect(() => socket.addMembership(GROUP)).toThrow(/EBADF/);
    expect(await failure(socket.connect({ address: GROUP, port: 9 }))).toMatchObject({ code: 'EBADF' });
  });
});
