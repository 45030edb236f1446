import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { UnixListener } from '@ouro/net';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { socketDirectory } from './unix-support.ts';

const root = socketDirectory();
let last = 0;

function emptyDirectory(): string {
  const dir = join(root, `d${last++}`);
  mkdirSync(dir);
  return dir;
}

/** Puts whatever waits on Unix sockets in flight. */
const busy = (dir: string): string => `
  import { join } from 'node:path';
  import { UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream } from '@ouro/net';
  import { sleep } from '@ouro/runtime';
  const dir = ${JSON.stringify(dir)};
  export async function busy() {
    const listener = await UnixListener.bind({ path: join(dir, 'stream'), backlog: 0 });
    const packets = await UnixSeqpacketListener.bind({ path: join(dir, 'packets') });
    const receiver = await UnixDatagram.bind({ path: join(dir, 'datagrams') });
    const sender = UnixDatagram.unbound();
    const [one, other] = UnixStream.pair();
    const [a, b] = UnixSeqpacket.pair();
    const ops = [
      packets.accept(),
      one.receiveDescriptors(Buffer.alloc(10)),
      one.writeAll(Buffer.alloc(64 << 20)),
      one.sendDescriptors([one, other, listener]),
      a.recv(Buffer.alloc(10)),
      b.messages().next(),
      UnixStream.connect(listener.address),
      UnixStream.connect(listener.address),
      UnixStream.connect(listener.address),
    ];
    for (let i = 0; i < 2000; i++) ops.push(sender.send('x', receiver.localAddress));
    for (let i = 0; i < 2000; i++) ops.push(a.send(Buffer.alloc(1000)));
    for (const op of ops) op.catch(() => {});
    await sleep(50);
    return [listener, packets, receiver, sender, one, other, a, b];
  }
`;

describe('Unix sockets with ops in flight', () => {
  it('let the process exit', async () => {
    const dir = emptyDirectory();
    const { code, stderr } = await runProgram(`${busy(dir)} await busy(); process.exit(3);`);
    expect([code, stderr]).toEqual([3, '']);
    // What was not closed leaves its files, which 'replace' takes for what they are.
    expect(readdirSync(dir).sort()).toEqual(['datagrams', 'packets', 'stream']);
    const listener = await UnixListener.bind({ path: join(dir, 'stream'), stale: 'replace' });
    await listener.close();
    expect(existsSync(join(dir, 'stream'))).toBe(false);
  });

  it('let the process end by itself once they are closed, and leave no files', async () => {
    const dir = emptyDirectory();
    const { code, stderr } = await runProgram(`
      ${busy(dir)}
      for (const each of await busy()) await each.close();
    `);
    expect([code, stderr]).toEqual([0, '']);
    expect(readdirSync(dir)).toEqual([]);
  });

  it('can be closed at the very end of the process: the file goes at once', async () => {
    const dir = emptyDirectory();
    const { code, stderr } = await runProgram(`
      import { UnixListener } from '@ouro/net';
      const listener = await UnixListener.bind({ path: ${JSON.stringify(join(dir, 's'))} });
      listener.accept().catch(() => {});
      process.on('exit', () => { listener.close(); });
      process.exit(4);
    `);
    expect([code, stderr]).toEqual([4, '']);
    expect(readdirSync(dir)).toEqual([]);
  });

  it("do not keep the process alive when they are unref'd", async () => {
    const { code, stderr } = await runProgram(`
      import { UnixDatagram, UnixListener, UnixSeqpacket } from '@ouro/net';
      const listener = (await UnixListener.bind()).unref();
      listener.accept();
      const datagrams = (await UnixDatagram.bind()).unref();
      datagrams.recv(Buffer.alloc(1));
      const [one] = UnixSeqpacket.pair();
      one.unref().messages().next();
    `);
    expect([code, stderr]).toEqual([0, '']);
  });

  it('end with a worker that is terminated, and leave nothing open', async () => {
    const dir = emptyDirectory();
    const { stdout, stderr } = await runProgram(
      `
      import { readdirSync } from 'node:fs';
      import { setTimeout as later } from 'node:timers/promises';
      import { Worker } from 'node:worker_threads';
      const source = ${JSON.stringify(`${busy(dir)} await busy(); (await import('node:worker_threads')).parentPort.postMessage('busy');`)}
        .replaceAll('bind({ path: join(dir, ', "bind({ stale: 'replace', path: join(dir, ");
      const descriptors = () => readdirSync('/proc/self/fd').length;
      const round = async () => {
        const worker = new Worker(source, { eval: true });
        await new Promise((done, failed) => worker.once('message', done).once('error', failed));
        await worker.terminate();
      };
      process.stdout;
      await round();
      const before = descriptors();
      for (let i = 0; i < 3; i++) await round();
      for (let i = 0; i < 200 && descriptors() !== before; i++) await later(15);
      console.log(descriptors() - before);
    `,
      { limitMs: 90_000 },
    );
    expect([stdout, stderr]).toEqual(['0\n', '']);
  }, 120_000);
});
