import { promises as dns } from 'node:dns';
import { TcpListener, TcpStream } from '@ouro/net';
import { metrics } from '@ouro/runtime';
import { nop } from '@ouro/runtime/driver';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { dial, echo, failure, fill, leavesNothing, POLL, readAll, sockets } from './support.ts';
import { BOTH, dialTo, fullListener, inNamespace, namespaceCan, nodeFailure, pairBy } from './tcp-support.ts';

afterEach(() => vi.restoreAllMocks());

/** Waits for the network, without a time. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await nop();
}

describe.each(BOTH)('a peer of a stream on %s', (_what, how) => {
  it('that resets before it is accepted costs only its own connection', async () => {
    await leavesNothing(async () => {
      await using listener = await TcpListener.bind({ host: '127.0.0.1', ...how });
      const gone = await dialTo('127.0.0.1', listener.address.port);
      gone.resetAndDestroy();
      const here = await dialTo('127.0.0.1', listener.address.port);
      here.end('here');
      const texts: string[] = [];
      // Linux hands over the one that is gone as well.
      while (!texts.includes('here')) {
        const stream = await listener.accept();
        texts.push(await readAll(stream).then(String, (error: { code: string }) => error.code));
        await stream.close();
      }
      expect(texts.filter((text) => text !== 'here').every((text) => text === 'ECONNRESET')).toBe(true);
      here.destroy();
    });
  });

  it('that vanishes in the middle of a write fails it, and says how much had gone', async () => {
    await leavesNothing(async () => {
      await using ends = await pairBy(how);
      const { waiting, size } = await fill(ends.server);
      await turns(5);
      await ends.client.reset();
      const error = await failure(waiting);
      expect(error.code).toMatch(/^(ECONNRESET|EPIPE)$/);
      expect(error.bytesTransferred ?? 0).toBeLessThan(size);
    });
  });

  it('that resets after our end fails what we still read', async () => {
    await leavesNothing(async () => {
      await using ends = await pairBy(how);
      await ends.server.shutdown();
      const reading = failure(ends.server.read(Buffer.alloc(1)));
      await ends.client.reset();
      expect(await reading).toMatchObject({ code: 'ECONNRESET' });
    });
  });

  it('that resets after its end fails what we still write', async () => {
    await leavesNothing(async () => {
      await using ends = await pairBy(how);
      await ends.client.shutdown();
      expect((await readAll(ends.server)).length).toBe(0);
      await ends.server.writeAll('half open');
      await ends.client.reset();
      const write = async (): Promise<string | undefined> => {
        for (;;) await ends.server.writeAll(Buffer.alloc(1000));
      };
      expect((await failure(write())).code).toMatch(/^(ECONNRESET|EPIPE)$/);
    });
  });

  it('that has ended is still written to, as much as it likes to read', async () => {
    await using ends = await pairBy(how);
    await ends.client.shutdown();
    expect((await readAll(ends.server)).length).toBe(0);
    const answer = Buffer.alloc(3_000_000, 7);
    const [got] = await Promise.all([
      readAll(ends.client),
      ends.server.writeAll(answer).then(() => ends.server.shutdown()),
    ]);
    expect(got.equals(answer)).toBe(true);
  });

  it('that resets while everything is in flight ends all of it', async () => {
    await leavesNothing(async () => {
      await using ends = await pairBy(how);
      const { waiting } = await fill(ends.server);
      const outcomes = Promise.allSettled([
        waiting,
        readAll(ends.server),
        ends.server.shutdown(),
        ends.server.info(),
      ]);
      await ends.client.reset();
      const [write, read] = await outcomes;
      expect([write.status, read.status]).toContain('rejected');
    });
  });
});

describe.each(BOTH)('closing, on %s', (_what, how) => {
  it('while accept, connect, read and write are in flight ends each, and leaves nothing', async () => {
    await leavesNothing(async () => {
      const listener = await TcpListener.bind({ host: '127.0.0.1', ...how });
      const [server, client] = await Promise.all([listener.accept(), dial(listener)]);
      const accepting = failure(listener.accept());
      const full = await fullListener();
      const connecting = TcpStream.connect({ host: '127.0.0.1', port: full.port });
      const reading = failure(client.read(Buffer.alloc(10)));
      const { waiting } = await fill(client);
      const writing = failure(waiting);
      await turns(3);
      connecting.cancel();
      await Promise.all([listener.close(), client.close(), server.close(), full[Symbol.asyncDispose]()]);
      expect(await accepting).toMatchObject({ code: 'ECANCELED', syscall: 'accept' });
      expect(await failure(connecting)).toMatchObject({ code: 'ABORT_ERR' });
      expect(await reading).toMatchObject({ code: 'ECANCELED', syscall: 'read' });
      expect((await writing).code).toMatch(/^(ECANCELED|ECONNRESET|EPIPE)$/);
    });
  });
});

describe('cancelling at every await', () => {
  // How many turns of the loop a connect gets before it is cancelled: each is another of its awaits.
  it.each([0, 1, 2, 3, 5, 8])('a connect after %i turns leaves nothing', async (count) => {
    vi.spyOn(dns, 'lookup').mockImplementation((async () => {
      await nop();
      return [
        { address: '127.0.0.1', family: 4 },
        { address: '127.0.0.2', family: 4 },
      ];
    }) as unknown as typeof dns.lookup);
    await leavesNothing(async () => {
      await using listener = await TcpListener.bind({ host: '127.0.0.2' });
      const connecting = TcpStream.connect({ host: 'name.test', port: listener.address.port });
      await turns(count);
      connecting.cancel();
      const [outcome] = await Promise.allSettled([connecting]);
      if (outcome.status === 'fulfilled') await outcome.value.close();
      else expect(outcome.reason).toMatchObject({ code: 'ABORT_ERR' });
    });
  });

  it.each([0, 1, 2, 3, 5, 8])('a bind after %i turns leaves nothing', async (count) => {
    vi.spyOn(dns, 'lookup').mockImplementation((async () => {
      await nop();
      return [{ address: '127.0.0.1', family: 4 }];
    }) as unknown as typeof dns.lookup);
    await leavesNothing(async () => {
      const binding = TcpListener.bind({ host: 'name.test' });
      await turns(count);
      binding.cancel();
      const [outcome] = await Promise.allSettled([binding]);
      if (outcome.status === 'fulfilled') await outcome.value.close();
      else expect(outcome.reason).toMatchObject({ code: 'ABORT_ERR' });
    });
  });
});

describe('a backlog that overflows', () => {
  it('holds connects back until there is room, and then they are made', async () => {
    await leavesNothing(async () => {
      await using full = await fullListener();
      const connecting = Array.from({ length: 4 }, () =>
        TcpStream.connect({ host: '127.0.0.1', port: full.port }),
      );
      await expect.poll(() => metrics().ops.CONNECT?.inFlight, POLL).toBeGreaterThan(0);
      const loop = (async () => {
        for await (const stream of full.listener) void echo(stream).finally(() => stream.close());
      })();
      for (const client of await Promise.all(connecting)) {
        await client.writeAll('x');
        expect(await client.read(Buffer.alloc(1))).toBe(1);
        await client.close();
      }
      await full.listener.close();
      await loop;
    });
  });
});

const UNREACHABLE = 'ip route add unreachable 10.9.0.0/24 && ip link set lo up';
const separate = namespaceCan(UNREACHABLE);
if (!separate) console.log('tcp-faults.test.ts: no network namespaces here, so nothing is unreachable');

describe.skipIf(!separate)('what cannot be reached', () => {
  it.each([
    ['ENETUNREACH', '198.51.100.1'],
    ['EHOSTUNREACH', '10.9.0.1'],
  ])('fails with %s, as node:net says it', async (code, host) => {
    const { stdout, stderr } = await runProgram(
      `
      import net from 'node:net';
      import { TcpStream } from '@ouro/net';
      import { metrics } from '@ouro/runtime';
      const told = (error) => ({ ...error, message: error.message });
      const options = { host: '${host}', port: 80 };
      const ours = await TcpStream.connect(options).then(() => 'connected', told);
      const theirs = await new Promise((done) => net.connect(options).on('error', (e) => done(told(e))));
      console.log(JSON.stringify([ours, theirs, metrics().pending]));
      `,
      { under: inNamespace(UNREACHABLE) },
    );
    expect(stderr).toBe('');
    const [ours, theirs, pending] = JSON.parse(stdout);
    expect(ours).toMatchObject({ code, syscall: 'connect', address: host });
    // Node names its own end as well, which it does not have.
    expect({ ...theirs, message: theirs.message.replace(/ - Local.*/, '') }).toEqual(ours);
    expect(pending).toBe(0);
  });

  it('is no matter where another address of the name can be', async () => {
    const { stdout, stderr } = await runProgram(
      `
      import { TcpListener, TcpStream } from '@ouro/net';
      const listener = await TcpListener.bind({ host: '127.0.0.1' });
      const lookup = (name, options, done) =>
        done(null, ['198.51.100.1', '10.9.0.1', '127.0.0.1'].map((address) => ({ address, family: 4 })));
      const stream = await TcpStream.connect({ host: 'name.test', port: listener.address.port, lookup });
      console.log(stream.remoteAddress.address);
      await stream.close();
      await listener.close();
      `,
      { under: inNamespace(UNREACHABLE) },
    );
    expect({ stdout, stderr }).toEqual({ stdout: '127.0.0.1\n', stderr: '' });
  });
});

