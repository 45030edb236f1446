import { once } from 'node:events';
import net from 'node:net';
import { describe, expect, it } from 'vitest';
import { start } from '../../testing/beside.ts';
import { runCommand } from '../../testing/program.ts';
import { command, connect, Inbox, installed, startServer } from './servers.ts';

/** A server of node:net. */
async function server(handle: (socket: net.Socket) => void): Promise<net.Server & { port: number }> {
  const listening = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    handle(socket);
  });
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  return Object.assign(listening, { port: (listening.address() as net.AddressInfo).port });
}

describe('the proxy example', () => {
  it('hands on what is said, both ways, and that one has ended', async () => {
    const behind = await server((socket) => socket.pipe(socket));
    await using proxy = await startServer('proxy', '--to', `127.0.0.1:${behind.port}`);
    const data = Buffer.alloc(5_000_000, 'what is said ').toString('latin1');
    const inboxes = await Promise.all(
      Array.from({ length: 10 }, async () => new Inbox(await connect(proxy.port))),
    );
    for (const { socket } of inboxes) socket.end(data, 'latin1');
    const answers = await Promise.all(inboxes.map((inbox) => inbox.end()));
    expect(answers.filter((answer) => answer === data)).toHaveLength(10);
    behind.close();
  });

  it('ends a connection when there is nobody behind, and goes on', async () => {
    const behind = await server((socket) => socket.end('here'));
    await using proxy = await startServer('proxy', '--to', `127.0.0.1:${behind.port}`);
    expect(await new Inbox(await connect(proxy.port)).end()).toBe('here');
    behind.close();
    await once(behind, 'close');
    expect(await new Inbox(await connect(proxy.port)).end()).toBe('');
    const again = await server(() => {}); // (on another port: the proxy must still be there)
    again.close();
    await connect(proxy.port).then((socket) => socket.destroy());
  });

  it.skipIf(!installed('iperf3'))('stands iperf3, both ways', async () => {
    const free = await server(() => {});
    const { port } = free;
    free.close();
    await once(free, 'close');
    await using behind = start(['iperf3', '-s', '-B', '127.0.0.1', '-p', String(port), '--forceflush']);
    while (!(await behind.line()).startsWith('Server listening'));
    await using proxy = await startServer('proxy', '--to', `127.0.0.1:${port}`);
    for (const way of [[], ['-R']]) {
      const args = ['-c', '127.0.0.1', '-p', String(proxy.port), '-n', '200M', '-P', '4', '-J', ...way];
      const { code, stdout } = await runCommand(['iperf3', ...args]);
      expect(code).toBe(0);
      const { end } = JSON.parse(stdout) as { end: Record<'sum_sent' | 'sum_received', { bytes: number }> };
      // (What is still on its way when the sender has done is not counted.)
      expect(end.sum_received.bytes).toBeGreaterThan(100 << 20);
    }
  });

  it.each([[[]], [['--to', 'nowhere']], [['--to', '127.0.0.1:0']], [['--to', '127.0.0.1:99999']]])(
    'wants to know where to: %j',
    async (args) => {
      const { code, stderr } = await runCommand(command('proxy', ...args));
      expect(code).toBe(2);
      expect(stderr).toMatch(/^proxy: .+\nTry --help\.\n$/);
    },
  );
});
