import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import http from '@ouro/adapters/http';
import net from '@ouro/adapters/net';
import { expect, it } from 'vitest';

it.each([
  [
    'an upgrade',
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nfirst bytes',
    'first bytes',
  ],
  ['what is no HTTP', 'NONSENSE\r\n\r\nand more', 'NONSENSE\r\n\r\nand more'],
])(
  '%s behind a request whose handler listens to the socket arrives as it is',
  async (_what, next, expected) => {
    const server = http.createServer((request, response) => {
      request.socket.on('data', () => {});
      response.end();
    });
    const heard = new Promise<string>((resolve) => {
      server.on('upgrade', (_request, socket, head) => {
        socket.destroy();
        resolve(String(head));
      });
      server.on('clientError', ({ rawPacket }: Error & { rawPacket?: Buffer }, socket) => {
        socket.destroy();
        resolve(String(rawPacket).slice(-expected.length));
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.on('error', () => {}).resume();
    socket.write(`GET / HTTP/1.1\r\nHost: a\r\n\r\n${next}`);
    expect(await heard).toBe(expected);
    socket.destroy();
    server.close();
  },
);
