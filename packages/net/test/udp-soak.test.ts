import dgram from 'node:dgram';
import { once } from 'node:events';
import type { UdpSocket } from '@ouro/net';
import { metrics } from '@ouro/runtime';
import { nop } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { bytes, leavesNothing, Random } from './support.ts';
import { local } from './udp-support.ts';

const SEED = Number(process.env.OURO_SEED ?? 4711);
const SIZES = [0, 1, 2, 63, 64, 65, 507, 508, 1471, 1472, 1473, 4095, 4096, 4097, 16_384, 65_506, 65_507];
/** Bytes on their way at once: less than what a socket's buffer takes, with what the kernel counts beside the bytes. */
const MOST_ON_WAY = 300_000;
const COST = 1500;

/** A datagram that says which it is. */
function numbered(random: Random, number: number): Buffer {
  const length = random.chance(0.5) ? SIZES[random.integer(0, SIZES.length - 1)] : random.integer(0, 3000);
  const data = bytes(length, number);
  if (length >= 4) data.writeUInt32BE(number);
  return Buffer.from(data);
}

/** What lets as much go out as comes in. */
class Window {
  #free = MOST_ON_WAY;
  #wake: (() => void) | null = null;

  async take(length: number): Promise<void> {
    while (this.#free < length + COST) await new Promise<void>((woken) => (this.#wake = woken));
    this.#free -= length + COST;
  }

  give(length: number): void {
    this.#free += length + COST;
    this.#wake?.();
    this.#wake = null;
  }
}

/** How a socket of ours takes datagrams; each way ends after `count`. */
type Way = (
  socket: UdpSocket,
  count: number,
  random: Random,
  got: (data: Buffer) => void,
  buffers: number,
) => Promise<void>;

const ways: Readonly<Record<string, Way>> = {
  'a loop': async (socket, count, _random, got) => {
    let left = count;
    for await (const { data, truncated } of socket) {
      if (truncated) throw new Error('cut');
      got(data);
      if (--left === 0) break;
    }
  },
  batches: async (socket, count, random, got) => {
    let left = count;
    for await (const batch of socket.batches()) {
      for (const { data } of batch) got(data);
      left -= batch.length;
      if (left === 0) break;
      if (random.chance(0.2)) await nop();
    }
  },
  leases: async (socket, count, random, got, buffers) => {
    let left = count;
    const kept: (() => void)[] = [];
    const most = buffers === 1 ? 0 : 2; // who keeps them all waits for ever
    for await (const lease of socket.datagrams({ lease: true })) {
      // Each is looked at some time later.
      kept.push(() => {
        got(Buffer.from(lease.data));
        lease[Symbol.dispose]();
      });
      left--;
      while (kept.length > (left === 0 ? 0 : random.integer(0, most))) kept.shift()?.();
      if (left === 0) break;
    }
  },
  'recv and loops in turns': async (socket, count, random, got) => {
    const buffer = Buffer.alloc(65_535);
    let left = count;
    while (left > 0) {
      if (random.chance(0.5)) {
        const { bytes: length, truncated } = await socket.recv(buffer);
        if (truncated) throw new Error('cut');
        got(Buffer.from(buffer.subarray(0, length)));
        left--;
        continue;
      }
      let few = random.integer(1, 5);
      for await (const { data } of socket) {
        got(data);
        left--;
        if (left === 0 || --few === 0) break;
      }
    }
  },
};

describe.each(Object.entries(ways))('datagrams of random sizes by %s', (_name, way) => {
  it.each([1, 4, 0])(
    'are byte exact and in order, with %i buffers (0: those of the thread)',
    (receiveBuffers) =>
      leavesNothing(async () => {
        const random = new Random(SEED + receiveBuffers);
        const count = 400;
        await using socket = await local({
          receiveBufferSize: 4 << 20,
          ...(receiveBuffers > 0 && { receiveBuffers }),
          gro: random.chance(0.5),
        });
        const theirs = dgram.createSocket('udp4');
        theirs.bind(0, '127.0.0.1');
        await once(theirs, 'listening');
        await using ours = await local();
        const expected: Buffer[] = [];
        const window = new Window();
        let received = 0;
        const wrong: number[] = [];
        const receiving = way(
          socket,
          count,
          random,
          (data) => {
            window.give(data.length);
            if (!data.equals(expected[received])) wrong.push(received);
            received++;
          },
          receiveBuffers,
        );
        const { port } = socket.address;
        for (let number = 0; number < count; ) {
          const size = Math.min(count - number, random.integer(1, 12));
          const some = Array.from({ length: size }, (_, i) => numbered(random, number + i));
          number += size;
          for (const data of some) await window.take(data.length);
          expected.push(...some);
          // One sender after the other, so that there is an order.
          if (random.chance(0.3)) {
            for (const data of some)
              await new Promise<void>((sent, failed) =>
                theirs.send(data, port, '127.0.0.1', (error) => (error ? failed(error) : sent())),
              );
          } else {
            const results = await ours.sendMany(some.map((data) => ({ data, to: socket.address })));
            for (const [i, each] of results.entries())
              expect(each).toEqual({ status: 'fulfilled', value: some[i].length });
          }
        }
        await receiving;
        expect(wrong).toEqual([]);
        expect(received).toBe(count);
        expect(socket.dropped).toBe(0);
        theirs.close();
        await once(theirs, 'close');
      }),
  );
});

describe('a request and its answer', () => {
  it('are each others, with many clients of node:dgram at once', () =>
    leavesNothing(async () => {
      const random = new Random(SEED);
      await using server = await local({ receiveBufferSize: 4 << 20, receiveBuffers: 8 });
      const serving = (async () => {
        for await (const { data, address } of server) server.send(data, address).catch(() => {});
      })();
      const clients = Array.from({ length: 40 }, () => dgram.createSocket('udp4'));
      await Promise.all(
        clients.map(async (client) => {
          client.bind(0, '127.0.0.1');
          await once(client, 'listening');
          for (let i = 0; i < 25; i++) {
            const data = numbered(random, i);
            const answer = once(client, 'message');
            client.send(data, server.address.port, '127.0.0.1');
            const [got] = (await answer) as [Buffer];
            expect(got.equals(data)).toBe(true);
          }
          client.close();
          await once(client, 'close');
        }),
      );
      await server.close();
      await serving;
      expect(metrics().stale).toBe(0);
    }));
});
