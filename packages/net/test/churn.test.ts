import net from 'node:net';
import { TcpStream } from '@ouro/net';
import { metrics } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { bytes, dial, echo, leavesNothing, readAll, serve, socketReadAll } from './support.ts';

const CONNECTIONS = 2_000;

describe('two thousand short connections', () => {
  it('one after the other leave nothing behind', async () => {
    await leavesNothing(async () => {
      await using server = await serve(echo);
      for (let i = 0; i < CONNECTIONS; i++) {
        const stream = await dial(server.listener);
        await stream.writeAll(`message ${i}`);
        await stream.shutdown();
        const answer = await readAll(stream);
        if (answer.toString() !== `message ${i}`) throw new Error(`${answer} for message ${i}`);
        await stream.close();
      }
      expect(server.failures).toEqual([]);
    });
  });

  it('a hundred at a time leave nothing behind', async () => {
    await leavesNothing(async () => {
      await using server = await serve(echo);
      const one = async (i: number): Promise<boolean> => {
        await using stream = await dial(server.listener);
        const message = bytes(100 + i, i);
        const sending = stream.writeAll(message).then(() => stream.shutdown());
        const answer = await readAll(stream);
        await sending;
        return answer.equals(message);
      };
      const worker = async (first: number): Promise<number> => {
        let right = 0;
        for (let i = first; i < CONNECTIONS; i += 100) if (await one(i)) right++;
        return right;
      };
      const right = await Promise.all(Array.from({ length: 100 }, (_, i) => worker(i)));
      expect(right.reduce((sum, count) => sum + count)).toBe(CONNECTIONS);
      expect(server.failures).toEqual([]);
    });
  });

  it('of node:net leave nothing behind', async () => {
    await leavesNothing(async () => {
      await using server = await serve(echo);
      const worker = async (): Promise<void> => {
        for (let i = 0; i < CONNECTIONS / 50; i++) {
          const socket = net.connect({ host: '127.0.0.1', port: server.port });
          socket.end('hello');
          const answer = await socketReadAll(socket);
          if (answer.toString() !== 'hello') throw new Error(`${answer}`);
        }
      };
      await Promise.all(Array.from({ length: 50 }, worker));
      expect(server.failures).toEqual([]);
    });
  });

  it('leave all buffers in the pool', async () => {
    await using server = await serve(echo);
    // More chunks than the pool has buffers, one at a time: a single one that was lost would be missing by now.
    await using stream = await dial(server.listener);
    const chunks = stream[Symbol.asyncIterator]();
    const before = metrics().sqes;
    for (let i = 0; i < 1_000; i++) {
      await stream.writeAll('x');
      await chunks.next();
    }
    // 2,000 sends and two receives that are armed for good: none of them ended for want of a buffer.
    expect(metrics().sqes - before).toBeLessThanOrEqual(2_002);
  });

  it('that fail leave nothing behind', async () => {
    await leavesNothing(async () => {
      const server = await serve(echo);
      const { port } = server;
      await server[Symbol.asyncDispose]();
      let refused = 0;
      for (let i = 0; i < CONNECTIONS / 10; i++) {
        const outcomes = await Promise.allSettled(
          Array.from({ length: 10 }, () => TcpStream.connect({ host: '127.0.0.1', port })),
        );
        refused += outcomes.filter(({ status }) => status === 'rejected').length;
      }
      expect(refused).toBe(CONNECTIONS);
    });
  });
});
