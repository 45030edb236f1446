import { ENOBUFS, IORING_CQE_F_BUF_MORE, IORING_CQE_F_BUFFER, MSG_WAITALL } from '@ouro/native/abi';
import {
  BufferRing,
  recv,
  recvBundle,
  recvMultishot,
  SendRing,
  send,
  sendBundle,
  shutdown,
} from '@ouro/net/ops';
import { stream, submit } from '@ouro/runtime';
import { nop } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { describeOnRing, itOnRing } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';
import { Fds } from './op-support.ts';
import { bytes, failure, leavesNothing } from './support.ts';

const RECEIVES = { recvMultishot, recvBundle };

describe('BufferRing', () => {
  it('refuses sizes that make no sense', () => {
    expect(() => new BufferRing({ entries: 3, size: 10 })).toThrow(/"options.entries" is out of range/);
    expect(() => new BufferRing({ entries: 0, size: 10 })).toThrow(RangeError);
    expect(() => new BufferRing({ entries: 65_536, size: 10 })).toThrow(RangeError);
    expect(() => new BufferRing({ entries: 2, size: 0 })).toThrow(RangeError);
    expect(() => new BufferRing({ entries: 32_768, size: 1 << 30 })).toThrow(
      /"options.size" is out of range/,
    );
    expect(() => new BufferRing({ entries: 2, size: 10, initial: 3 })).toThrow(RangeError);
  });

  it('several have groups of their own, which are used again after closing', () => {
    const first = new BufferRing({ entries: 2, size: 10 });
    using second = new BufferRing({ entries: 2, size: 10 });
    const { group } = first;
    expect(group).not.toBe(second.group);
    first.close();
    using third = new BufferRing({ entries: 2, size: 10 });
    expect(third.group).toBe(group);
    expect(first.closed).toBe(true);
  });

  it('uses memory again after closing', async () => {
    await nop();
    const first = new BufferRing({ entries: 4, size: 100_000 });
    const { buffer } = first.bytes;
    first.close();
    first.close();
    using second = new BufferRing({ entries: 4, size: 100_000 });
    expect(second.bytes.buffer).toBe(buffer);
  });

  it('does not use memory again as long as an op may reach it', async () => {
    await using fds = new Fds();
    const [, server] = await fds.pair();
    const first = new BufferRing({ entries: 4, size: 200_000 });
    const { buffer } = first.bytes;
    const receiving = stream(recvMultishot(server, first));
    const waiting = receiving.next();
    first.close();
    using second = new BufferRing({ entries: 4, size: 200_000 });
    expect(second.bytes.buffer).not.toBe(buffer);
    await receiving.return();
    expect(await waiting).toMatchObject({ done: true });
    using third = new BufferRing({ entries: 4, size: 200_000 });
    expect(third.bytes.buffer).toBe(buffer);
  });

  it('is not the group of another ring as long as a receive may take buffers from it, nor for those begun later', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      const [client, server] = await fds.pair();
      const first = new BufferRing({ entries: 4, size: 64, incremental: false });
      const { group } = first;
      const waiting = failure(stream(recvMultishot(server, first)).next());
      await nop();
      first.close();
      using second = new BufferRing({ entries: 4, size: 64, incremental: false });
      expect(second.group).not.toBe(group);
      await submit(send(client, Buffer.from('kept')));
      expect(await waiting).toMatchObject({ code: 'ENOBUFS' });
      expect(String((await stream(recvMultishot(server, second)).next()).value)).toBe('kept');
      using third = new BufferRing({ entries: 4, size: 64, incremental: false });
      expect(await failure(stream(recvMultishot(server, first)).next())).toMatchObject({ code: 'ENOBUFS' });
      for (const ring of [second, third]) {
        const others = stream(recvMultishot(server, ring));
        for (let i = 0; i < 8; i++) {
          const next = others.next();
          await submit(send(client, Buffer.from(`more ${i}`)));
          const { value } = await next;
          expect(String(value)).toBe(`more ${i}`);
        }
        await others.return();
      }
    }));

  itOnRing('memlock')('says what is missing where the limit of locked memory is too low', async () => {
    const { stdout, stderr } = await runProgram(
      `
        import { BufferRing } from '@ouro/net/ops';
        try { new BufferRing({ entries: 32768, size: 16 }); } catch (error) { console.log(error.code, error.message); }
      `,
      { under: ['prlimit', '--memlock=65536:65536', ...UNPRIVILEGED] },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe(
      'ENOMEM ENOMEM: not enough memory, io_uring_register: a ring of 32768 provided buffers needs 512 KiB of locked memory, and the limit is 64 KiB (ulimit -l)\n',
    );
  });
});

