import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { copyBidirectional, type Relayed, type TcpStream } from '@ouro/net';
import { type Future, Scope } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { bytes, failure, leavesNothing, listen, type Pair, pair, Random, readAll } from './support.ts';
import { openPipes, take } from './transfer-support.ts';

/** Two connections whose inner ends are joined. */
interface Joined {
  /** The outer ends. */
  readonly left: TcpStream;
  readonly right: TcpStream;
  readonly a: TcpStream;
  readonly b: TcpStream;
}

async function joined(body: (ends: Joined) => Promise<void>): Promise<void> {
  await leavesNothing(async () => {
    const [first, second]: Pair[] = await Promise.all([pair(), pair()]);
    await body({ left: first.client, a: first.server, b: second.server, right: second.client });
    await Promise.all([first[Symbol.asyncDispose](), second[Symbol.asyncDispose]()]);
  });
}

/** An error of `copyBidirectional`. */
async function relayFailure(copying: Future<Relayed>): Promise<{ code?: string } & Partial<Relayed>> {
  return (await failure(copying)) as { code?: string } & Partial<Relayed>;
}

const SIZES = [1, 63, 4095, 4096, 4097, 16_384, 65_536, 262_145, 3_000_001];

describe('copyBidirectional', () => {
  it.each(SIZES)('passes on messages of %i bytes both ways, and counts them', async (size) => {
    await joined(async ({ left, a, b, right }) => {
      const copying = copyBidirectional(a, b);
      const message = bytes(size, size);
      for (let round = 0; round < 3; round++) {
        for (const [from, to] of [
          [left, right],
          [right, left],
        ]) {
          const sent = from.writeAll(message);
          expect((await take(to, size)).equals(message)).toBe(true);
          await sent;
        }
      }
      await Promise.all([left.shutdown(), right.shutdown()]);
      expect(await copying).toEqual({ aToB: 3 * size, bToA: 3 * size });
    });
  });

  it('shares what arrives with nobody, and lets both be read again afterwards', async () => {
    await joined(async ({ left, a, b, right }) => {
      await using third = await pair();
      const copying = copyBidirectional(a, b);
      await left.writeAll('first');
      expect(String(await take(right, 5))).toBe('first');
      const busy = { code: 'ERR_INVALID_STATE' };
      await expect(a.read(Buffer.alloc(9))).rejects.toMatchObject(busy);
      await expect(a.readUntil('x')).rejects.toMatchObject(busy);
      await expect(a[Symbol.asyncIterator]().next()).rejects.toMatchObject(busy);
      await expect(b.splitLines().next()).rejects.toMatchObject(busy);
      await expect(copyBidirectional(a, b)).rejects.toMatchObject(busy);
      await expect(copyBidirectional(a, third.client)).rejects.toMatchObject(busy);
      await left.writeAll('second');
      expect(String(await take(right, 6))).toBe('second');
      copying.cancel();
      await expect(copying).rejects.toMatchObject({ code: 'ABORT_ERR', aToB: 11 });
      await left.writeAll('third');
      expect(String(await take(a, 5))).toBe('third');
    });
  });

  it('passes on much in both directions at once, in pieces of all sizes', async () => {
    await joined(async ({ left, a, b, right }) => {
      const copying = copyBidirectional(a, b);
      const random = new Random(5);
      const [there, back] = [bytes(20 << 20, 1), bytes(9 << 20, 2)];
      const send = async (stream: TcpStream, data: Buffer): Promise<void> => {
        for (let at = 0; at < data.length; ) {
          const length = random.integer(1, random.chance(0.5) ? 5000 : 400_000);
          await stream.writeAll(data.subarray(at, at + length));
          at += length;
        }
        await stream.shutdown();
      };
      const [arrived, returned] = await Promise.all([
        readAll(right),
        readAll(left),
        send(left, there),
        send(right, back),
      ]);
      expect(arrived.equals(there)).toBe(true);
      expect(returned.equals(back)).toBe(true);
      expect(await copying).toEqual({ aToB: there.length, bToA: back.length });
    });
  });

  it('passes the end of one direction on, and the other goes on', async () => {
    await joined(async ({ left, a, b, right }) => {
      const copying = copyBidirectional(a, b);
      await left.writeAll('question');
      await left.shutdown();
      expect((await readAll(right)).toString()).toBe('question');
      await right.writeAll('answer');
      expect((await take(left, 6)).toString()).toBe('answer');
      await right.shutdown();
      expect(await copying).toEqual({ aToB: 8, bToA: 6 });
      expect(await left.read(Buffer.alloc(1))).toBe(0);
    });
  });

  it('passes on what has arrived in a stream before, and keeps what was written before in front', async () => {
    await joined(async ({ left, a, b, right }) => {
      const early = bytes(150_000, 9);
      const sent = left.writeAll(Buffer.concat([Buffer.from('head'), early]));
      // A loop takes more than it hands out.
      for await (const chunk of a) {
        expect(chunk.subarray(0, 4).toString()).toBe('head');
        const rest = chunk.subarray(4);
        const first = b.writeAll(rest);
        const copying = copyBidirectional(a, b);
        expect((await take(right, early.length)).equals(early)).toBe(true);
        await Promise.all([sent, first, left.shutdown(), right.shutdown()]);
        expect(await copying).toEqual({ aToB: early.length - rest.length, bToA: 0 });
        break;
      }
    });
  });

  it('passes on the end that has arrived before', async () => {
    await joined(async ({ left, a, b, right }) => {
      await left.writeAll('all');
      await left.shutdown();
      const loop = a[Symbol.asyncIterator]();
      await loop.next();
      await loop.return?.();
      const copying = copyBidirectional(a, b);
      expect((await readAll(right)).length).toBeLessThanOrEqual(3);
      await right.shutdown();
      expect((await copying).bToA).toBe(0);
    });
  });

  it('waits with slow readers, and holds no more than a pipe meanwhile', async () => {
    await joined(async ({ left, a, b, right }) => {
      const copying = copyBidirectional(a, b);
      const data = bytes(24 << 20, 8);
      const sending = left.writeAll(data);
      const received = Buffer.alloc(data.length);
      for (let filled = 0; filled < data.length; ) {
        filled += await right.read(received.subarray(filled, filled + 50_021));
      }
      await sending;
      expect(received.equals(data)).toBe(true);
      await Promise.all([left.shutdown(), right.shutdown()]);
      expect(await copying).toEqual({ aToB: data.length, bToA: 0 });
    });
  });

  it('ends both directions when one fails', async () => {
    await joined(async ({ left, a, b, right }) => {
      const copying = copyBidirectional(a, b);
      await left.writeAll('hello');
      await take(right, 5);
      const flood = left.writeAll(bytes(32 << 20, 1));
      await take(right, 1 << 20);
      await right.close();
      const { code, aToB = 0, bToA } = await relayFailure(copying);
      expect(code).toMatch(/^(EPIPE|ECONNRESET)$/);
      expect(aToB).toBeGreaterThan(1 << 20);
      expect(bToA).toBe(0);
      await a.close();
      expect((await failure(flood)).code).toMatch(/^(EPIPE|ECONNRESET)$/);
    });
  });

  it.each(['a', 'b'] as const)('ends with ECANCELED when %s is closed', async (name) => {
    for (const stuck of [false, true]) {
      await joined(async (ends) => {
        const copying = copyBidirectional(ends.a, ends.b);
        const flood = ends.left.writeAll(bytes(stuck ? 32 << 20 : 10, 1));
        flood.catch(() => {});
        await take(ends.right, 10);
        const told = relayFailure(copying);
        await ends[name].close();
        expect((await told).code).toBe('ECANCELED');
        await Promise.all([ends.a.close(), ends.b.close()]);
        await flood.catch(() => {});
      });
    }
  });

  it.each(['cancel', 'signal', 'scope', 'timeout', 'idleTimeout'])('is given up by %s', async (how) => {
    await joined(async ({ left, a, b, right }) => {
      const controller = new AbortController();
      const scope = new Scope();
      const options = {
        cancel: {},
        signal: { signal: controller.signal },
        scope: { scope },
        timeout: { timeout: 200 },
        idleTimeout: { idleTimeout: 200 },
      };
      const copying = copyBidirectional(a, b, options[how as keyof typeof options]);
      await left.writeAll('12345');
      await take(right, 5);
      if (how === 'cancel') copying.cancel();
      controller.abort();
      scope.cancel();
      const { code, aToB, bToA } = await relayFailure(copying);
      expect(code).toBe(how === 'timeout' || how === 'idleTimeout' ? 'ETIMEDOUT' : 'ABORT_ERR');
      expect({ aToB, bToA }).toEqual({ aToB: 5, bToA: 0 });
      // Both are still there.
      await a.writeAll('back');
      expect((await take(left, 4)).toString()).toBe('back');
    });
  });

  it('is not idle as long as bytes move in one direction', async () => {
    await joined(async ({ left, a, b, right }) => {
      const copying = copyBidirectional(a, b, { idleTimeout: 400 });
      for (let i = 0; i < 12; i++) {
        await left.writeAll('x');
        await take(right, 1);
        await new Promise((later) => setTimeout(later, 50));
      }
      await Promise.all([left.shutdown(), right.shutdown()]);
      expect(await copying).toEqual({ aToB: 12, bToA: 0 });
    });
  });

  it('lets other writes wait until its direction has ended', async () => {
    await joined(async ({ left, a, b, right }) => {
      const copying = copyBidirectional(a, b);
      const waiting = b.writeAll('never');
      await left.writeAll('12345');
      expect((await take(right, 5)).toString()).toBe('12345');
      copying.cancel();
      await failure(copying);
      await waiting;
      expect((await take(right, 5)).toString()).toBe('never');
    });
  });

  it('leaves few pipes behind', async () => {
    for (let round = 0; round < 20; round++) {
      await joined(async ({ left, a, b, right }) => {
        const copying = copyBidirectional(a, b);
        const sending = left.writeAll(bytes(4 << 20, 1));
        await take(right, 1 << 20);
        copying.cancel();
        await failure(copying);
        await a.close();
        await sending.catch(() => {});
      });
    }
    expect(openPipes()).toBeLessThanOrEqual(40);
  });

  it('refuses what is read already, what is closed, and what is no stream', async () => {
    await joined(async ({ left, a, b, right }) => {
      const reading = a.read(Buffer.alloc(1));
      expect((await failure(copyBidirectional(a, b))).code).toBe('ERR_INVALID_STATE');
      await left.writeAll('x');
      await reading;
      expect(() => copyBidirectional(a, a)).toThrow(TypeError);
      expect(() => copyBidirectional(a, {} as TcpStream)).toThrow(TypeError);
      expect(() => copyBidirectional(a, b, { idleTimeout: -1 })).toThrow(RangeError);
      expect(() => copyBidirectional(a, b, { idleTimeout: '1' as never })).toThrow(TypeError);
      await b.close();
      expect((await failure(copyBidirectional(a, b))).code).toBe('EBADF');
      await right.close();
    });
  });
});

