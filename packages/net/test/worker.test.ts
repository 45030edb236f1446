import { once } from 'node:events';
import net from 'node:net';
import { Worker } from 'node:worker_threads';
import { TcpListener } from '@ouro/net';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { leavesNothing, listen, pair, readAll } from './support.ts';

/** An echo server in a thread of its own, which tells its port. */
const SERVER = `
  const { parentPort } = require('node:worker_threads');
  (async () => {
    const { TcpListener } = await import('@ouro/net');
    const listener = await TcpListener.bind({ host: '127.0.0.1' });
    parentPort.once('message', () => listener.close());
    parentPort.postMessage(listener.address.port);
    for await (const stream of listener) {
      (async () => {
        for await (const chunk of stream) await stream.writeAll(chunk);
        await stream.close();
      })();
    }
  })();
`;

/** A client of node:net that has had an echo, and a promise of its end. */
async function client(
  port: number,
): Promise<{ readonly socket: net.Socket; readonly closed: Promise<void> }> {
  const socket = net.connect({ host: '127.0.0.1', port });
  const closed = new Promise<void>((done) => void socket.on('close', () => done()));
  socket.on('error', () => {});
  socket.write('hello');
  await once(socket, 'data');
  return { socket, closed };
}

describe('a worker thread', () => {
  it('serves connections of its own', async () => {
    const worker = new Worker(SERVER, { eval: true });
    const [port] = (await once(worker, 'message')) as [number];
    const clients = await Promise.all(Array.from({ length: 10 }, () => client(port)));
    for (const { socket, closed } of clients) {
      socket.end();
      await closed;
    }
    worker.postMessage('close');
    expect(await once(worker, 'exit')).toEqual([0]);
  });

  it('that is terminated closes its listener and its connections, whatever is in flight', async () => {
    await leavesNothing(async () => {
      for (let round = 0; round < 5; round++) {
        const worker = new Worker(SERVER, { eval: true });
        const [port] = (await once(worker, 'message')) as [number];
        const clients = await Promise.all(Array.from({ length: 20 }, () => client(port)));
        for (const { socket } of clients.slice(10)) socket.resume().write(Buffer.alloc(1 << 20));
        await worker.terminate();
        for (const { closed } of clients) await closed;
        // The port is free again.
        await using _ = await TcpListener.bind({ host: '127.0.0.1', port });
      }
    });
  });

  it('does not disturb the streams of others', async () => {
    await using ends = await pair();
    const received = readAll(ends.server);
    const worker = new Worker(SERVER, { eval: true });
    await once(worker, 'message');
    await worker.terminate();
    await ends.client.writeAll('still here');
    await ends.client.shutdown();
    expect((await received).toString()).toBe('still here');
  });
});

describe('the end of the process', () => {
  it('by process.exit closes all connections, with everything in flight', async () => {
    await using listener = await listen();
    const program = runProgram(`
      import { TcpStream } from '@ouro/net';
      const stream = await TcpStream.connect({ host: '127.0.0.1', port: ${listener.address.port} });
      stream.writeAll(Buffer.alloc(32 << 20)).catch(() => {});
      (async () => { for await (const chunk of stream) process.exit(chunk[0]); })();
    `);
    await using stream = await listener.accept();
    await stream.writeAll(Buffer.from([7]));
    const received = await readAll(stream).catch((error: { code: string }) => error.code);
    expect(typeof received === 'string' ? received : 'ended').toMatch(/^(ECONNRESET|ended)$/);
    expect(await program).toMatchObject({ code: 7, stderr: '' });
  });

  it('by an error that nobody catches says that error', async () => {
    await using listener = await listen();
    const program = runProgram(`
      import { TcpStream } from '@ouro/net';
      const stream = await TcpStream.connect({ host: '127.0.0.1', port: ${listener.address.port} });
      for await (const chunk of stream) throw new Error('in the loop: ' + chunk);
    `);
    await using stream = await listener.accept();
    await stream.writeAll('boom');
    const { code, stderr } = await program;
    expect(code).toBe(1);
    expect(stderr).toContain('in the loop: boom');
  });
});
