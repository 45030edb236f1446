import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { stats } from '@ouro/adapters';
import http from '@ouro/adapters/http';
import net from '@ouro/adapters/net';
import { expect, it } from 'vitest';

it('a request whose sender has finished is answered before its end is told', async () => {
  const served = (): number => stats().http?.['Server connection']?.ours ?? 0;
  const before = served();
  const server = http.createServer((request, response) => {
    request.on('end', () => response.end('bye'));
    request.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const chunk = `2;${'a'.repeat(10_000)}=b\r\nAA\r\n`;
  const ask = async (): Promise<string> => {
    const socket = net.connect(port, '127.0.0.1');
    socket.end(
      `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(3)}0\r\n\r\n`,
    );
    let answer = '';
    for await (const piece of socket) answer += piece;
    return answer;
  };
  const answers = await Promise.all(Array.from({ length: 20 }, ask));
  for (const answer of answers)
    expect([answer.slice(0, 17), answer.slice(-7)]).toEqual(['HTTP/1.1 200 OK\r\n', '\r\n\r\nbye']);
  expect(served()).toBe(before + 20);
  server.close();
});
