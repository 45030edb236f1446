import { existsSync, lstatSync } from 'node:fs';
import { join } from 'node:path';
import { UnixDatagram, type UnixMessage, UnixSeqpacket, UnixSeqpacketListener } from '@ouro/net';
import { sendmsg } from '@ouro/net/ops';
import { type Future, sleep, submit } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { start } from '../../../testing/beside.ts';
import { bytes, failure } from './support.ts';
import { keepsDescriptors, socketDirectory } from './unix-support.ts';

const dir = socketDirectory();
let last = 0;
const freshPath = (): string => join(dir, `s${last++}`);

/** Both kinds, connected. */
const PAIRS = [
  ['datagrams', () => UnixDatagram.pair()],
  ['packets', () => UnixSeqpacket.pair()],
] as const;

/** The next `count` messages. */
async function take(socket: UnixDatagram | UnixSeqpacket, count: number): Promise<UnixMessage[]> {
  const messages: UnixMessage[] = [];
  for await (const message of socket) {
    messages.push(message);
    if (messages.length === count) break;
  }
  return messages;
}

/** Sends until nothing more goes in. */
async function fill(send: () => Future<number>): Promise<number> {
  for (let sent = 0; ; sent++) {
    const waiting = send();
    const timer = setTimeout(() => waiting.cancel(), 100);
    try {
      await waiting;
    } catch {
      return sent;
    } finally {
      clearTimeout(timer);
    }
  }
}

describe.each(PAIRS)('messages over a pair for %s', (_kind, make) => {
  it('are kept whole and in order, empty ones too', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = make();
      const sent = ['a', '', 'longer than the others', '', bytes(100_000, 1), 'end'];
      for (const data of sent) one.send(data);
      const messages = await take(other, sent.length);
      expect(messages.map(({ data }) => data.toString('latin1'))).toEqual(
        sent.map((data) => data.toString('latin1')),
      );
      expect(messages[2]).toEqual({
        data: Buffer.from('longer than the others'),
        length: 22,
        truncated: false,
        descriptorsLost: false,
      });
      await Promise.all([one.close(), other.close()]);
    });
  });

  it('fill a buffer of the caller’s; what is too long for that is cut, and told', async () => {
    const [one, other] = make();
    const buffer = Buffer.alloc(8, '.');
    await one.send('0123456789');
    expect(await other.recv(buffer.subarray(0, 4))).toEqual({
      bytes: 4,
      length: 10,
      truncated: true,
      descriptorsLost: false,
    });
    expect(buffer.toString()).toBe('0123....');
    await one.send('next');
    expect(await other.recv(buffer)).toMatchObject({ bytes: 4, length: 4, truncated: false });
    await one.send('xyz');
    for await (const message of other.messages({ maxLength: 2 })) {
      expect(message).toMatchObject({ data: Buffer.from('xy'), length: 3, truncated: true });
      break;
    }
    await Promise.all([one.close(), other.close()]);
  });

  it('wait for a receiver that is slow, and none is lost', async () => {
    const [one, other] = make();
    const count = 3000;
    const sent = Promise.all(Array.from({ length: count }, (_, i) => one.send(`message ${i}`)));
    const received = await take(other, count);
    expect(received.map(({ data }) => data.toString())).toEqual(
      Array.from({ length: count }, (_, i) => `message ${i}`),
    );
    await sent;
    await Promise.all([one.close(), other.close()]);
  });

  it('that are longer than can be sent are refused', async () => {
    const [one, other] = make();
    expect(await failure(one.send(Buffer.alloc(16 << 20)))).toMatchObject({ message: 'sendmsg EMSGSIZE' });
    await Promise.all([one.close(), other.close()]);
  });

  it('come to one receive at a time', async () => {
    const [one, other] = make();
    const waiting = other.recv(Buffer.alloc(1));
    expect(await failure(other.recv(Buffer.alloc(1)))).toMatchObject({ code: 'ERR_INVALID_STATE' });
    expect(await failure(other.messages().next())).toMatchObject({ code: 'ERR_INVALID_STATE' });
    await one.send('x');
    expect(await waiting).toMatchObject({ bytes: 1 });
    await Promise.all([one.close(), other.close()]);
  });

  it('stay in the kernel when a receive is cancelled, times out, or its loop is left', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = make();
      const cancelled = other.recv(Buffer.alloc(8));
      cancelled.cancel();
      expect(await failure(cancelled)).toMatchObject({ code: 'ABORT_ERR' });
      expect(await failure(other.recv(Buffer.alloc(8), { timeout: 1 }))).toMatchObject({ code: 'ETIMEDOUT' });
      const signal = AbortSignal.timeout(1);
      expect(await failure(other.recv(Buffer.alloc(8), { signal }))).toMatchObject({ code: 'ABORT_ERR' });
      const loop = other.messages();
      const waiting = loop.next();
      await loop.return?.();
      expect(await waiting).toEqual({ done: true, value: undefined });
      await one.send('here');
      expect(await other.recv(Buffer.alloc(8))).toMatchObject({ bytes: 4 });
      await Promise.all([one.close(), other.close()]);
    });
  });

  it('end when the socket is closed', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = make();
      const loop = take(other, 1);
      const waiting = failure(one.recv(Buffer.alloc(1)));
      await Promise.all([one.close(), other.close()]);
      expect(await loop).toEqual([]);
      expect(await waiting).toMatchObject({ message: 'recvmsg ECANCELED' });
      expect(await failure(other.recv(Buffer.alloc(1)))).toMatchObject({ code: 'EBADF' });
      expect(await failure(other.send('x'))).toMatchObject({ code: 'EBADF' });
      expect(await failure(other.messages().next())).toMatchObject({ code: 'EBADF' });
      await one.close();
    });
  });

  it('that wait to be sent end when they are cancelled, and when the socket is closed', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = make();
      await fill(() => one.send('x'));
      const waiters = [failure(one.send('x')), failure(one.send('y'))];
      one.cancel('reason');
      for (const each of waiters) expect(await each).toMatchObject({ code: 'ABORT_ERR' });
      const waiting = failure(one.send('x'));
      const behind = failure(one.send('y'));
      await one.close();
      expect((await waiting).code).toBe('ECANCELED');
      expect((await behind).code).toBe('ECANCELED');
      await other.close();
    });
  });

  it('go to memory that is taken away meanwhile, and cost nothing but themselves', async () => {
    const [one, other] = make();
    const memory: ArrayBuffer = Reflect.construct(ArrayBuffer, [8, { maxByteLength: 16 }]);
    const resizable = new Uint8Array(memory);
    const waiting = other.recv(resizable);
    (memory as ArrayBuffer & { resize(size: number): void }).resize(2);
    await one.send('four');
    expect(await waiting).toMatchObject({ bytes: 4, length: 4 });
    expect(Buffer.from(resizable).toString()).toBe('fo');
    const gone = Buffer.alloc(8);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    expect(() => other.recv(gone)).toThrow(TypeError);
    expect(() => one.send(gone)).toThrow(TypeError);
    await Promise.all([one.close(), other.close()]);
  });
});

