import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { type AddressInfo, Socket as NodeSocket, type Server } from 'node:net';
import { join } from 'node:path';
import { stats } from '@ouro/adapters';
import net from '@ouro/adapters/net';
import { describe, expect, it, vi } from 'vitest';
import { temporaryDirectory } from './support.ts';

vi.setConfig({ testTimeout: 60_000 });

const directory = temporaryDirectory();
const listening = async (server: Server): Promise<number> => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
};
const closed = (server: Server): Promise<unknown> => {
  const over = once(server, 'close');
  server.close();
  return over;
};
const readAll = async (socket: NodeSocket): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};
const descriptors = (): number => readdirSync('/proc/self/fd').length;
const served = (name: string): number => stats().net?.[name]?.ours ?? 0;

describe('node:net by import', () => {
  it('echoes over the ring, and says so in the stats', async () => {
    const before = { reads: served('read'), writes: served('write'), accepts: served('accept') };
    const server = net.createServer((socket) => socket.pipe(socket));
    const client = net.connect(await listening(server), '127.0.0.1');
    client.end('hello');
    expect((await readAll(client)).toString()).toBe('hello');
    expect(client).toBeInstanceOf(NodeSocket);
    expect([client.bytesRead, client.bytesWritten]).toEqual([5, 5]);
    expect(served('accept')).toBe(before.accepts + 1);
    expect(served('read')).toBeGreaterThanOrEqual(before.reads + 2);
    expect(served('write')).toBeGreaterThanOrEqual(before.writes + 2);
    await closed(server);
  });

  it('carries much in both directions, with back-pressure', async () => {
    const bytes = Buffer.alloc(8 << 20);
    for (let i = 0; i < bytes.length; i += 4096) bytes.writeUInt32LE(i, i);
    const server = net.createServer((socket) => socket.pipe(socket));
    const client = net.connect(await listening(server), '127.0.0.1');
    expect(client.write(bytes)).toBe(false);
    client.end();
    expect((await readAll(client)).equals(bytes)).toBe(true);
    await closed(server);
  });

  it('writes strings of every encoding, and many at a time', async () => {
    const server = net.createServer((socket) => {
      socket.cork();
      socket.write('é', 'latin1');
      socket.write('€');
      socket.write('ab', 'utf16le');
      socket.write('6f', 'hex');
      socket.write(Buffer.from('!'));
      socket.end();
    });
    const client = net.connect(await listening(server), '127.0.0.1');
    expect((await readAll(client)).toString('hex')).toBe('e9e282ac610062006f21');
    await closed(server);
  });

  it('takes no more from the kernel than a reader that has stopped will keep', async () => {
    const server = net.createServer((socket) => socket.pause());
    const client = net.connect(await listening(server), '127.0.0.1');
    const [socket] = (await once(server, 'connection')) as [NodeSocket];
    const chunk = Buffer.alloc(1 << 20);
    let written = 0;
    // What the kernel holds for both ends, and what we keep, is a few megabytes.
    while (written < 64 << 20 && client.write(chunk)) written += chunk.length;
    expect(written).toBeLessThan(64 << 20);
    expect(socket.bytesRead).toBe(0);
    client.destroy();
    socket.destroy();
    await closed(server);
  });

  it('leaves the other half open where that is asked for', async () => {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.resume();
      socket.on('end', () => socket.end('after the end'));
    });
    const client = net.connect({ port: await listening(server), host: '127.0.0.1', allowHalfOpen: true });
    client.end();
    expect((await readAll(client)).toString()).toBe('after the end');
    await closed(server);
  });

  it('sends what was written before destroy, as far as the kernel takes it', async () => {
    const server = net.createServer((socket) => {
      socket.write('last words');
      socket.destroy();
    });
    const client = net.connect(await listening(server), '127.0.0.1');
    expect((await readAll(client)).toString()).toBe('last words');
    await closed(server);
  });

  it('tells of a reset, a refusal and an address in use as Node does', async () => {
    const server = net.createServer((socket) => socket.resetAndDestroy());
    const port = await listening(server);
    const client = net.connect(port, '127.0.0.1');
    const [reset] = await once(client, 'error').catch((error) => [error]);
    expect(reset).toMatchObject({ code: 'ECONNRESET', errno: -104, syscall: 'read' });
    const [inUse] = await once(net.createServer().listen(port, '127.0.0.1'), 'error');
    expect(inUse).toMatchObject({
      code: 'EADDRINUSE',
      message: `listen EADDRINUSE: address already in use 127.0.0.1:${port}`,
    });
    await closed(server);
    const [refused] = await once(net.connect(port, '127.0.0.1'), 'error');
    expect(refused).toMatchObject({ message: `connect ECONNREFUSED 127.0.0.1:${port}`, syscall: 'connect' });
  });

  it('serves Unix sockets, and removes the file', async () => {
    const path = join(directory, 'socket');
    const server = net.createServer((socket) => socket.pipe(socket)).listen(path);
    await once(server, 'listening');
    const client = net.connect(path);
    client.end('hello');
    expect((await readAll(client)).toString()).toBe('hello');
    await closed(server);
    expect(existsSync(path)).toBe(false);
  });

  it('reads into a buffer of the program', async () => {
    const server = net.createServer((socket) => socket.end('0123456789'));
    let got = '';
    const client = new net.Socket({
      onread: {
        buffer: Buffer.alloc(4),
        callback: (count: number, buffer: Uint8Array) => {
          got += Buffer.from(buffer.subarray(0, count)).toString();
          return true;
        },
      },
    } as ConstructorParameters<typeof net.Socket>[0]);
    client.connect(await listening(server), '127.0.0.1');
    await once(client, 'close');
    expect(got).toBe('0123456789');
    await closed(server);
  });

  it('keeps the context of who connected', async () => {
    const storage = new AsyncLocalStorage<string>();
    const server = net.createServer((socket) => socket.end('x'));
    const port = await listening(server);
    const seen = await storage.run(
      'mine',
      () =>
        new Promise((done) => {
          const client = net.connect(port, '127.0.0.1');
          client.on('data', () => done(storage.getStore()));
        }),
    );
    expect(seen).toBe('mine');
    await closed(server);
  });

  it('gives back all descriptors, whatever is in flight when a socket is destroyed', async () => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {}).resume();
      socket.write(Buffer.alloc(8 << 20));
    });
    const port = await listening(server);
    const before = descriptors();
    for (let round = 0; round < 20; round++) {
      const client = net.connect(port, '127.0.0.1');
      client.on('error', () => {});
      if (round % 4 === 0) client.destroy();
      else await once(client, 'connect');
      if (round % 4 === 2) await once(client, 'data');
      client.write(Buffer.alloc(4 << 20));
      client.destroy();
      if (!client.closed) await once(client, 'close');
    }
    await vi.waitFor(() => expect(descriptors()).toBeLessThanOrEqual(before), { timeout: 20_000 });
    await closed(server);
  });
});
