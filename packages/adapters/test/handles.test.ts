import { once } from 'node:events';
import nodeNet, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fromNodeSocket, toNodeServer, toNodeSocket, undiciConnect } from '@ouro/adapters';
import net from '@ouro/adapters/net';
import { TcpListener, TcpStream, UnixListener } from '@ouro/net';
import { describe, expect, it, vi } from 'vitest';
import { temporaryDirectory } from './support.ts';

vi.setConfig({ testTimeout: 60_000 });

const directory = temporaryDirectory();
const echo = (socket: nodeNet.Socket): unknown => socket.pipe(socket);
const closed = (server: nodeNet.Server): Promise<unknown> => {
  const over = once(server, 'close');
  server.close();
  return over;
};

describe('handles', () => {
  it('makes a net.Server of a listener, which is closed with it', async () => {
    const listener = await TcpListener.bind({ host: '127.0.0.1' });
    const server = toNodeServer(listener, echo);
    expect(server.address()).toEqual({ ...listener.address });
    const client = nodeNet.connect(listener.address.port, '127.0.0.1');
    client.end('hello');
    const [data] = await once(client, 'data');
    expect(String(data)).toBe('hello');
    await closed(server);
    await vi.waitFor(() => expect(listener.fd).toBe(-1));
  });

  it('does the same of Unix sockets', async () => {
    const path = join(directory, 'listener');
    const server = toNodeServer(await UnixListener.bind({ path }), echo);
    const client = nodeNet.connect(path);
    client.end('hello');
    const [data] = await once(client, 'data');
    expect(String(data)).toBe('hello');
    await closed(server);
  });

  it('makes a net.Socket of a stream, with what has arrived at that', async () => {
    const server = net.createServer(echo).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const stream = await TcpStream.connect({ host: '127.0.0.1', port });
    await stream.writeAll('abc');
    const first = Buffer.alloc(1);
    await stream.read(first);
    const socket = toNodeSocket(stream);
    expect(socket.remotePort).toBe(port);
    socket.end('def');
    let text = String(first);
    for await (const chunk of socket) text += chunk;
    expect(text).toBe('abcdef');
    await closed(server);
  });

  it.each([
    ['Node', nodeNet],
    ['ours', net],
  ])('makes a stream of a net.Socket of %s, with what that had read', async (_whose, from) => {
    const server = net.createServer(echo).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = from.connect((server.address() as AddressInfo).port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write('12345');
    await once(socket, 'readable');
    await using stream = await fromNodeSocket(socket);
    expect(socket.destroyed).toBe(true);
    const bytes = Buffer.alloc(8);
    await stream.writeAll('678');
    await stream.readExact(bytes);
    expect(bytes.toString()).toBe('12345678');
    await stream.close();
    await closed(server);
  });

  it('refuses sockets that are not connected', async () => {
    await expect(fromNodeSocket(new nodeNet.Socket())).rejects.toThrow(/connected socket/);
  });

  it('connects for undici', async () => {
    const server = net.createServer((socket) => socket.end()).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const connect = undiciConnect({ timeout: 20_000 });
    const socket = await new Promise<nodeNet.Socket>((done, failed) =>
      connect({ hostname: '127.0.0.1', protocol: 'http:', port: `${port}` }, (error, made) =>
        error === null ? done(made) : failed(error),
      ),
    );
    expect(socket.remotePort).toBe(port);
    socket.destroy();
    await closed(server);
    await expect(
      new Promise((done, failed) =>
        connect({ hostname: '127.0.0.1', protocol: 'http:', port: `${port}` }, (error, made) =>
          error === null ? done(made) : failed(error),
        ),
      ),
    ).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });
});
