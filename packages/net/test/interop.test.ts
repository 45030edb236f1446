import { spawnSync } from 'node:child_process';
import http from 'node:http';
import net from 'node:net';
import { TcpListener, TcpStream } from '@ouro/net';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../../testing/program.ts';
import { bytes, echo, failure, nodeServer, readAll, serve, socketReadAll } from './support.ts';

const MIB = 1 << 20;
const installed = (command: string): boolean => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;

describe('a client of node:net', () => {
  it('gets its echo from our server', async () => {
    await using server = await serve(echo);
    const data = bytes(5 * MIB, 1);
    const socket = net.connect({ host: '127.0.0.1', port: server.port });
    socket.end(data);
    expect((await socketReadAll(socket)).equals(data)).toBe(true);
    expect(server.failures).toEqual([]);
  });

  it('sees the end that we send', async () => {
    await using server = await serve(async (stream) => {
      await stream.writeAll('bye');
      await stream.shutdown();
      await readAll(stream);
    });
    const socket = net.connect({ host: '127.0.0.1', port: server.port });
    expect((await socketReadAll(socket)).toString()).toBe('bye');
    socket.destroy();
  });

  it('is one of a hundred at once', async () => {
    await using server = await serve(echo);
    const echoes = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const data = bytes(10_000 + i, i);
        const socket = net.connect({ host: '127.0.0.1', port: server.port });
        socket.end(data);
        return (await socketReadAll(socket)).equals(data);
      }),
    );
    expect(echoes).toEqual(Array.from({ length: 100 }, () => true));
  });
});

describe('our client', () => {
  it('gets its echo from a server of node:net', async () => {
    await using server = await nodeServer((socket) => socket.pipe(socket));
    await using stream = await TcpStream.connect({ host: '127.0.0.1', port: server.port });
    const data = bytes(5 * MIB, 2);
    const sending = stream.writeAll(data).then(() => stream.shutdown());
    expect((await readAll(stream)).equals(data)).toBe(true);
    await sending;
  });

  it('speaks HTTP with node:http', async () => {
    const server = http.createServer((request, response) => response.end(`you asked for ${request.url}`));
    const port = await new Promise<number>((listening) => {
      server.listen(0, '127.0.0.1', () => listening((server.address() as net.AddressInfo).port));
    });
    await using stream = await TcpStream.connect({ host: '127.0.0.1', port });
    await stream.writeAll(`GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    const answer = (await readAll(stream)).toString();
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(answer).toContain('you asked for /x');
    server.close();
  });
});

describe('other programs', () => {
  const page = 'hello from ouro\n';
  const respond = async (stream: TcpStream): Promise<void> => {
    for await (const chunk of stream) if (chunk.includes('\r\n\r\n')) break;
    await stream.writeAll(
      `HTTP/1.1 200 OK\r\nContent-Length: ${page.length}\r\nConnection: close\r\n\r\n${page}`,
    );
    await stream.shutdown();
    await readAll(stream);
  };

  it.skipIf(!installed('curl'))(
    'curl fetches from our server (skipped where it is not installed)',
    async () => {
      await using server = await serve(respond);
      const ended = await runCommand(['curl', '-sS', '--max-time', '10', `http://127.0.0.1:${server.port}/`]);
      expect(ended).toEqual({ code: 0, signal: null, stdout: page, stderr: '' });
      expect(server.failures).toEqual([]);
    },
  );

  it.skipIf(!installed('curl'))('curl fetches over IPv6 (skipped where it is not installed)', async () => {
    await using listener = await TcpListener.bind({ host: '::1' });
    const accepted = listener.accept().then(async (stream) => {
      await respond(stream);
      await stream.close();
    });
    const ended = await runCommand([
      'curl',
      '-sS',
      '--max-time',
      '10',
      `http://[::1]:${listener.address.port}/`,
    ]);
    expect(ended).toMatchObject({ code: 0, stdout: page });
    await accepted;
  });

  it.skipIf(!installed('nc'))(
    'nc gets its echo from our server (skipped where it is not installed)',
    async () => {
      await using server = await serve(echo);
      const ended = await runCommand(['nc', '-N', '127.0.0.1', String(server.port)], { input: 'hello\n' });
      expect(ended).toMatchObject({ code: 0, stdout: 'hello\n' });
    },
  );

  it('a shell gets its echo from our server', async () => {
    await using server = await serve(echo);
    const script = `exec 3<>/dev/tcp/127.0.0.1/${server.port}; printf hello >&3; head -c 5 <&3`;
    expect(await runCommand(['bash', '-c', script])).toMatchObject({ code: 0, stdout: 'hello' });
  });

  it('a connection that ends before it says anything does no harm', async () => {
    await using server = await serve(respond);
    const script = `exec 3<>/dev/tcp/127.0.0.1/${server.port}`;
    expect(await runCommand(['bash', '-c', script])).toMatchObject({ code: 0 });
    await using stream = await TcpStream.connect({ host: '127.0.0.1', port: server.port });
    await stream.writeAll('GET / HTTP/1.1\r\n\r\n');
    expect((await readAll(stream)).toString()).toContain(page);
  });

  it('a port where somebody else listens is EADDRINUSE', async () => {
    await using server = await nodeServer(() => {});
    expect(await failure(TcpListener.bind({ host: '127.0.0.1', port: server.port }))).toMatchObject({
      code: 'EADDRINUSE',
    });
  });
});
