import dgram from 'node:dgram';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { start } from '../../testing/beside.ts';
import { runCommand } from '../../testing/program.ts';
import { command, Inbox, installed, startServer } from './servers.ts';

const dir = mkdtempSync(join(tmpdir(), 'ouro-echo-'));
afterAll(() => rmSync(dir, { recursive: true }));

describe('the udp-echo example', () => {
  it('sends each datagram back to whoever sent it', async () => {
    await using server = await startServer('udp-echo');
    const clients = Array.from({ length: 5 }, () => dgram.createSocket('udp4'));
    for (const [i, client] of clients.entries()) {
      for (const size of [0, 1, 1400, 60_000]) {
        const message = Buffer.alloc(size, `client ${i}`);
        client.send(message, server.port, '127.0.0.1');
        const [answer] = (await once(client, 'message')) as [Buffer];
        expect(answer.equals(message)).toBe(true);
      }
      client.close();
    }
    server.beside.kill('SIGTERM');
    expect(await server.beside.ended).toEqual({ code: 0, signal: null, stderr: '' });
  });

  it.skipIf(!installed('socat'))('talks to socat', async () => {
    await using server = await startServer('udp-echo');
    const { stdout } = await runCommand(['socat', '-t', '1', '-', `UDP4:127.0.0.1:${server.port}`], {
      input: 'hi',
    });
    expect(stdout).toBe('hi');
  });
});

describe('the unix-echo example', () => {
  it('sends back what it receives, to its own user only, and leaves no file behind', async () => {
    const path = join(dir, 'echo.sock');
    const echo = start(command('unix-echo', path));
    await using _ = echo;
    expect(await echo.line()).toBe(`listening on ${path}`);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const socket = net.connect(path);
    const inbox = new Inbox(socket);
    const data = Buffer.alloc(1_000_000, 'what is said ').toString('latin1');
    socket.end(data);
    expect(await echo.line()).toBe(`process ${process.pid} of user ${process.getuid?.()}`);
    expect((await inbox.end()) === data).toBe(true);
    echo.kill('SIGTERM');
    expect(await echo.ended).toEqual({ code: 0, signal: null, stderr: '' });
    expect(existsSync(path)).toBe(false);
  });

  it.skipIf(!installed('socat'))('talks to socat, on a path and on an abstract name', async () => {
    const path = join(dir, 'socat.sock');
    const echo = start(command('unix-echo', path, '--mode', '666'));
    await using _ = echo;
    await echo.line();
    const { stdout } = await runCommand(['socat', '-t', '2', '-', `UNIX-CONNECT:${path}`], {
      input: 'hello',
    });
    expect(stdout).toBe('hello');
  });
});
