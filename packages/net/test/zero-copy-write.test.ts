import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { BufferPool } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { itOnRing } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';
import { bytes, failure, leavesNothing, listen, pair, readAll } from './support.ts';
import { take } from './transfer-support.ts';

describe('writeAll with zeroCopy', () => {
  it.each([0, 1, 4096, 65_537, 1 << 20, 12 << 20])('sends %i bytes, in its turn', async (size) => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const data = bytes(size, size + 1);
      const sent = Promise.all([
        ends.server.writeAll('before'),
        ends.server.writeAll(data, { zeroCopy: true }),
        ends.server.writeAll('after'),
      ]);
      const received = await take(ends.client, size + 11);
      expect(await sent).toEqual([6, size, 5]);
      expect(received.equals(Buffer.concat([Buffer.from('before'), data, Buffer.from('after')]))).toBe(true);
    });
  });

  it('sends text, parts of larger buffers, and registered memory', async () => {
    await using ends = await pair();
    expect(await ends.server.writeAll('text', { zeroCopy: true })).toBe(4);
    expect((await take(ends.client, 4)).toString()).toBe('text');
    using pool = new BufferPool({ count: 1, size: 100_000 });
    using lease = pool.lease();
    bytes(100_000, 5).copy(lease.buffer);
    const part = lease.buffer.subarray(1001, 90_000);
    const sent = ends.server.writeAll(part, { zeroCopy: true });
    expect((await take(ends.client, part.length)).equals(part)).toBe(true);
    expect(await sent).toBe(part.length);
  });

  it('lets what comes behind it go before the peer has all of it', async () => {
    await using ends = await pair();
    const all = [1, 2, 3, 4].map((seed) => bytes(50_000, seed));
    const sent = all.map((each) => ends.server.writeAll(each, { zeroCopy: true }));
    expect((await take(ends.client, 200_000)).equals(Buffer.concat(all))).toBe(true);
    expect(await Promise.all(sent)).toEqual([50_000, 50_000, 50_000, 50_000]);
  });

  it('copies memory that can be resized', async () => {
    await using ends = await pair();
    const Resizable = ArrayBuffer as new (length: number, options: { maxByteLength: number }) => ArrayBuffer;
    const buffer = new Resizable(70_000, { maxByteLength: 80_000 });
    const view = new Uint8Array(buffer).fill(7);
    const sent = ends.server.writeAll(view, { zeroCopy: true });
    (buffer as ArrayBuffer & { resize(length: number): void }).resize(0);
    expect((await take(ends.client, 70_000)).equals(Buffer.alloc(70_000, 7))).toBe(true);
    expect(await sent).toBe(70_000);
  });

  it('says how many bytes had gone when it is cancelled, and the stream goes on', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const data = bytes(32 << 20, 3);
      const sending = ends.server.writeAll(data, { zeroCopy: true });
      const behind = ends.server.writeAll('behind');
      await take(ends.client, 1 << 20);
      sending.cancel();
      const told = failure(sending);
      const received = readAll(ends.client);
      await behind;
      await ends.server.shutdown();
      const { code, bytesTransferred = 0 } = await told;
      expect(code).toBe('ABORT_ERR');
      const rest = await received;
      expect(rest.length + (1 << 20)).toBe(bytesTransferred + 6);
      expect(rest.subarray(-6).toString()).toBe('behind');
      expect(rest.subarray(0, -6).equals(data.subarray(1 << 20, bytesTransferred))).toBe(true);
    });
  });

  it('ends when the stream is closed or the peer is gone', async () => {
    await leavesNothing(async () => {
      for (const who of ['server', 'client'] as const) {
        await using ends = await pair();
        const sending = ends.server.writeAll(bytes(32 << 20, 3), { zeroCopy: true });
        await take(ends.client, 1 << 20);
        // (What lies in the socket's queue is lent until the connection is gone.)
        const told = failure(sending);
        await ends[who].close();
        await ends.client.close();
        const { code, bytesTransferred = 0 } = await told;
        expect(code).toMatch(who === 'server' ? /^ECANCELED$/ : /^(EPIPE|ECONNRESET)$/);
        expect(bytesTransferred).toBeGreaterThan(0);
      }
    });
  });

  it('is refused for what is detached, closed or ended, and checks its option', async () => {
    const ends = await pair();
    const { server } = ends;
    expect(() => server.writeAll('x', { zeroCopy: 1 as never })).toThrow(TypeError);
    const detached = new Uint8Array(8);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    expect(() => server.writeAll(detached, { zeroCopy: true })).toThrow(TypeError);
    await server.shutdown();
    expect((await failure(server.writeAll('x', { zeroCopy: true }))).code).toBe('EPIPE');
    await ends[Symbol.asyncDispose]();
    expect((await failure(server.writeAll('x', { zeroCopy: true }))).code).toBe('EBADF');
  });

  it('copies where the kernel has no such op', async () => {
    await using listener = await listen();
    const program = runProgram(
      `
      import { TcpStream } from '@ouro/net';
      const stream = await TcpStream.connect({ host: '127.0.0.1', port: ${listener.address.port} });
      console.log(await stream.writeAll(Buffer.alloc(100_000), { zeroCopy: true }));
      await stream.close();
    `,
      { env: { OURO_WITHOUT: 'SEND_ZC' } },
    );
    await using stream = await listener.accept();
    expect((await readAll(stream)).length).toBe(100_000);
    expect(await program).toMatchObject({ code: 0, stdout: '100000\n', stderr: '' });
  });

  itOnRing('memlock')('copies what is more than may be lent', async () => {
    const program = runProgram(
      `
      import { TcpListener, TcpStream } from '@ouro/net';
      import { sendZc } from '@ouro/net/ops';
      import { submit } from '@ouro/runtime';
      const listener = await TcpListener.bind({ host: '127.0.0.1' });
      const [server, client] = await Promise.all([
        listener.accept(),
        TcpStream.connect({ host: '127.0.0.1', port: listener.address.port }),
      ]);
      const data = Buffer.alloc(4 << 20, 'x');
      console.log(await submit(sendZc(server, data)).catch(({ code }) => code));
      let received = 0;
      const reading = (async () => { for await (const chunk of client) received += chunk.length; })();
      console.log(await server.writeAll(data, { zeroCopy: true }));
      await server.shutdown();
      await reading;
      console.log(received);
      await Promise.all([server.close(), client.close(), listener.close()]);
    `,
      // CAP_IPC_LOCK would do away with the limit.
      { under: ['prlimit', '--memlock=65536', 'setpriv', '--bounding-set=-ipc_lock'] },
    );
    const { code, stdout, stderr } = await program;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toBe(`ENOMEM\n${4 << 20}\n${4 << 20}\n`);
  });

  it('of a worker that is terminated keeps its memory until the kernel has let go', async () => {
    await using listener = await listen();
    for (let round = 0; round < 4; round++) {
      const worker = new Worker(
        `
        const { parentPort, workerData } = require('node:worker_threads');
        (async () => {
          const { TcpStream } = await import('@ouro/net');
          const stream = await TcpStream.connect({ host: '127.0.0.1', port: workerData });
          for (let i = 0; i < 8; i++) stream.writeAll(Buffer.alloc(4 << 20, 'z'), { zeroCopy: true }).catch(() => {});
          setTimeout(() => parentPort.postMessage('stuck'), ${round * 10});
        })();
      `,
        { eval: true, workerData: listener.address.port },
      );
      await using stream = await listener.accept();
      await once(worker, 'message');
      await worker.terminate();
      const received = await readAll(stream).catch(() => Buffer.alloc(0));
      expect(received.every((byte) => byte === 122)).toBe(true);
    }
  });
});