/**
 * As somebody whom limits bind (root has CAP_IPC_LOCK), and whom nobody shares them with: locked memory is counted for
 * all processes of a user.
 */
const UID = 100_000 + process.pid;
const UNPRIVILEGED =
  process.getuid?.() === 0
    ? ['setpriv', `--reuid=${UID}`, `--regid=${UID}`, '--clear-groups', '--inh-caps=-all']
    : [];

/** Uses up all memory that may be locked. */
const EXHAUST = 'try { for (;;) new BufferRing({ entries: 16, size: 16 }); } catch {}';

for (const [name, receive] of Object.entries(RECEIVES)) {
  describe(name, () => {
    for (const incremental of [true, false]) {
      const sort = incremental ? 'filled piece by piece' : 'used up one for each receive';

      it(`brings all bytes in order, in buffers ${sort}`, () =>
        leavesNothing(async () => {
          await using fds = new Fds();
          const [client, server] = await fds.pair();
          using ring = new BufferRing({ entries: 16, size: 1000, incremental });
          const data = bytes(500_000, 11);
          const sending = (async () => {
            // Pieces of odd sizes, so that buffers are cut everywhere.
            for (let at = 0, i = 1; at < data.length; i++) {
              at += await submit(send(client, data.subarray(at, at + ((i * 977) % 7919)), MSG_WAITALL));
            }
            await submit(shutdown(client, 1));
          })();
          const chunks: Buffer[] = [];
          for await (const chunk of stream(receive(server, ring))) chunks.push(chunk);
          await sending;
          expect(Buffer.concat(chunks).equals(data)).toBe(true);
          expect(ring.available).toBe(ring.entries);
        }));

      it(`keeps apart what several connections receive into buffers ${sort}`, () =>
        leavesNothing(async () => {
          await using fds = new Fds();
          using ring = new BufferRing({ entries: 8, size: 1500, incremental });
          const received = await Promise.all(
            Array.from({ length: 12 }, async (_, seed) => {
              const [client, server] = await fds.pair();
              const data = bytes(100_000, seed + 1);
              const chunks: Buffer[] = [];
              const receiving = (async () => {
                for await (const chunk of stream(receive(server, ring))) chunks.push(chunk);
              })();
              for (let at = 0, i = seed; at < data.length; i++) {
                at += await submit(send(client, data.subarray(at, at + 1 + ((i * 977) % 4999)), MSG_WAITALL));
              }
              await submit(shutdown(client, 1));
              await receiving;
              return Buffer.concat(chunks).equals(data);
            }),
          );
          expect(received).toEqual(Array(12).fill(true));
          expect(ring.available).toBe(8);
        }));

      it(`lends buffers ${sort}, and waits when all are lent`, () =>
        leavesNothing(async () => {
          await using fds = new Fds();
          const [client, server] = await fds.pair();
          using ring = new BufferRing({ entries: 4, size: 100, incremental });
          const data = bytes(1000, 12);
          await submit(send(client, data));
          const received = stream(receive(server, ring, { lease: true }));
          const leases = [];
          let length = 0;
          while (length < 400) {
            const { value } = await received.next();
            if (value === undefined) break;
            leases.push(value);
            length += value.length;
          }
          expect(length).toBe(400);
          expect(Buffer.concat(leases.map((lease) => lease.copy())).equals(data.subarray(0, 400))).toBe(true);
          // Every buffer is lent: whoever waits goes on when one is given back, in whatever order.
          const next = received.next();
          await nop();
          await nop();
          for (const lease of leases.reverse()) lease[Symbol.dispose]();
          const lease = (await next).value;
          expect(lease?.copy().equals(data.subarray(400, 400 + (lease?.length ?? 0)))).toBe(true);
          lease?.[Symbol.dispose]();
          lease?.[Symbol.dispose](); // twice is once
          await received.return();
          expect(ring.available).toBe(4);
          expect(ring.starved).toBeGreaterThan(0);
        }));
    }

    it('has more buffers when they run out, as far as it may', async () => {
      await using fds = new Fds();
      const [client, server] = await fds.pair();
      using ring = new BufferRing({ entries: 16, size: 100, initial: 1, incremental: false });
      await submit(send(client, Buffer.alloc(5000)));
      let length = 0;
      for await (const chunk of stream(receive(server, ring))) {
        length += chunk.length;
        if (length === 5000) break;
      }
      expect(ring.starved).toBeGreaterThan(0);
      expect(ring.provided).toBe(16);
      expect(ring.grow()).toBe(false);
    });

    it('gives back what nobody takes', () =>
      leavesNothing(async () => {
        await using fds = new Fds();
        const [client, server] = await fds.pair();
        using ring = new BufferRing({ entries: 4, size: 100, incremental: false });
        await submit(send(client, Buffer.alloc(300)));
        const received = stream(receive(server, ring, { lease: true }));
        (await received.next()).value?.[Symbol.dispose]();
        await received.return();
        expect(ring.available).toBe(4);
      }));

    it('ends with an error of the connection, with ENOBUFS when its ring is closed', async () => {
      await using fds = new Fds();
      const ring = new BufferRing({ entries: 4, size: 100 });
      const { fd } = await fds.listener();
      expect(await failure(stream(receive(fd, ring)).next())).toMatchObject({
        code: 'ENOTCONN',
        syscall: 'recv',
      });
      const [client, server] = await fds.pair();
      const received = stream(receive(server, ring));
      const next = received.next();
      ring.close();
      await submit(send(client, Buffer.from('x')));
      expect(await failure(next)).toMatchObject({ code: 'ENOBUFS', errno: ENOBUFS, syscall: 'recv' });
      const buffer = Buffer.alloc(1);
      await submit(recv(server, buffer));
      expect(buffer.toString()).toBe('x');
    });

    it('can be cancelled', () =>
      leavesNothing(async () => {
        await using fds = new Fds();
        const [, server] = await fds.pair();
        using ring = new BufferRing({ entries: 4, size: 100 });
        const received = stream(receive(server, ring));
        const next = received.next();
        received.cancel();
        expect(await failure(next)).toMatchObject({ code: 'ABORT_ERR' });
        await received.return();
      }));

    it('refuses what is no ring', () => {
      expect(() => receive(0, {} as never)).toThrow(/"ring" argument must be an instance of BufferRing/);
    });
  });
}