describe('a datagram socket', () => {
  it('tells where a message comes from: a path, an abstract name, nowhere', async () => {
    await keepsDescriptors(async () => {
      const to = { path: freshPath() };
      await using receiver = await UnixDatagram.bind(to);
      await using named = await UnixDatagram.bind({ path: freshPath() });
      await using auto = await UnixDatagram.bind();
      await using unnamed = UnixDatagram.unbound();
      expect(auto.localAddress?.path).toMatch(/^\0[0-9a-f]{5}$/);
      expect(unnamed.localAddress).toEqual({ path: '' });
      for (const sender of [named, auto, unnamed]) await sender.send('x', to);
      const messages = await take(receiver, 3);
      expect(messages.map(({ address }) => address)).toEqual([
        named.localAddress,
        auto.localAddress,
        undefined,
      ]);
      const [{ address }] = messages;
      await receiver.send('answer', address);
      expect(await named.recv(Buffer.alloc(16))).toMatchObject({ bytes: 6, address: to });
    });
    expect(existsSync(join(dir, 's0'))).toBe(false);
  });

  it('connects, and hears that one only', async () => {
    await using server = await UnixDatagram.bind({ path: freshPath(), mode: 0o600 });
    const { path = '' } = server.localAddress ?? {};
    expect(lstatSync(path).mode & 0o777).toBe(0o600);
    await using client = await UnixDatagram.bind();
    await using other = UnixDatagram.unbound();
    expect(client.remoteAddress).toBeUndefined();
    expect(await failure(client.send('x'))).toMatchObject({ message: 'sendmsg ENOTCONN' });
    await client.connect({ path });
    expect(client.remoteAddress).toEqual({ path });
    await client.send('hello');
    expect(await server.recv(Buffer.alloc(8))).toMatchObject({ bytes: 5, address: client.localAddress });
    expect(await failure(other.send('x', client.localAddress))).toMatchObject({ code: 'EPERM' });
  });

  it('says why it cannot send or bind', async () => {
    const path = freshPath();
    await using socket = UnixDatagram.unbound();
    expect(await failure(socket.send('x', { path }))).toMatchObject({
      message: `sendmsg ENOENT ${path}`,
      address: path,
    });
    const receiver = await UnixDatagram.bind({ path });
    expect(await failure(UnixDatagram.bind({ path }))).toMatchObject({
      message: `bind EADDRINUSE ${path}`,
      syscall: 'bind',
    });
    await socket.connect({ path });
    await receiver.close();
    expect(await failure(socket.send('x'))).toMatchObject({ message: 'sendmsg ECONNREFUSED' });
    await using listener = await UnixSeqpacketListener.bind({ path: freshPath() });
    expect(await failure(socket.connect(listener.address))).toMatchObject({ code: 'EPROTOTYPE' });
    expect(() => socket.send('x', { path: '' })).toThrow(RangeError);
  });

  it('waits for room at a receiver that it is not connected to, and can be given up there', async () => {
    await keepsDescriptors(async () => {
      await using receiver = await UnixDatagram.bind();
      await using sender = UnixDatagram.unbound();
      const to = receiver.localAddress;
      const queued = await fill(() => sender.send('x', to));
      expect(await failure(sender.send('x', to, { timeout: 20 }))).toMatchObject({ code: 'ETIMEDOUT' });
      const cancelled = sender.send('x', to);
      const behind = sender.send('behind', to);
      cancelled.cancel();
      expect(await failure(cancelled)).toMatchObject({ code: 'ABORT_ERR' });
      await take(receiver, queued);
      expect(await behind).toBe(6);
      expect((await take(receiver, 1))[0].data.toString()).toBe('behind');
      // Closed while it waits.
      await fill(() => sender.send('x', to));
      const waiting = failure(sender.send('x', to));
      await sender.close();
      expect(await waiting).toMatchObject({ code: 'ECANCELED' });
    });
  });

  it('says who has sent a message, if asked', async () => {
    await using receiver = await UnixDatagram.bind();
    receiver.passCredentials();
    await using sender = UnixDatagram.unbound();
    await sender.send('x', receiver.localAddress);
    expect((await take(receiver, 1))[0].credentials).toEqual({
      pid: process.pid,
      uid: process.getuid?.(),
      gid: process.getgid?.(),
    });
    receiver.passCredentials(false);
    await sender.send('x', receiver.localAddress);
    expect((await take(receiver, 1))[0]).not.toHaveProperty('credentials');
  });

  it('talks to another program', async () => {
    const path = freshPath();
    await using socket = await UnixDatagram.bind({ path });
    await using other = start([
      'python3',
      '-c',
      `
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(${JSON.stringify(`${path}.py`)})
s.sendto(b'from python', ${JSON.stringify(path)})
print(s.recv(100).decode(), flush=True)
`,
    ]);
    const [{ data, address }] = await take(socket, 1);
    expect([data.toString(), address]).toEqual(['from python', { path: `${path}.py` }]);
    await socket.send('from ouro', address);
    expect(await other.line()).toBe('from ouro');
  });
});