/** A proxy in a thread of its own, whose both outer ends are here. */
const PROXY = `
  const { parentPort, workerData } = require('node:worker_threads');
  (async () => {
    const { TcpStream, copyBidirectional } = await import('@ouro/net');
    const connect = () => TcpStream.connect({ host: '127.0.0.1', port: workerData });
    const a = await connect();
    const b = await connect();
    copyBidirectional(a, b).catch(() => {});
    parentPort.postMessage('begun');
  })();
`;

describe('a thread that ends in the middle of copyBidirectional', () => {
  it.each([0, 3, 30])('leaves nothing open, %i ms on its way', async (ms) => {
    await leavesNothing(async () => {
      await using listener = await listen();
      const worker = new Worker(PROXY, { eval: true, workerData: listener.address.port });
      const [left, right] = [await listener.accept(), await listener.accept()];
      await once(worker, 'message');
      const data = bytes(32 << 20, 1);
      const sending = left.writeAll(data);
      sending.catch(() => {});
      if (ms > 3) await take(right, 1 << 20);
      await new Promise((later) => setTimeout(later, ms));
      await worker.terminate();
      await readAll(right).catch(() => null);
      await sending.catch(() => null);
      await Promise.all([left.close(), right.close()]);
    });
  });

  it('and the process with it ends as it says', async () => {
    await using listener = await listen();
    const program = runProgram(`
      import { TcpStream, copyBidirectional } from '@ouro/net';
      const connect = () => TcpStream.connect({ host: '127.0.0.1', port: ${listener.address.port} });
      const [a, b] = [await connect(), await connect()];
      copyBidirectional(a, b);
      process.on('SIGTERM', () => process.exit(6));
      setTimeout(() => process.exit(6), 200);
    `);
    await using left = await listener.accept();
    await using right = await listener.accept();
    await left.writeAll(bytes(100_000, 1)).catch(() => {});
    await readAll(right).catch(() => null);
    expect(await program).toMatchObject({ code: 6, stderr: '' });
  });
});