describe('recvBundle', () => {
  it('brings several buffers at once', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    using ring = new BufferRing({ entries: 8, size: 100, incremental: false });
    await submit(send(client, Buffer.alloc(450)));
    const received = stream(recvBundle(server, ring, { lease: true }));
    using lease = (await received.next()).value;
    const lengths = lease?.pieces.map(({ length }) => length) ?? [];
    expect(lengths.length).toBeGreaterThan(1);
    expect(lengths.slice(0, -1).every((length) => length === 100)).toBe(true);
    await received.return();
  });
});

describe('lent buffers', () => {
  it('can be sent on without a copy', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      const [client, server] = await fds.pair();
      using ring = new BufferRing({ entries: 8, size: 1000 });
      const data = bytes(100_000, 31);
      const echoing = (async () => {
        for await (const lease of stream(recvBundle(server, ring, { lease: true }))) {
          using lent = lease;
          for (const piece of lent.pieces) await submit(send(server, piece, MSG_WAITALL));
        }
      })();
      const sending = submit(send(client, data, MSG_WAITALL));
      expect((await drain(client, data.length)).equals(data)).toBe(true);
      await sending;
      await submit(shutdown(client, 1));
      await echoing;
      expect(ring.available).toBe(8);
    }));

  it('of one buffer may be more than 65,536', () => {
    const ring = new BufferRing({ entries: 2, size: 1 << 20 });
    const flags = IORING_CQE_F_BUFFER | IORING_CQE_F_BUF_MORE;
    const leases = Array.from({ length: 65_537 }, (_, i) =>
      ring.lease(i < 65_536 ? flags : IORING_CQE_F_BUFFER, 1),
    );
    expect(ring.available).toBe(1);
    leases.pop()?.[Symbol.dispose]();
    expect(ring.available).toBe(1);
    for (const lease of leases) lease[Symbol.dispose]();
    expect(ring.available).toBe(2);
    ring.close();
  });

  it('outlive a worker that is terminated while it receives into them', async () => {
    const { stdout, stderr, code } = await runProgram(`
      import net from 'node:net';
      import { Worker } from 'node:worker_threads';
      const server = net.createServer((socket) => {
        socket.on('error', () => {});
        const data = Buffer.alloc(1 << 20);
        const more = (error) => error ?? socket.write(data, more);
        more();
      }).listen(0, '127.0.0.1', () => {
        const worker = new Worker(\`
          import { parentPort, workerData } from 'node:worker_threads';
          import { stream, submit } from '@ouro/runtime';
          import { BufferRing, connect, recvBundle, socket } from '@ouro/net/ops';
          const fd = await submit(socket(2, 1));
          await submit(connect(fd, { address: '127.0.0.1', port: workerData }));
          const ring = new BufferRing({ entries: 64, size: 4096 });
          let count = 0;
          for await (const lease of stream(recvBundle(fd, ring, { lease: true }))) {
            if (count++ === 100) parentPort.postMessage('receiving');
            lease[Symbol.dispose]();
          }
        \`, { eval: true, workerData: server.address().port });
        worker.once('message', async (text) => {
          await worker.terminate();
          console.log(text);
          process.exit();
        });
      });
    `);
    expect(stderr).toBe('');
    expect(stdout).toBe('receiving\n');
    expect(code).toBe(0);
  });
});