/** Loss and delay: by netem, or where the kernel has not got that, by a queue that is too short for what is sent. */
const BAD_NETWORKS = [
  'ip link set lo up mtu 1500 && tc qdisc add dev lo root netem delay 3ms 1ms loss 3% reorder 5%',
  'ip link set lo up mtu 1500 && tc qdisc add dev lo root tbf rate 40mbit burst 6000 limit 30000',
];
const badNetwork = BAD_NETWORKS.find(namespaceCan);
if (badNetwork === undefined) console.log('tcp-faults.test.ts: no network here that loses or delays packets');

describe.skipIf(badNetwork === undefined)('a network with loss and delay', () => {
  it('carries every byte in order, in both directions at once', async () => {
    const { code, stdout, stderr } = await runProgram(
      `
      import { createHash, randomBytes } from 'node:crypto';
      import { TcpListener, TcpStream } from '@ouro/net';
      import { metrics } from '@ouro/runtime';
      const data = randomBytes(400_000);
      const hash = (parts) => createHash('sha1').update(Buffer.concat(parts)).digest('hex');
      let retransmitted = 0;
      let wrong = 0;
      for (const direct of [false, true]) {
        const listener = await TcpListener.bind({ host: '127.0.0.1', direct });
        const loop = (async () => {
          for await (const stream of listener) {
            (async () => {
              for await (const chunk of stream) await stream.writeAll(chunk);
              await stream.shutdown();
              retransmitted += (await stream.info()).retransmittedSegments;
              await stream.close();
            })();
          }
        })();
        await Promise.all(Array.from({ length: 6 }, async () => {
          const stream = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
          const parts = [];
          const reading = (async () => { for await (const chunk of stream) parts.push(chunk); })();
          await stream.writeAll(data);
          await stream.shutdown();
          await reading;
          if (hash(parts) !== hash([data])) wrong++;
          retransmitted += (await stream.info()).retransmittedSegments;
          await stream.close();
        }));
        await listener.close();
        await loop;
      }
      console.log(wrong, retransmitted > 0, metrics().pending);
      `,
      { under: inNamespace(badNetwork ?? ''), limitMs: 60_000 },
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '0 true 0\n', stderr: '' });
  }, 90_000);
});

describe('errors of connect', () => {
  it('are those of node:net for a port that nobody has, by name and by number', async () => {
    const before = sockets();
    for (const host of ['127.0.0.1', '::1', 'localhost']) {
      const options = { host, port: 9 };
      expect(await failure(TcpStream.connect(options))).toMatchObject({
        code: (await nodeFailure(options)).code,
      });
    }
    await expect.poll(sockets, POLL).toBeLessThanOrEqual(before);
  });
});
