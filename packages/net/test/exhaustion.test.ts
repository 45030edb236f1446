import net from 'node:net';
import { describe, expect, it } from 'vitest';
import { startProgram } from '../../../testing/beside.ts';
import { runProgram } from '../../../testing/program.ts';
import { POLL } from './support.ts';

const CLIENTS = 500;

/** An echo server that may have 256 descriptors: the loader of modules alone may want a hundred. It answers a line of input with its counters. */
const SERVER = `
  import { createInterface } from 'node:readline';
  import { TcpListener } from '@ouro/net';
  import { metrics } from '@ouro/runtime';
  const listener = await TcpListener.bind({ host: '127.0.0.1' });
  console.log(listener.address.port);
  let open = 0;
  let served = 0;
  createInterface(process.stdin).on('line', (line) => {
    console.log(JSON.stringify({ open, served, sqes: metrics().sqes, enters: metrics().enters, now: performance.now() }));
    if (line === 'end') {
      listener.close();
      process.stdin.destroy();
    }
  });
  for await (const stream of listener) {
    open++;
    (async () => {
      for await (const chunk of stream) await stream.writeAll(chunk);
      await stream.close();
      open--;
      served++;
    })();
  }
  await listener.close();
  console.log(JSON.stringify({ open, served, pending: metrics().pending }));
`;

/** What it answers. */
interface Counters {
  readonly open: number;
  readonly served: number;
  readonly sqes: number;
  readonly enters: number;
  /** Milliseconds. */
  readonly now: number;
}

describe('a server without descriptors left', () => {
  it('waits without a busy loop, goes on when there are some again, and serves everybody', async () => {
    await using server = startProgram(SERVER, ['prlimit', '--nofile=256']);
    const port = Number(await server.line());
    const ask = async (line = 'counters'): Promise<Counters> => {
      server.send(`${line}\n`);
      return JSON.parse(await server.line());
    };
    let answered = 0;
    const clients = Array.from({ length: CLIENTS }, (_, i) => {
      const socket = net.connect({ host: '127.0.0.1', port });
      socket.write(`client ${i}`);
      const answer = new Promise<string>((done, failed) => {
        socket.once('error', failed);
        socket.once('data', (data) => {
          answered++;
          done(data.toString());
        });
      });
      return { socket, answer };
    });

    // Nobody leaves: it takes as many as it has descriptors for, and no more.
    let open = 0;
    const settled = async (): Promise<boolean> => {
      open = (await ask()).open;
      return open > 20 && open === answered;
    };
    await expect.poll(settled, POLL).toBe(true);
    expect(open).toBeLessThan(256);

    const first = await ask();
    await new Promise((later) => setTimeout(later, 500));
    const second = await ask();
    expect(second.open).toBe(open);
    // A wait of 50 ms and an accept each time; twice that is still no busy loop. And one for the question itself.
    const rounds = (second.now - first.now) / 50;
    expect(second.sqes - first.sqes).toBeLessThan(4 * rounds + 10);
    expect(second.enters - first.enters).toBeLessThan(8 * rounds + 20);
    expect(second.sqes - first.sqes).toBeGreaterThan(0);

    // Whoever has the answer leaves, and makes room.
    const answers = await Promise.all(
      clients.map(async ({ socket, answer }) => {
        const text = await answer;
        socket.end();
        return text;
      }),
    );
    expect(answers).toEqual(Array.from({ length: CLIENTS }, (_, i) => `client ${i}`));
    await expect.poll(async () => (await ask()).served, POLL).toBe(CLIENTS);
    await ask('end');
    expect(JSON.parse(await server.line())).toEqual({ open: 0, served: CLIENTS, pending: 0 });
    expect(await server.ended).toEqual({ code: 0, signal: null, stderr: '' });
  });

  it('can be closed while it waits', async () => {
    const { code, stdout, stderr } = await runProgram(
      `
      import { openSync } from 'node:fs';
      import { TcpListener } from '@ouro/net';
      import { metrics, sleep } from '@ouro/runtime';
      const listener = await TcpListener.bind({ host: '127.0.0.1' });
      await sleep(1);
      try {
        for (;;) openSync('/dev/null');
      } catch {}
      const accepted = listener.accept();
      await sleep(120);
      const closing = listener.close();
      await accepted.catch((error) => console.log(error.message));
      await closing;
      console.log(metrics().pending);
    `,
      { under: ['prlimit', '--nofile=256'] },
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'accept ECANCELED\n0\n', stderr: '' });
  });

  it('says EMFILE from bind and connect as node:net does', async () => {
    const { stdout, stderr } = await runProgram(
      `
      import { openSync } from 'node:fs';
      import net from 'node:net';
      import { TcpListener, TcpStream } from '@ouro/net';
      const told = (error) => ({ ...error, message: error.message });
      const listener = await TcpListener.bind({ host: '127.0.0.1' });
      const { port } = listener.address;
      try {
        for (;;) openSync('/dev/null');
      } catch {}
      const all = [];
      for (const host of ['127.0.0.1', undefined]) {
        const options = { host, port: 8080 };
        const ours = await TcpListener.bind(options).then(() => 'bound', told);
        const theirs = await new Promise((done) => net.createServer().on('error', (e) => done(told(e))).listen(options));
        all.push([ours, theirs]);
      }
      const options = { host: '127.0.0.1', port };
      const ours = await TcpStream.connect(options).then(() => 'connected', told);
      const theirs = await new Promise((done) => net.connect(options).on('error', (e) => done(told(e))));
      all.push([ours, theirs]);
      console.log(JSON.stringify(all));
    `,
      { under: ['prlimit', '--nofile=256'] },
    );
    expect(stderr).toBe('');
    const [bound, boundAnywhere, connected] = JSON.parse(stdout);
    for (const [ours, theirs] of [bound, boundAnywhere]) {
      expect(ours).toMatchObject({ code: 'EMFILE', syscall: 'listen' });
      expect(ours).toEqual(theirs);
    }
    const [ours, theirs] = connected;
    expect(ours).toMatchObject({ code: 'EMFILE', syscall: 'connect' });
    // Node names its own end as well, which it does not have.
    expect({ ...theirs, message: theirs.message.replace(/ - Local.*/, '') }).toEqual(ours);
  });
});