describe('datagrams to a receiver that is slow', () => {
  it.each([
    ['connected', true],
    ['not connected', false],
  ])('arrive whole and in order from a sender that is %s', async (_how, connected) => {
    await keepsDescriptors(async () => {
      await using receiver = await UnixDatagram.bind();
      await using sender = UnixDatagram.unbound();
      const to = receiver.localAddress ?? { path: '' };
      if (connected) await sender.connect(to);
      const texts = Array.from({ length: 500 }, (_, i) => `message ${i}`);
      const sent = Promise.all(texts.map((text) => sender.send(text, connected ? undefined : to)));
      const received: string[] = [];
      for await (const { data } of receiver) {
        received.push(data.toString());
        if (received.length % 50 === 0) await sleep(2);
        if (received.length === texts.length) break;
      }
      expect(received).toEqual(texts);
      expect(await sent).toEqual(texts.map(({ length }) => length));
    });
  });

  it('are given up at once: by cancelling, and with a timeout of nothing', async () => {
    await keepsDescriptors(async () => {
      await using receiver = await UnixDatagram.bind();
      await using sender = UnixDatagram.unbound();
      const to = receiver.localAddress;
      const queued = await fill(() => sender.send('x', to));
      for (let i = 0; i < 30; i++) {
        const cancelled = sender.send('cancelled', to);
        if (i % 2 === 0) await Promise.resolve();
        cancelled.cancel();
        expect(await failure(cancelled)).toMatchObject({ code: 'ABORT_ERR' });
        expect(await failure(sender.send('late', to, { timeout: 0 }))).toMatchObject({ code: 'ETIMEDOUT' });
      }
      const received = await take(receiver, queued);
      expect(new Set(received.map(({ data }) => data.toString()))).toEqual(new Set(['x']));
      expect(await failure(receiver.recv(Buffer.alloc(1), { timeout: 1 }))).toMatchObject({
        code: 'ETIMEDOUT',
      });
    });
  });

  it('wait as ops too', async () => {
    await using receiver = await UnixDatagram.bind();
    await using sender = UnixDatagram.unbound();
    const to = receiver.localAddress ?? { path: '' };
    const queued = await fill(() => sender.send('x', to));
    const waiting = submit(sendmsg(sender, [Buffer.from('last')], { to }));
    const [first] = await take(receiver, queued);
    expect(first.length).toBe(1);
    // A ring that has waited sends what its first try has left of it: see docs/ops.md.
    expect([0, 4]).toContain(await waiting);
    expect(await receiver.recv(Buffer.alloc(8))).toMatchObject({ bytes: await waiting });
  });
});

