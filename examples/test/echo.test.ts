import { once } from 'node:events';
import type net from 'node:net';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../testing/program.ts';
import { connect, command as example, startServer } from './servers.ts';

const command = (...args: string[]): string[] => example('echo', ...args);
const startEcho = (...args: string[]) => startServer('echo', ...args);

/** Sends a message and waits for as many bytes to come back. */
async function exchange(socket: net.Socket, message: Buffer): Promise<Buffer> {
  socket.write(message);
  const chunks: Buffer[] = [];
  let length = 0;
  while (length < message.length) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    chunks.push(chunk);
    length += chunk.length;
  }
  return Buffer.concat(chunks);
}

describe('the echo example', () => {
  it('says where it listens, and sends back what it receives', async () => {
    const { beside: echo, port } = await startEcho('--port', '0');
    await using _ = echo;
    const socket = await connect(port);
    for (const size of [1, 100, 100_000]) {
      const message = Buffer.alloc(size, `${size}.`);
      expect((await exchange(socket, message)).equals(message)).toBe(true);
    }
    socket.end();
    await once(socket, 'close');
  });

  it('serves many at once', async () => {
    const { beside: echo, port } = await startEcho();
    await using _ = echo;
    const sockets = await Promise.all(Array.from({ length: 50 }, () => connect(port)));
    const answers = await Promise.all(
      sockets.map((socket, i) => exchange(socket, Buffer.from(`client ${i}`))),
    );
    expect(answers.map(String)).toEqual(sockets.map((_, i) => `client ${i}`));
    for (const socket of sockets) socket.destroy();
  });

  it('survives a client that resets', async () => {
    const { beside: echo, port } = await startEcho();
    await using _ = echo;
    const rude = await connect(port);
    await exchange(rude, Buffer.from('x'));
    rude.resetAndDestroy();
    const polite = await connect(port);
    expect(String(await exchange(polite, Buffer.from('still there?')))).toBe('still there?');
    polite.destroy();
  });

  it('listens on the port and at the host that it is given', async () => {
    const first = await startEcho();
    first.beside.kill('SIGTERM');
    await first.beside.ended;
    const { beside: echo, port } = await startEcho('--host', '127.0.0.1', '--port', String(first.port));
    await using _ = echo;
    expect(port).toBe(first.port);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('ends with exit code 0 on %s', async (signal) => {
    const { beside: echo } = await startEcho();
    await using _ = echo;
    echo.kill(signal);
    expect(await echo.ended).toEqual({ code: 0, signal: null, stderr: '' });
  });

  it.each(['SIGTERM', 'SIGINT'] as const)(
    'closes its connections and ends with exit code 0 on %s',
    async (signal) => {
      const { beside: echo, port } = await startEcho();
      await using _ = echo;
      const sockets = await Promise.all([connect(port), connect(port), connect(port)]);
      for (const socket of sockets) await exchange(socket, Buffer.from('open'));
      const closed = Promise.all(sockets.map((socket) => once(socket.resume(), 'close')));
      echo.kill(signal);
      expect(await echo.ended).toEqual({ code: 0, signal: null, stderr: '' });
      await closed;
    },
  );

  it('ends on SIGTERM although a client does not read its echo', async () => {
    const { beside: echo, port } = await startEcho();
    await using _ = echo;
    const socket = (await connect(port)).pause();
    let sent = 0;
    while (socket.write(Buffer.alloc(1 << 20)) || sent < 32) sent++;
    await exchange(await connect(port), Buffer.from('x'));
    echo.kill('SIGTERM');
    expect(await echo.ended).toEqual({ code: 0, signal: null, stderr: '' });
    socket.destroy();
  });

  it.each(['--help', '-h'])('explains itself with %s', async (flag) => {
    const { code, stdout, stderr } = await runCommand(command(flag));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^echo: /);
    for (const option of ['--host', '--port']) expect(stdout).toContain(option);
  });

  it.each([
    ['an unknown option', ['--nonsense']],
    ['a port that is none', ['--port', 'none']],
    ['a port out of range', ['--port', '70000']],
  ])('fails with %s', async (_what, args) => {
    const { code, stdout, stderr } = await runCommand(command(...args));
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^.+\nTry --help\.\n$/);
  });

  it('fails on a port that is taken, and says so', async () => {
    const { beside: echo, port } = await startEcho();
    await using _ = echo;
    const { code, stderr } = await runCommand(command('--port', String(port)));
    expect(code).toBe(1);
    expect(stderr).toBe(`echo: listen EADDRINUSE: address already in use 127.0.0.1:${port}\n`);
  });

  it.each([
    // An address for documentation, and a name that nobody has.
    ['192.0.2.1', /^echo: listen EADDRNOTAVAIL: .* 192\.0\.2\.1\n$/],
    ['nowhere.invalid', /^echo: getaddrinfo \w+ nowhere\.invalid\n$/],
  ])('says in one line why it cannot listen on %s', async (host, line) => {
    const { code, stderr } = await runCommand(command('--host', host));
    expect(stderr).toMatch(line);
    expect(code).toBe(1);
  });
});
