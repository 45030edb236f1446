import { AsyncLocalStorage } from 'node:async_hooks';
import nodeDgram, { type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { stats } from '@ouro/adapters';
import dgram, { createSocket, Socket } from '@ouro/adapters/dgram';
import { describe, expect, it, vi } from 'vitest';

vi.setConfig({ testTimeout: 60_000 });

const HOST = '127.0.0.1';
const served = (name: string): number => stats().dgram?.[name]?.ours ?? 0;
const descriptors = (): number => readdirSync('/proc/self/fd').length;

async function bound(options: nodeDgram.SocketOptions | 'udp4' | 'udp6' = 'udp4'): Promise<nodeDgram.Socket> {
  const socket = createSocket(options as nodeDgram.SocketOptions);
  socket.bind(0, typeof options === 'string' && options === 'udp6' ? '::1' : HOST);
  await once(socket, 'listening');
  return socket;
}

async function connected(to: nodeDgram.Socket): Promise<nodeDgram.Socket> {
  const socket = createSocket('udp4');
  socket.connect(to.address().port, HOST);
  await once(socket, 'connect');
  return socket;
}

const sent = (socket: nodeDgram.Socket, ...args: unknown[]): Promise<number> =>
  new Promise((done, failed) => {
    const callback = (error: Error | null, bytes: number): void =>
      error === null ? done(bytes) : failed(error);
    (socket.send as (...all: unknown[]) => void).call(socket, ...args, callback);
  });

const received = async (socket: nodeDgram.Socket): Promise<[Buffer, RemoteInfo]> =>
  (await once(socket, 'message')) as [Buffer, RemoteInfo];

const closed = (...sockets: nodeDgram.Socket[]): Promise<unknown> =>
  Promise.all(
    sockets.map((socket) => {
      const over = once(socket, 'close');
      socket.close();
      return over;
    }),
  );

describe('node:dgram by import', () => {
  it('sends and receives over the ring, and says so in the stats', async () => {
    const before = { binds: served('bind'), sends: served('send'), receives: served('receive') };
    const receiver = await bound();
    const sender = createSocket('udp4');
    const arrived = received(receiver);
    expect(await sent(sender, 'hello', receiver.address().port, HOST)).toBe(5);
    const [data, from] = await arrived;
    expect(String(data)).toBe('hello');
    expect(from).toEqual({ address: HOST, family: 'IPv4', port: sender.address().port, size: 5 });
    expect(receiver).toBeInstanceOf(nodeDgram.Socket);
    expect(served('bind')).toBe(before.binds + 2);
    expect(served('send')).toBe(before.sends + 1);
    expect(served('receive')).toBe(before.receives + 1);
    await closed(receiver, sender);
  });

  it('has all exports of the module, and leaves who imports that one alone', async () => {
    expect(Object.keys(dgram).sort()).toEqual(Object.keys(nodeDgram).sort());
    const before = served('bind');
    const socket = nodeDgram.createSocket('udp4');
    socket.bind(0, HOST);
    await once(socket, 'listening');
    expect(socket).not.toBeInstanceOf(Socket);
    expect(served('bind')).toBe(before);
    await closed(socket);
  });

  it('hands out memory that nobody else has', async () => {
    const receiver = await bound();
    const sender = await connected(receiver);
    const all: Buffer[] = [];
    receiver.on('message', (data) => all.push(data));
    for (const size of [0, 1, 64, 65, 1000, 65_507]) await sent(sender, Buffer.alloc(size, size));
    await vi.waitFor(() => expect(all.length).toBe(6));
    for (const data of all) {
      expect([data.byteOffset, data.buffer.byteLength]).toEqual([0, data.length]);
      if (data.length > 0)
        expect(structuredClone(data, { transfer: [data.buffer as ArrayBuffer] }).length).not.toBe(0);
    }
    await closed(receiver, sender);
  });

  it('takes the bytes of a datagram when it is sent: who changes or transfers them afterwards changes nothing', async () => {
    const receiver = await bound();
    const sender = await connected(receiver);
    const all: string[] = [];
    receiver.on('message', (data) => all.push(data.toString('latin1', 0, 3) + data.length));
    for (const size of [3, 352, 353, 5000, 60_000]) {
      const changed = Buffer.alloc(size, 'abc');
      const gone = Buffer.from(new Uint8Array(size).fill(100).buffer);
      const ends = [sent(sender, changed), sent(sender, [gone.subarray(0, 1), gone.subarray(1)])];
      changed.fill('x');
      structuredClone(0, { transfer: [gone.buffer as ArrayBuffer] });
      expect(await Promise.all(ends)).toEqual([size, size]);
      await vi.waitFor(() => expect(all.splice(0)).toEqual([`abc${size}`, `ddd${size}`]));
    }
    await closed(receiver, sender);
  });

  it('sends what is left of a datagram whose memory goes while its address is looked up', async () => {
    const [receiver, sender] = [await bound(), await bound()];
    const { port } = receiver.address();
    const gone = [new Uint8Array(10), new DataView(new ArrayBuffer(10)), Buffer.alloc(30_000, 1)];
    const parts = [Buffer.from('a'), Buffer.from(new ArrayBuffer(5)), Buffer.from('z')];
    const sizes = gone.map((view) => sent(sender, view, port, HOST));
    const rest = sent(sender, parts, port, HOST);
    structuredClone(0, { transfer: [...gone, parts[1]].map((view) => view.buffer as ArrayBuffer) });
    expect(await Promise.all([...sizes, rest])).toEqual([0, 0, 0, 2]);
    await closed(receiver, sender);
  });

  it('believes a view, and not what it says of its length', async () => {
    const receiver = await bound();
    const sender = await connected(receiver);
    const all: string[] = [];
    receiver.on('message', (data) => all.push(String(data)));
    for (const lie of [0, 3, 1e6, -1])
      await sent(sender, Object.defineProperty(Buffer.from('abcdef'), 'length', { value: lie }));
    await vi.waitFor(() => expect(all).toEqual(Array(4).fill('abcdef')));
    await closed(receiver, sender);
  });

  it('brings thousands of datagrams, each as it was', async () => {
    const receiver = await bound();
    const sender = await connected(receiver);
    const missing = new Set(Array.from({ length: 4000 }, (_, i) => i));
    let wrong = 0;
    receiver.on('message', (data: Buffer) => {
      const number = data.readUInt32LE();
      if (data.length !== 4 + (number % 1000) || !data.subarray(4).every((byte) => byte === number % 256))
        wrong++;
      missing.delete(number);
    });
    // As many at a time as the kernel keeps for a socket.
    for (let from = 0; from < 4000; from += 20) {
      const left = missing.size;
      for (let number = from; number < from + 20; number++) {
        const data = Buffer.alloc(4 + (number % 1000), number % 256);
        data.writeUInt32LE(number);
        sender.send(data);
      }
      await vi.waitFor(() => expect(missing.size).toBe(left - 20), { interval: 1 });
    }
    expect([missing.size, wrong]).toEqual([0, 0]);
    await closed(receiver, sender);
  });

  it('queues no more than so many in one turn, and sends all', async () => {
    const receiver = await bound();
    const sender = await connected(receiver);
    let most = 0;
    for (let i = 0; i < 20_000; i++) {
      sender.send('x');
      most = Math.max(most, sender.getSendQueueCount());
    }
    expect(most).toBe(1024);
    for (let i = 0; i < 200; i++) {
      sender.send(Buffer.alloc(60_000));
      most = Math.max(most, sender.getSendQueueSize());
    }
    expect(most).toBeLessThanOrEqual(4 << 20);
    expect(await sent(sender, 'the last')).toBe(8);
    await vi.waitFor(() => expect([sender.getSendQueueCount(), sender.getSendQueueSize()]).toEqual([0, 0]));
    await closed(receiver, sender);
  });

  it('frees the port at once when it is closed, and every descriptor', async () => {
    const first = await bound();
    await closed(first);
    const before = descriptors();
    for (let i = 0; i < 200; i++) {
      const socket = await bound();
      const { port } = socket.address();
      socket.send('to itself', port, HOST);
      socket.close();
      const next = createSocket('udp4');
      next.bind(port, HOST);
      await once(next, 'listening');
      await closed(next);
    }
    await vi.waitFor(() => expect(descriptors()).toBe(before));
  });

  it('is closed by its signal, and by disposal', async () => {
    const controller = new AbortController();
    const socket = createSocket({ type: 'udp4', signal: controller.signal } as nodeDgram.SocketOptions);
    socket.bind(0, HOST);
    await once(socket, 'listening');
    const over = once(socket, 'close');
    controller.abort();
    await over;
    expect(() => socket.address()).toThrow(expect.objectContaining({ code: 'ERR_SOCKET_DGRAM_NOT_RUNNING' }));
    const other = await bound();
    await other[Symbol.asyncDispose]();
    expect(() => other.address()).toThrow();
  });

  it('tells whoever sends what he has sent, although the socket is closed in the same turn', async () => {
    const receiver = await bound();
    const sender = await connected(receiver);
    const arrived: string[] = [];
    receiver.on('message', (data) => arrived.push(String(data)));
    const results = ['1', '2', '3'].map((text) => sent(sender, text));
    const over = once(sender, 'close');
    sender.close();
    expect(await Promise.all(results)).toEqual([1, 1, 1]);
    await over;
    await vi.waitFor(() => expect(arrived).toEqual(['1', '2', '3']));
    await closed(receiver);
  });

  it('tells of nothing more once it is closed', async () => {
    const receiver = await bound();
    const sender = await connected(receiver);
    sender.on('error', () => {}); // it is told that nobody is there any more
    const heard: string[] = [];
    receiver.on('message', (data) => {
      heard.push(String(data));
      receiver.close();
    });
    const over = once(receiver, 'close');
    await Promise.all(['1', '2', '3'].map((text) => sent(sender, text)));
    await over;
    await sent(sender, '4').catch(() => {});
    expect(heard).toEqual(['1']);
    await closed(sender);
  });

  it('keeps contexts: messages are of whoever has made the socket, callbacks of whoever sends', async () => {
    const storage = new AsyncLocalStorage<string>();
    const receiver = storage.run('maker', () => createSocket('udp4'));
    storage.run('binder', () => receiver.bind(0, HOST));
    await once(receiver, 'listening');
    const heard: (string | undefined)[] = [];
    storage.run('listener', () => receiver.on('message', () => heard.push(storage.getStore())));
    const sender = await connected(receiver);
    for (const name of ['first', 'second'])
      storage.run(name, () => sender.send('x', () => heard.push(storage.getStore())));
    await vi.waitFor(() => expect(heard.sort()).toEqual(['first', 'maker', 'maker', 'second']));
    await closed(receiver, sender);
  });

  it('speaks IPv6 too', async () => {
    const receiver = await bound('udp6');
    const sender = createSocket('udp6');
    const arrived = received(receiver);
    await sent(sender, 'hello', receiver.address().port, '::1');
    const [data, from] = await arrived;
    expect([String(data), from.address, from.family]).toEqual(['hello', '::1', 'IPv6']);
    await closed(receiver, sender);
  });

  it('goes on when a listener throws', async () => {
    const receiver = await bound();
    const sender = await connected(receiver);
    const heard: string[] = [];
    const thrown: unknown[] = [];
    const others = process.rawListeners('uncaughtException');
    process.removeAllListeners('uncaughtException').on('uncaughtException', (error) => thrown.push(error));
    try {
      receiver.on('message', (data) => {
        heard.push(String(data));
        throw new Error(String(data));
      });
      await Promise.all(['1', '2'].map((text) => sent(sender, text)));
      await vi.waitFor(() =>
        expect([heard, thrown.map(String)]).toEqual([
          ['1', '2'],
          ['Error: 1', 'Error: 2'],
        ]),
      );
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const other of others) process.on('uncaughtException', other as () => void);
    }
    await closed(receiver, sender);
  });
});