describe('a connection for packets', () => {
  it('is accepted, carries messages both ways, and ends', async () => {
    await keepsDescriptors(async () => {
      const path = freshPath();
      await using listener = await UnixSeqpacketListener.bind({ path });
      const served = (async () => {
        for await (const connection of listener) {
          for await (const { data } of connection) await connection.send(`${data}!`);
          await connection.close();
          break;
        }
      })();
      await using client = await UnixSeqpacket.connect({ path });
      expect([client.localAddress, client.remoteAddress]).toEqual([{ path: '' }, { path }]);
      expect(client.peerCredentials().pid).toBe(process.pid);
      for (const text of ['one', 'two']) client.send(text);
      await client.shutdown();
      expect(await failure(client.send('more'))).toMatchObject({ message: 'sendmsg EPIPE' });
      const answers: string[] = [];
      for await (const { data } of client) answers.push(data.toString());
      expect(answers).toEqual(['one!', 'two!']);
      expect(await client.recv(Buffer.alloc(1))).toBeNull();
      expect(await client.receiveDescriptors(Buffer.alloc(1))).toBeNull();
      await served;
    });
  });

  it('whose reading alone is ended goes on to send', async () => {
    const [one, other] = UnixSeqpacket.pair();
    await one.shutdown('read');
    expect(await one.recv(Buffer.alloc(1))).toBeNull();
    await one.send('still there');
    expect((await take(other, 1)).map(({ data }) => String(data))).toEqual(['still there']);
    await Promise.all([one.close(), other.close()]);
  });

  it('tells empty messages from its end, whoever has sent them', async () => {
    await using listener = await UnixSeqpacketListener.bind({ path: freshPath() });
    await using _ = start([
      'python3',
      '-c',
      `
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(${JSON.stringify(listener.address.path)})
for message in [b'', b'a', b'', b'']: s.send(message)
s.close()
`,
    ]);
    const connection = await listener.accept();
    const received: string[] = [];
    for await (const { data } of connection) received.push(data.toString());
    expect(received).toEqual(['', 'a', '', '']);
    await connection.close();
  });

  it('fails as a stream does where nobody listens', async () => {
    const path = freshPath();
    expect(await failure(UnixSeqpacket.connect({ path }))).toMatchObject({
      message: `connect ENOENT ${path}`,
    });
    await using listener = await UnixSeqpacketListener.bind({ path });
    expect(await failure(UnixSeqpacketListener.bind({ path }))).toMatchObject({
      message: `listen EADDRINUSE: address already in use ${path}`,
    });
    const client = await UnixSeqpacket.connect({ path });
    await (await listener.accept()).close();
    expect(await failure(client.send('x'))).toMatchObject({ message: 'sendmsg EPIPE' });
    expect(await client.recv(Buffer.alloc(1))).toBeNull();
    await client.close();
  });
});