describe('sendBundle', () => {
  it('sends all that waits, in order, with one op', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      const [client, server] = await fds.pair();
      using ring = new SendRing(256);
      const data = bytes(256 * 20_000, 21);
      for (let i = 0; i < 256; i++)
        expect(ring.append(data.subarray(i * 20_000, (i + 1) * 20_000))).toBe(true);
      expect(ring.full).toBe(true);
      expect(ring.append(Buffer.from('x'))).toBe(false);
      const sent = submit(sendBundle(client, ring));
      expect((await drain(server, data.length)).equals(data)).toBe(true);
      expect(await sent).toBe(data.length);
      expect([ring.waiting, ring.length]).toEqual([0, 0]);
    }));

  it('sends nothing if nothing waits', async () => {
    await using fds = new Fds();
    const [client] = await fds.pair();
    using ring = new SendRing(4);
    expect(ring.append(Buffer.alloc(0))).toBe(true);
    expect(await submit(sendBundle(client, ring))).toBe(0);
  });

  it('what is appended meanwhile goes with the next', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    using ring = new SendRing(4);
    for (const text of ['one', 'two', 'three', 'four', 'five', 'six']) {
      ring.append(Buffer.from(text));
      await submit(sendBundle(client, ring));
    }
    expect((await drain(server, 22)).toString()).toBe('onetwothreefourfivesix');
  });

  it('given up on the way, keeps the rest', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      const [client, server] = await fds.pair();
      using ring = new SendRing(128);
      const data = bytes(100 * 100_000, 22);
      for (let i = 0; i < 100; i++) ring.append(data.subarray(i * 100_000, (i + 1) * 100_000));
      const first = submit(sendBundle(client, ring), { timeout: 20 });
      const count = await first;
      expect(count).toBeGreaterThan(0);
      expect(ring.length).toBe(data.length - count);
      ring.append(Buffer.from('end'));
      const second = submit(sendBundle(client, ring));
      expect((await drain(server, data.length + 3)).equals(Buffer.concat([data, Buffer.from('end')]))).toBe(
        true,
      );
      expect(await second).toBe(data.length - count + 3);
    }));

  it('a send that fails leaves all in the ring', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    using ring = new SendRing(4);
    ring.append(Buffer.from('hello'));
    const { fd } = await fds.listener();
    expect(await failure(submit(sendBundle(fd, ring)))).toMatchObject({ code: 'EPIPE', syscall: 'send' });
    expect(ring.length).toBe(5);
    expect(await submit(sendBundle(client, ring))).toBe(5);
    expect((await drain(server, 5)).toString()).toBe('hello');
  });

  itOnRing('memlock')('is a sendmsg where the kernel refuses the ring', async () => {
    const { stdout, stderr } = await runProgram(
      `
        import { run, submit } from '@ouro/runtime';
        import { SendRing, sendBundle } from '@ouro/net/ops';
        import { TcpListener, TcpStream } from '@ouro/net';
        import { BufferRing } from '@ouro/net/ops';
        await run(async () => {
          ${EXHAUST}
          const listener = await TcpListener.bind({ host: '127.0.0.1' });
          const client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
          const server = await listener.accept();
          const ring = new SendRing(64);
          for (let i = 0; i < 50; i++) ring.append(Buffer.from('line ' + i + ';'));
          console.log(ring.bundles, await submit(sendBundle(client, ring)), ring.length);
          await client.shutdown();
          let text = '';
          for await (const chunk of server) text += chunk;
          await Promise.all([client.close(), server.close(), listener.close()]);
          console.log(text === Array.from({ length: 50 }, (_, i) => 'line ' + i + ';').join(''));
        });
      `,
      { under: ['prlimit', '--memlock=65536:65536', ...UNPRIVILEGED] },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('false 390 0\ntrue\n');
  });

  it('refuses what makes no sense', () => {
    expect(() => new SendRing(512)).toThrow(RangeError);
    expect(() => new SendRing(3)).toThrow(RangeError);
    using ring = new SendRing(2);
    expect(() => ring.append('x' as never)).toThrow(TypeError);
    expect(() => ring.append(Buffer.alloc((1 << 23) + 1))).toThrow(RangeError);
    expect(() => sendBundle(0, {} as never)).toThrow(/"ring" argument must be an instance of SendRing/);
  });
});

