import { TcpStream } from '@ouro/net';
import { type Metrics, metrics } from '@ouro/runtime';
import { addressOf, UNSTABLE } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { startProgram } from '../../../testing/beside.ts';
import { dial, echo, pair, readExactly, serve } from './support.ts';

const CONNECTIONS = 100;
const ROUNDS = 100;

/** For each message. One for each slab of 64 KiB; where no memory can be pinned (Node 22), one for each send. */
const MOST_API_CALLS = addressOf(new Uint8Array(8)) === UNSTABLE ? 2.1 : 0.01;

const polled = (process.env.OURO_SQPOLL ?? '0') !== '0';

describe('an echo on a hundred connections, in the steady state', () => {
  it('costs few system calls, and no call into native code', async () => {
    await using server = await serve(echo);
    const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => dial(server.listener)));
    const message = Buffer.alloc(64, 'x');
    const buffers = clients.map(() => Buffer.alloc(64));
    const rounds = (count: number): Promise<unknown> =>
      Promise.all(
        clients.map(async (client, at) => {
          const buffer = buffers[at] ?? Buffer.alloc(64);
          for (let i = 0; i < count; i++) {
            await client.writeAll(message);
            let filled = 0;
            while (filled < 64) filled += await client.read(buffer.subarray(filled));
          }
        }),
      );
    await rounds(5);
    const before = metrics();
    await rounds(ROUNDS);
    const after = metrics();
    const messages = CONNECTIONS * ROUNDS;
    expect((after.enters - before.enters) / messages).toBeLessThan(0.6);
    expect((after.apiCalls - before.apiCalls) / messages).toBeLessThan(MOST_API_CALLS);
    // Two sends and a read for each: what the server receives costs none.
    expect((after.sqes - before.sqes) / messages).toBeLessThan(3.1);
    expect(after.overflows).toBe(0);
    await Promise.all(clients.map((client) => client.close()));
  });

  // With SQPOLL batches are small, and memory is found for each of them.
  it.skipIf(polled)('costs the server alone few system calls too', async () => {
    await using server = startProgram(`
      import { createInterface } from 'node:readline';
      import { TcpListener } from '@ouro/net';
      import { metrics } from '@ouro/runtime';
      const listener = await TcpListener.bind({ host: '127.0.0.1', noDelay: true });
      console.log(listener.address.port);
      createInterface(process.stdin).on('line', () => console.log(JSON.stringify(metrics())));
      for await (const stream of listener) {
        (async () => {
          for await (const chunk of stream) await stream.writeAll(chunk);
          await stream.close();
        })();
      }
    `);
    const port = Number(await server.line());
    const ask = async (): Promise<Metrics> => {
      server.send('\n');
      return JSON.parse(await server.line());
    };
    const clients = await Promise.all(
      Array.from({ length: CONNECTIONS }, () =>
        TcpStream.connect({ host: '127.0.0.1', port, noDelay: true }),
      ),
    );
    const message = Buffer.alloc(64, 'x');
    // In step: all send, then all read, so that the server finds many messages whenever it looks.
    const rounds = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        await Promise.all(clients.map((client) => client.writeAll(message)));
        await Promise.all(clients.map((client) => readExactly(client, 64)));
      }
    };
    await rounds(5);
    const before = await ask();
    await rounds(ROUNDS);
    const after = await ask();
    const messages = CONNECTIONS * ROUNDS;
    const cost = (counter: 'enters' | 'apiCalls' | 'sqes'): number =>
      (after[counter] - before[counter]) / messages;
    expect(cost('enters')).toBeLessThan(0.6);
    expect(cost('apiCalls')).toBeLessThan(MOST_API_CALLS);
    expect(cost('sqes')).toBeLessThan(1.01);
    await Promise.all(clients.map((client) => client.close()));
  });
});

describe('little that is sent out of memory of its own', () => {
  it.each([
    ['whole', (stream: TcpStream, data: Uint8Array) => stream.writeAll(data)],
    ['in part', (stream: TcpStream, data: Uint8Array) => stream.write(data)],
    ['with others', (stream: TcpStream, data: Uint8Array) => stream.writev([data, data.slice()])],
  ])('%s costs no call into native code', async (_, send) => {
    await using ends = await pair();
    const reading = (async () => {
      let count = 0;
      for await (const chunk of ends.server) count += chunk.length;
      return count;
    })();
    const LENGTHS = [1, 17, 64, 65, 500, 1024];
    let sent = 0;
    const round = async (): Promise<void> => {
      for (const length of LENGTHS) sent += await send(ends.client, new Uint8Array(length));
    };
    await round();
    const before = metrics().apiCalls;
    for (let i = 0; i < ROUNDS; i++) await round();
    // One for each slab that copies or chunks are cut from.
    expect((metrics().apiCalls - before) / (ROUNDS * LENGTHS.length)).toBeLessThan(0.05);
    await ends.client.shutdown();
    expect(await reading).toBe(sent);
  });

  it('may be taken away meanwhile', async () => {
    await using ends = await pair();
    const data = Uint8Array.from(Buffer.from('hello'));
    const sending = ends.client.writeAll(data);
    structuredClone(data.buffer, { transfer: [data.buffer] });
    expect(data.length).toBe(0);
    expect(await sending).toBe(5);
    expect((await readExactly(ends.server, 5)).toString()).toBe('hello');
  });
});
