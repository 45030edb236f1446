import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { socketDirectory } from './unix-support.ts';

// Garbage is collected when V8 likes: so these are programs that ask for it.

const dir = socketDirectory();

const prelude = `
  import { existsSync, readdirSync } from 'node:fs';
  import { setTimeout as later } from 'node:timers/promises';
  import { TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixSeqpacket, UnixStream } from '@ouro/net';
  import { sleep } from '@ouro/runtime';
  import { nop } from '@ouro/runtime/driver';
  const path = ${JSON.stringify(join(dir, 'socket'))} + process.pid;
  const warnings = [];
  process.on('warning', (warning) => warnings.push(warning));
  const descriptors = () => readdirSync('/proc/self/fd').length;
  const bind = (options) => TcpListener.bind({ host: '127.0.0.1', ...options });
  const connectTo = (listener) => TcpStream.connect(listener.address.path ? listener.address : { host: '127.0.0.1', port: listener.address.port });
  // What all of it needs beside sockets: pools, the ring of buffers, names looked up.
  {
    const listener = await bind();
    const client = await connectTo(listener);
    const server = await listener.accept();
    await client.writeAll('x');
    for await (const chunk of server) break;
    await Promise.all([client.close(), server.close(), listener.close()]);
  }
  process.stdout;
  const before = descriptors();
  /** Collects garbage until that has had the effect, or for so long that it has none. */
  async function collect(until = () => false, rounds = 100) {
    for (let i = 0; i < rounds && !until(); i++) {
      gc();
      await later(15);
      await nop(); // the thread's last op is kept, with what has come of it
    }
  }
  const tell = (...told) => console.log(JSON.stringify(told));
`;

async function run(body: string, env: NodeJS.ProcessEnv = {}): Promise<unknown[]> {
  const { stdout, stderr, signal } = await runProgram(prelude + body, {
    flags: ['--expose-gc', '--no-warnings'],
    env,
  });
  expect({ stderr, signal }).toEqual({ stderr: '', signal: null });
  return JSON.parse(stdout);
}

const KINDS: [what: string, opens: string, count: number, message: RegExp][] = [
  [
    'a TCP stream that was accepted',
    `const listener = await bind();
     const client = await connectTo(listener);
     const lose = async () => void (await (await listener.accept()).writeAll('hello'));`,
    1,
    /^A TCP stream was collected that had not been closed: descriptor \d+, at 127\.0\.0\.1:\d+, connected to 127\.0\.0\.1:\d+\. It is closed now\.$/,
  ],
  [
    'a TCP stream that was connected',
    `const listener = await bind();
     let server;
     const lose = async () => {
       const client = await connectTo(listener);
       server = await listener.accept();
     };`,
    1,
    /^A TCP stream was collected that had not been closed: descriptor \d+, at 127\.0\.0\.1:\d+, connected to 127\.0\.0\.1:\d+\./,
  ],
  [
    'a TCP listener',
    'const lose = async () => void (await bind());',
    1,
    /^A TCP listener was collected that had not been closed: descriptor \d+, at 127\.0\.0\.1:\d+\./,
  ],
  [
    'a UDP socket',
    `const lose = async () => void (await UdpSocket.bind({ host: '::1' }));`,
    1,
    /^A UDP socket was collected that had not been closed: descriptor \d+, at \[::1\]:\d+\./,
  ],
  [
    'a Unix stream',
    'const lose = async () => void UnixStream.pair();',
    2,
    /^A Unix stream was collected that had not been closed: descriptor \d+\./,
  ],
  [
    'a Unix listener',
    'const lose = async () => void (await UnixListener.bind({ path }));',
    1,
    /^A Unix listener was collected that had not been closed: descriptor \d+, at '.*socket\d+'\./,
  ],
  [
    'a socket of packets',
    'const lose = async () => void UnixSeqpacket.pair();',
    2,
    /^A Unix socket was collected that had not been closed: descriptor \d+\./,
  ],
  [
    'a socket of datagrams',
    'const lose = async () => void (await UnixDatagram.bind({ path }));',
    1,
    /^A Unix socket was collected that had not been closed: descriptor \d+, at '.*socket\d+'\./,
  ],
];