describeOnRing('memlock')('without provided buffers', () => {
  it('a loop over a stream receives one by one', async () => {
    const { stdout, stderr } = await runProgram(
      `
        import { createHash } from 'node:crypto';
        import { metrics, run } from '@ouro/runtime';
        import { receiveBuffers } from '@ouro/runtime/driver';
        import { TcpListener, TcpStream } from '@ouro/net';
        import { BufferRing } from '@ouro/net/ops';
        await run(async () => {
          ${EXHAUST}
          const listener = await TcpListener.bind({ host: '127.0.0.1' });
          const client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
          const server = await listener.accept();
          console.log(receiveBuffers());
          const data = Buffer.alloc(3_000_000, 'provided buffers');
          const sending = client.writeAll(data).then(() => client.shutdown());
          const first = await server[Symbol.asyncIterator]().next();
          const chunks = [first.value];
          for await (const chunk of server) {
            chunks.push(chunk);
            if (chunks.length === 3) break; // leaving loses nothing
          }
          for await (const chunk of server) chunks.push(chunk);
          await sending;
          console.log(Buffer.concat(chunks).equals(data));
          const waiting = client[Symbol.asyncIterator]().next();
          await client.close();
          await Promise.all([server.close(), listener.close()]);
          console.log(await waiting, metrics().stale);
        });
      `,
      { under: ['prlimit', '--memlock=65536:65536', ...UNPRIVILEGED] },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('null\ntrue\n{ done: true, value: undefined } 0\n');
  });
});

/** `length` bytes that arrive. */
async function drain(fd: number, length: number): Promise<Buffer> {
  const all = Buffer.alloc(length);
  for (let filled = 0; filled < length; ) filled += await submit(recv(fd, all.subarray(filled)));
  return all;
}
