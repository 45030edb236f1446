import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { explain } from '@ouro/native';
import { describe, expect, it, vi } from 'vitest';
import { describeOnRing, itOnRing } from '../../../testing/engine.ts';
import { canTrace, runProgram } from '../../../testing/program.ts';

// The kernel's thread and the program's take turns where something else has the other CPU.
vi.setConfig({ testTimeout: 110_000 });

/** What the options are to be is said here, whatever the environment of the tests says. */
const plain = { OURO_SQPOLL: '', OURO_IOPOLL: '', OURO_SPIN: '', OURO_MIN_WAIT: '' };

const IMPORTS = `
  import { run, sleep, metrics } from '@ouro/runtime';
  import { nop, reactor } from '@ouro/runtime/driver';
  import * as layout from '@ouro/native/layout';
  const counter = (name) => reactor().counters[layout[name]];
  const { setTimeout: later } = await import('node:timers/promises');
`;

/** Runs `body` on a ring with `options`; answers the JSON it logs. The process must end by itself and in peace. */
async function onRing(options: string, body: string, env: NodeJS.ProcessEnv = {}): Promise<unknown> {
  const { stdout, stderr, code } = await runProgram(
    `${IMPORTS} await run(async () => { ${body} }, ${options});`,
    {
      env: { ...plain, ...env },
      limitMs: 100_000,
    },
  );
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

const ECHO = `
  const { TcpListener, TcpStream } = await import('@ouro/net');
  const listener = await TcpListener.bind({ host: '127.0.0.1' });
  const serving = (async () => {
    for await (const stream of listener) for await (const chunk of stream) await stream.writeAll(chunk);
  })();
  const client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
  const buffer = Buffer.alloc(64);
  const trip = async () => {
    await client.writeAll('ping');
    for (let got = 0; got < 4; ) got += await client.read(buffer);
  };
`;

/** Enters of one process as strace counts them. */
function entersIn(summary: string): number {
  const row = /^.*\bio_uring_enter$/m.exec(summary);
  return row === null ? 0 : Number(row[0].trim().split(/\s+/)[3]);
}

describeOnRing('sqpoll')('SQPOLL', () => {
  // A spin long enough for whatever else runs on the machine, and no limit of what it may waste.
  const patient = '{ sqpoll: true, spin: { max: 10_000, share: 1 } }';

  it('works files, sockets, timers and the rest of Node', async () => {
    expect(
      await onRing(
        '{ sqpoll: true }',
        `
          ${ECHO}
          for (let i = 0; i < 100; i++) await trip();
          const { readFile } = await import('@ouro/fs');
          const fs = await import('node:fs');
          const same = (await readFile('package.json')).equals(await fs.promises.readFile('package.json'));
          await sleep(5);
          await later(5);
          const cancelled = sleep(1e6);
          cancelled.cancel();
          const ended = await cancelled.catch((error) => error.name);
          await client.close();
          await listener.close();
          console.log(JSON.stringify({ sqpoll: (reactor().ring.setupFlags & 2) !== 0, same, ended, pending: metrics().pending }));
        `,
      ),
    ).toEqual({ sqpoll: true, same: true, ended: 'AbortError', pending: 0 });
  });

  it.runIf(availableParallelism() > 1)(
    'makes next to no system calls for thousands of nops and echoes',
    async () => {
      const result = (await onRing(
        patient,
        `
        ${ECHO}
        for (let i = 0; i < 500; i++) { await nop(); await trip(); }
        const before = metrics();
        for (let i = 0; i < 5000; i++) await nop();
        const between = metrics();
        for (let i = 0; i < 1000; i++) await trip();
        const after = metrics();
        await client.close();
        await listener.close();
        console.log(JSON.stringify({
          nops: between.sqes - before.sqes, forNops: between.enters - before.enters,
          echoes: after.sqes - between.sqes, forEchoes: after.enters - between.enters,
        }));
      `,
      )) as { nops: number; forNops: number; echoes: number; forEchoes: number };
      expect(result.nops).toBeGreaterThanOrEqual(5000);
      expect(result.echoes).toBeGreaterThanOrEqual(3000);
      // None but where something else had the CPU for longer than the spin.
      expect(result.forNops).toBeLessThan(result.nops / 20);
      expect(result.forEchoes).toBeLessThan(result.echoes / 20);
    },
  );

  it.runIf(availableParallelism() > 1)(
    'makes none that strace can see either',
    async (context) => {
      const folder = mkdtempSync(join(tmpdir(), 'ouro-strace-'));
      const enters = async (rounds: number): Promise<number> => {
        const summary = join(folder, `${rounds}`);
        const { stdout } = await runProgram(
          `${IMPORTS} await run(async () => { for (let i = 0; i < ${rounds}; i++) await nop(); console.log('done'); }, ${patient});`,
          {
            under: ['strace', '-f', '-c', '-e', 'trace=io_uring_enter', '-o', summary],
            env: plain,
            limitMs: 60_000,
          },
        );
        expect(stdout).toBe('done\n');
        return entersIn(readFileSync(summary, 'utf8'));
      };
      try {
        if (!(await canTrace())) context.skip('strace does not work here');
        const few = await enters(10);
        expect((await enters(5010)) - few).toBeLessThan(50);
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
    150_000,
  );

  it('wakes the thread after it went to sleep, once', async () => {
    const result = await onRing(
      '{ sqpoll: { idle: 1 } }',
      `
        const order = [];
        for (let i = 0; i < 5; i++) {
          await nop();
          await later(60);
          order.push(counter('WAKEUPS'));
        }
        const all = order.every((count, i) => i === 0 || count > order[i - 1]);
        console.log(JSON.stringify([all, counter('WAKEUPS') <= 12]));
      `,
    );
    expect(result).toEqual([true, true]);
  });

  it('never overwrites what the thread has not taken: a queue of 8, 20,000 ops in order', async () => {
    const result = await onRing(
      '{ sqpoll: { idle: 1 }, entries: 8, cqEntries: 8 }',
      `
        const order = [];
        const all = [];
        for (let i = 0; i < 20_000; i++) all.push(nop(i % 1000).then((result) => order.push(result)));
        await Promise.all(all);
        const { sqes, cqes, pending, inFlight, stale, overflows } = metrics();
        console.log(JSON.stringify({ right: order.every((result, i) => result === i % 1000), sqes: sqes >= 20_000, cqes, pending, inFlight, stale }));
      `,
    );
    expect(result).toEqual({ right: true, sqes: true, cqes: 20_000, pending: 0, inFlight: 0, stale: 0 });
  });

  it('loses nothing when the completion queue overflows', async () => {
    const result = await onRing(
      '{ sqpoll: true, entries: 8, cqEntries: 8 }',
      `
        const all = Array.from({ length: 1000 }, () => sleep(5));
        await sleep(0);
        const until = performance.now() + 30;
        while (performance.now() < until);
        await Promise.all(all);
        console.log(JSON.stringify([metrics().overflows > 0, metrics().pending]));
      `,
    );
    expect(result).toEqual([true, 0]);
  });

  it('mixes up no bytes of connections whose receives end because the completion queue is full', async () => {
    // Many connections share the provided buffers, and we make room in the queue while the kernel fills it.
    const result = await onRing(
      '{ sqpoll: true, entries: 8, cqEntries: 8 }',
      `
        const { TcpListener, TcpStream } = await import('@ouro/net');
        const { randomBytes } = await import('node:crypto');
        const noise = randomBytes(1 << 20);
        const size = 100_000;
        const listener = await TcpListener.bind({ host: '127.0.0.1' });
        const { port } = listener.address;
        const ends = [];
        for (let i = 0; i < 100; i++) ends.push(await Promise.all([listener.accept(), TcpStream.connect({ host: '127.0.0.1', port })]));
        const right = await Promise.all(ends.map(async ([server, client], i) => {
          const sending = client.writeAll(noise.subarray(i, i + size)).then(() => client.shutdown());
          let at = i;
          for await (const chunk of server) {
            if (!chunk.equals(noise.subarray(at, at + chunk.length))) return false;
            at += chunk.length;
          }
          await sending;
          return at - i === size;
        }));
        await Promise.all(ends.flat().map((stream) => stream.close()));
        await listener.close();
        console.log(JSON.stringify([right.every(Boolean), metrics().overflows > 0, metrics().pending, metrics().stale]));
      `,
    );
    expect(result).toEqual([true, true, 0, 0]);
  });

  it('lets an idle process sleep, also in the kernel', async () => {
    const result = await onRing(
      '{ sqpoll: { idle: 1 } }',
      `
        const forever = sleep(1e9);
        await nop();
        await later(50);
        const before = metrics();
        const cpu = process.cpuUsage();
        await later(300);
        const { user, system } = process.cpuUsage(cpu);
        console.log(JSON.stringify([metrics().enters - before.enters <= 6, user + system < 150_000]));
        forever.cancel();
        await forever.catch(() => {});
      `,
    );
    expect(result).toEqual([true, true]);
  });

  it.each([
    ['process.exit', 'process.exit(7);', 7],
    ['process.exit in a completion', 'nop().then(() => process.exit(8));', 8],
    ['an exception in a completion', "nop().then(() => { throw new Error('thrown'); });", 1],
  ])('ends by %s with ops in flight', async (_, end, expected) => {
    const { code } = await runProgram(
      `
        ${IMPORTS}
        run(async () => {
          ${ECHO}
          client.read(Buffer.alloc(10)).catch(() => {});
          sleep(1e9).catch(() => {});
          await trip().catch(() => {});
          ${end}
        }, { sqpoll: true }).catch(() => { process.exitCode = 1; throw new Error(); });
      `,
      { env: plain },
    );
    expect(code).toBe(expected);
  });

  it('is left in peace by workers that are terminated with I/O in flight', async () => {
    const { stdout, stderr } = await runProgram(
      `
        import { Worker } from 'node:worker_threads';
        import { once } from 'node:events';
        import { readdirSync, readlinkSync } from 'node:fs';
        const url = (name) => JSON.stringify(import.meta.resolve(name));
        const source = \`
          import { parentPort } from 'node:worker_threads';
          import { run, sleep } from \${url('@ouro/runtime')};
          import { File } from \${url('@ouro/fs')};
          import { TcpListener, TcpStream } from \${url('@ouro/net')};
          run(async () => {
            const listener = await TcpListener.bind({ host: '127.0.0.1' });
            const accepted = listener.accept();
            const client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
            const server = await accepted;
            const file = await File.open('/dev/urandom');
            const bytes = new Uint8Array(65536);
            sleep(1e9);
            client.read(Buffer.alloc(100));
            parentPort.postMessage('busy');
            for (;;) {
              await Promise.all([file.read(bytes), server.writeAll(Buffer.alloc(4096)), client.read(Buffer.alloc(8192))]);
            }
          }, { sqpoll: true }).catch((error) => parentPort.postMessage(error.message));
        \`;
        const messages = new Set();
        const open = () => readdirSync('/proc/self/fd').filter((fd) => {
          try { return /io_uring|socket|urandom/.test(readlinkSync('/proc/self/fd/' + fd)); } catch { return false; }
        }).length;
        const before = open();
        for (let i = 0; i < 12; i++) {
          const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(source)));
          const [message] = await once(worker, 'message');
          messages.add(message);
          await new Promise((done) => setTimeout(done, i));
          await worker.terminate();
        }
        console.log([...messages].join(), open() - before);
      `,
      { env: plain, limitMs: 28_000 },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('busy 0\n');
  });
});

describeOnRing('iopoll')('IOPOLL', () => {
  const kinds = ['{ iopoll: true }', "{ iopoll: 'hybrid' }", '{ iopoll: true, sqpoll: { idle: 5 } }'];

  it.each(kinds)('with %s completes nops beside timers, immediates and node:fs', async (options) => {
    const result = await onRing(
      options,
      `
        for (let i = 0; i < 500; i++) await nop();
        const all = Promise.all(Array.from({ length: 3000 }, (_, i) => nop(i % 5)));
        const { readFile } = await import('node:fs/promises');
        const text = await readFile('package.json', 'utf8');
        await later(5);
        await new Promise(setImmediate);
        const sum = (await all).reduce((a, b) => a + b, 0);
        const refused = await sleep(1).catch((error) => error.code);
        console.log(JSON.stringify([sum, text.includes('ouro'), refused, metrics().pending]));
      `,
    );
    expect(result).toEqual([6000, true, 'EINVAL', 0]);
  });

  it.each(kinds)(
    'with %s reads a file of O_DIRECT where the device can be polled, and says so where not',
    async (options) => {
      const result = await onRing(
        options,
        `
        const fs = await import('node:fs');
        const fd = fs.openSync('package.json', fs.constants.O_RDONLY | fs.constants.O_DIRECT);
        const r = reactor();
        const memory = r.addon.allocate(4096);
        const bytes = new Uint8Array(memory);
        const IORING_OP_READ = 22;
        const read = () => new Promise((done) => {
          const completion = { resultIsFd: false, refed: true, complete: done };
          r.push(r.take(completion), IORING_OP_READ, fd, 0, r.addon.addressOf(bytes), 4096, 0, 0, 0);
        });
        const ended = new Set(await Promise.all([read(), read()]));
        const size = Math.min(4096, fs.fstatSync(fd).size);
        console.log(JSON.stringify([...ended].map((result) => result === size ? 'read' : result)));
      `,
      );
      // EOPNOTSUPP: no queue of the device is polled (/sys/block/*/queue/io_poll is 0).
      expect([['read'], [-95]]).toContainEqual(result);
    },
  );

  it('lets an idle process sleep, and end', async () => {
    const result = await onRing(
      '{ iopoll: true }',
      `
        await nop();
        const before = metrics();
        await later(200);
        console.log(JSON.stringify(metrics().enters - before.enters <= 4));
      `,
    );
    expect(result).toBe(true);
  });

  it('ends by process.exit and in a terminated worker with ops queued', async () => {
    const { stdout, stderr, code } = await runProgram(
      `
        import { Worker } from 'node:worker_threads';
        import { once } from 'node:events';
        import { run } from '@ouro/runtime';
        import { nop } from '@ouro/runtime/driver';
        const url = (name) => JSON.stringify(import.meta.resolve(name));
        const source = \`
          import { parentPort } from 'node:worker_threads';
          import { run } from \${url('@ouro/runtime')};
          import { nop } from \${url('@ouro/runtime/driver')};
          run(async () => {
            parentPort.postMessage('busy');
            for (;;) await Promise.all(Array.from({ length: 100 }, () => nop()));
          }, { iopoll: true });
        \`;
        for (let i = 0; i < 5; i++) {
          const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(source)));
          await once(worker, 'message');
          await worker.terminate();
        }
        console.log('workers ended');
        run(() => { for (let i = 0; i < 1000; i++) nop(); process.exit(6); }, { iopoll: true });
      `,
      { env: plain },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('workers ended\n');
    expect(code).toBe(6);
  });
});

describe('a mode that the kernel refuses', () => {
  itOnRing('denied')('is an error that names it, and no ring without it', async () => {
    const { stdout } = await runProgram(
      `
        import { run } from '@ouro/runtime';
        await run(() => console.log('never'), { sqpoll: { cpu: 4095 } }).catch((error) => console.log(error.code, error.reason, error.message));
      `,
      { env: plain },
    );
    expect(stdout).toContain('ERR_OURO_URING_UNAVAILABLE mode');
    expect(stdout).toContain('sqpoll.cpu');
  });

  it.each([
    ['SQPOLL', -1, 'forbidden'],
    ['SQPOLL', -11, 'ulimit -u'],
    ['SQPOLL', -12, 'memory'],
    ['IOPOLL', -22, 'option iopoll'],
    ['HYBRID_IOPOLL', -22, '6.13'],
  ] as const)('%s with %i is explained', (mode, result, advice) => {
    const error = explain({ result, mode, sysctl: 0, seccomp: 2, kernel: '6.1.0' });
    expect(error).toMatchObject({ reason: 'mode', errno: result });
    expect(error.message).toContain(advice);
  });
});

describe('spinning', () => {
  itOnRing('spin')('finds completions that come soon, without sleeping', async () => {
    const result = await onRing(
      '{ spin: { max: 1000, share: 1 } }',
      `
        ${ECHO}
        for (let i = 0; i < 100; i++) await sleep(0.2);
        const before = [counter('SPINS'), counter('SPIN_HITS'), counter('SPIN_NS')];
        for (let i = 0; i < 300; i++) await sleep(0.2);
        const spins = counter('SPINS') - before[0];
        const hits = counter('SPIN_HITS') - before[1];
        await client.close();
        await listener.close();
        console.log(JSON.stringify([spins >= 100, hits / spins > 0.5, counter('SPIN_NS') > before[2], reactor().words[layout.SPIN_BUDGET_NS] > 0]));
      `,
    );
    expect(result).toEqual([true, true, true, true]);
  });

  it('gives up where completions come late', async () => {
    const result = await onRing(
      '{ spin: { max: 50, share: 1 } }',
      `
        for (let i = 0; i < 50; i++) await sleep(1);
        const before = counter('SPINS');
        for (let i = 0; i < 100; i++) await sleep(1);
        console.log(JSON.stringify([counter('SPINS') - before <= 2, reactor().words[layout.SPIN_BUDGET_NS], counter('IDLE_NS') > 50e6]));
      `,
    );
    expect(result).toEqual([true, 0, true]);
  });

  itOnRing('spin')('wastes no more than its share', async () => {
    const result = (await onRing(
      '{ spin: { max: 10_000, share: 0.05 } }',
      `
        // As hard to guess as can be: a spin of 10 ms catches some, and misses the most.
        const begin = performance.now();
        for (let i = 0; i < 60; i++) { await sleep(1); await sleep(14); }
        console.log(JSON.stringify({ wasted: counter('SPIN_NS') / 1e6 - counter('SPIN_HITS') * 10, passed: performance.now() - begin }));
      `,
    )) as { wasted: number; passed: number };
    // What may be wasted at the start: eight spins.
    expect(result.wasted).toBeLessThan(result.passed * 0.05 + 90);
  });

  it('does not hold timers, immediates and the thread pool up', async () => {
    const result = await onRing(
      '{ spin: { max: 10_000, share: 1 } }',
      `
        const forever = sleep(1e9);
        for (let i = 0; i < 200; i++) await sleep(0.1);
        const order = [];
        await Promise.all([later(3).then(() => order.push('timer')), sleep(30).then(() => order.push('ring'))]);
        const { readFile } = await import('node:fs/promises');
        for (let i = 0; i < 50; i++) await readFile('package.json');
        let immediates = 0;
        await new Promise((done) => { const next = () => (++immediates === 1000 ? done() : setImmediate(next)); next(); });
        forever.cancel();
        await forever.catch(() => {});
        console.log(JSON.stringify([order.join(), immediates]));
      `,
    );
    expect(result).toEqual(['timer,ring', 1000]);
  });

  it('can be switched off', async () => {
    const result = await onRing(
      '{ spin: false }',
      `for (let i = 0; i < 100; i++) await sleep(0.1); console.log(JSON.stringify([counter('SPINS'), counter('IDLE_NS') > 0]));`,
    );
    expect(result).toEqual([0, true]);
  });
});

describe('minWait', () => {
  itOnRing('minWait')('gathers completions into fewer batches', async () => {
    // Eight connections whose bytes come one after the other, from a thread that is not ours to hold up. (Not timeouts:
    // the kernel ends a wait with each of those.)
    const program = `
      const { Worker } = await import('node:worker_threads');
      const { TcpListener } = await import('@ouro/net');
      const listener = await TcpListener.bind({ host: '127.0.0.1' });
      const worker = new Worker(
        "import { connect } from 'node:net'; import { workerData } from 'node:worker_threads';" +
        "const all = Array.from({ length: 8 }, () => connect(workerData, '127.0.0.1'));" +
        "const step = (n) => n < 160 && (all[n % 8].write('x'), setTimeout(step, 1, n + 1)); setTimeout(step, 100, 0);",
        { eval: true, workerData: listener.address.port },
      );
      const streams = [];
      for (let i = 0; i < 8; i++) streams.push(await listener.accept());
      const bytes = streams.map(() => Buffer.alloc(16));
      const before = metrics().batches;
      let got = 0;
      await Promise.all(streams.map(async (stream, i) => { for (let n = 0; n < 20; ) { const more = await stream.read(bytes[i]); n += more; got += more; } }));
      const batches = metrics().batches - before;
      await worker.terminate();
      for (const stream of streams) await stream.close();
      await listener.close();
      console.log(JSON.stringify([got, batches]));
    `;
    const alone = (await onRing('{}', program)) as [number, number];
    const gathered = (await onRing('{ minWait: { completions: 8, us: 20_000 } }', program)) as [
      number,
      number,
    ];
    expect([alone[0], gathered[0]]).toEqual([160, 160]);
    expect(gathered[1]).toBeLessThan(alone[1] / 2);
  });

  it('does not wait for more completions than there are ops, nor beyond a timer', async () => {
    const result = await onRing(
      '{ minWait: { completions: 64, us: 1_000_000 } }',
      `
        const begin = performance.now();
        for (let i = 0; i < 5; i++) await sleep(1);
        const forever = Array.from({ length: 100 }, () => sleep(1e9));
        await Promise.race([later(20), ...forever]);
        const quick = performance.now() - begin < 900;
        for (const one of forever) { one.cancel(); one.catch(() => {}); }
        await Promise.allSettled(forever);
        console.log(JSON.stringify([quick, metrics().pending]));
      `,
    );
    expect(result).toEqual([true, 0]);
  });
});