describe('a socket that is collected without having been closed', () => {
  it.each(KINDS)('is closed, and reported once: %s', async (_, opens, count, message) => {
    const body = `
      ${opens}
      const kept = descriptors();
      await lose();
      const during = descriptors() - kept;
      const others = kept - before;
      // (A peer of ours is kept.)
      await collect(() => warnings.length > 0 && descriptors() <= kept + during - ${count});
      tell(during >= ${count}, kept + during - descriptors(), existsSync(path), warnings.length);
      const [{ name, code, message }] = warnings;
      tell(name, code, message);
      process.exit(0);`;
    const { stdout, stderr } = await runProgram(prelude + body, { flags: ['--expose-gc', '--no-warnings'] });
    expect(stderr).toBe('');
    const [counts, report] = stdout
      .trim()
      .split('\n')
      .map((line): unknown => JSON.parse(line));
    expect(counts).toEqual([true, count, false, 1]);
    expect(report).toEqual(['LeakWarning', 'OURO_SOCKET_NOT_CLOSED', expect.stringMatching(message)]);
  });

  it('is reported with the place where it was accepted or connected, if OURO_TRACE_OPEN=1 says so', async () => {
    const body = `
      const listener = await bind();
      const served = (async function serves() {
        for await (const stream of listener) await stream.read(Buffer.alloc(1));
      })();
      async function connects() {
        const client = await connectTo(listener);
        await client.writeAll('x');
      }
      for (let i = 0; i < 3; i++) await connects();
      await collect(() => warnings.length > 1);
      await listener.close();
      await served;
      await collect(() => descriptors() === before);
      const places = warnings.map(({ detail }) => /(connects|serves)/.exec(detail)?.[1] ?? detail).sort();
      tell(descriptors() - before, places);`;
    expect(await run(body, { OURO_TRACE_OPEN: '1' })).toEqual([0, ['connects', 'serves']]);
  });

  it('is one less of the connections that its listener may have open', async () => {
    const body = `
      const listener = await bind({ maxConnections: 1 });
      const first = await connectTo(listener);
      const lose = async () => void (await listener.accept());
      await lose();
      const second = await connectTo(listener);
      const next = listener.accept();
      let stream;
      next.then((accepted) => (stream = accepted));
      await collect(() => stream !== undefined);
      tell(stream !== undefined, listener.connections, warnings.length);
      await Promise.all([first, second, stream, listener].map((each) => each.close()));`;
    expect(await run(body)).toEqual([true, 1, 1]);
  });

  it('takes the connections with it that a listener has accepted and nobody has got', async () => {
    const body = `
      const clients = [];
      const lose = async () => {
        const listener = await bind();
        for (let i = 0; i < 5; i++) clients.push(await connectTo(listener));
        for await (const stream of listener) {
          await stream.close();
          break;
        }
      };
      await lose();
      const counts = clients.slice(1).map((client) => client.read(Buffer.alloc(1)).catch(({ code }) => code));
      await collect(() => warnings.length > 0);
      tell(await Promise.all(counts), warnings.length);
      await Promise.all(clients.map((client) => client.close()));
      await collect(() => descriptors() === before);
      tell(descriptors() - before);`;
    const { stdout, stderr } = await runProgram(prelude + body, { flags: ['--expose-gc', '--no-warnings'] });
    expect(stderr).toBe('');
    const [[ends, count], left] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    // Those that had been accepted see their end, those in the backlog a reset.
    expect(ends).toHaveLength(4);
    for (const end of ends) expect([0, 'ECONNRESET']).toContain(end);
    expect([count, left]).toEqual([1, [0]]);
  });
});

describe('a socket is not collected', () => {
  it('while it is read or listened to by somebody who waits, nor once it is closed', async () => {
    const body = `
      const listener = await bind();
      const got = [];
      (async () => {
        for await (const chunk of await connectTo(listener)) got.push(String(chunk));
      })();
      const waits = async () => {
        const other = await bind();
        other.accept().then((stream) => { got.push('accepted'); return stream.close(); }).then(() => other.close());
        return other.address.port;
      };
      const port = await waits();
      const closes = async () => void (await (await UdpSocket.bind()).close());
      await closes();
      const server = await listener.accept();
      await collect(() => false, 60);
      const during = warnings.length;
      await server.writeAll('still read');
      const client = await TcpStream.connect({ host: '127.0.0.1', port });
      await collect(() => got.length === 2);
      tell(during, got.sort());
      await Promise.all([server.close(), client.close(), listener.close()]);`;
    expect(await run(body)).toEqual([0, ['accepted', 'still read']]);
  });
});
