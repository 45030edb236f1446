import { BufferPool, batch, files, metrics, Op, type OpMetrics, opKind, sleep, submit } from '@ouro/runtime';
import { nop, nopOp } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { itOnRing } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';

const ENOENT = -2;

const NONE: OpMetrics = {
  submitted: 0,
  inFlight: 0,
  completed: 0,
  failed: 0,
  cancelled: 0,
  shots: 0,
  unseen: 0,
  elsewhere: 0,
};

/** How the counts of an opcode change while `work` runs. */
async function change(opcode: string, work: () => Promise<unknown>): Promise<OpMetrics> {
  const before = metrics().ops[opcode] ?? NONE;
  await work();
  const after = metrics().ops[opcode] ?? NONE;
  const keys = Object.keys(NONE) as (keyof OpMetrics)[];
  return Object.fromEntries(keys.map((key) => [key, after[key] - before[key]])) as unknown as OpMetrics;
}

describe('metrics().ops', () => {
  it('counts ops that end well', async () => {
    const changed = await change('NOP', () => Promise.all(Array.from({ length: 300 }, () => nop())));
    expect(changed).toEqual({ ...NONE, submitted: 300, completed: 300 });
  });

  it('counts ops that fail', async () => {
    const changed = await change('NOP', () => Promise.allSettled([nop(ENOENT), nop(), nop(ENOENT)]));
    expect(changed).toEqual({ ...NONE, submitted: 3, completed: 1, failed: 2 });
  });

  it('counts ops that are cancelled, and the request to cancel them', async () => {
    const requests = await change('ASYNC_CANCEL', async () => {
      const changed = await change('TIMEOUT', async () => {
        const sleeping = sleep(1e6);
        sleeping.cancel();
        await sleeping.catch(() => {});
      });
      expect(changed).toEqual({ ...NONE, submitted: 1, cancelled: 1 });
    });
    expect(requests).toEqual({ ...NONE, unseen: 1 });
  });

  it('takes a sleep that has run its time for one that ended well', async () => {
    expect(await change('TIMEOUT', () => sleep(1))).toEqual({ ...NONE, submitted: 1, completed: 1 });
  });

  it('counts ops in flight', async () => {
    const sleeping = sleep(1e6);
    expect(metrics().ops.TIMEOUT.inFlight).toBe(1);
    sleeping.cancel();
    await sleeping.catch(() => {});
    expect(metrics().ops.TIMEOUT.inFlight).toBe(0);
  });

  it('counts the completions of a multishot op that are not its last as shots', async () => {
    const { stdout } = await runProgram(`
      import { interval, metrics } from '@ouro/runtime';
      let ticks = 0;
      for await (const ticked of interval(1)) if ((ticks += ticked) >= 5) break;
      const { submitted, shots, completed, cancelled } = metrics().ops.TIMEOUT;
      console.log(submitted, shots >= 5, completed, cancelled);
    `);
    expect(stdout).toBe('1 true 0 1\n');
  });

  it('counts each member of a batch', async () => {
    const changed = await change('NOP', () => batch([nopOp(), nopOp(ENOENT), nopOp()], { settle: true }));
    expect(changed).toEqual({ ...NONE, submitted: 3, completed: 2, failed: 1 });
  });
});

describe('metrics() counts what is done without the ring', () => {
  it('op by op and in sum, where the kernel lacks an opcode', async () => {
    const { stdout, stderr } = await runProgram(
      `
        import { batch, metrics, submit } from '@ouro/runtime';
        import { ftruncate } from '@ouro/fs/ops';
        import { File } from '@ouro/fs';
        import { mkdtempSync, statSync } from 'node:fs';
        const path = mkdtempSync('/tmp/ouro-metrics-') + '/file';
        const file = await File.open(path, 'w');
        await submit(ftruncate(file, 10));
        await batch([ftruncate(file, 20), ftruncate(file, 20)]);
        const { fallbacks, ops } = metrics();
        console.log(fallbacks, ops.FTRUNCATE.elsewhere, ops.FTRUNCATE.submitted, statSync(path).size);
      `,
      { env: { OURO_WITHOUT: 'FTRUNCATE' } },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('3 3 0 20\n');
  });
});

describe('metrics() names the engine', () => {
  const told = (env: NodeJS.ProcessEnv, options = '{}') =>
    runProgram(
      `
        import { metrics, run, sleep } from '@ouro/runtime';
        console.log(metrics().driver, metrics().fallback);
        await run(() => sleep(1), ${options});
        const { driver, fallback } = metrics();
        console.log(driver, fallback?.reason, fallback?.code, fallback?.message.includes('was asked for'));
      `,
      { env },
    );

  itOnRing('denied')('the ring, and no reason for another', async () => {
    for (const OURO_DRIVER of ['', 'uring', 'fusion']) {
      expect((await told({ OURO_DRIVER })).stdout).toBe('null null\nuring undefined undefined undefined\n');
    }
  });

  it('user space where it is asked for, by the environment or the program', async () => {
    const asked = 'null null\npoll asked for null true\n';
    expect((await told({ OURO_DRIVER: 'poll' })).stdout).toBe(asked);
    expect((await told({ OURO_DRIVER: 'uring' }, "{ driver: 'poll' }")).stdout).toBe(asked);
  });
});

describe('metrics() counts what is short', () => {
  const IORING_OP_RECV = 27;
  const IOSQE_BUFFER_SELECT = 0x20;

  it('receives that found no provided buffer', async () => {
    const { stdout, stderr } = await runProgram(`
      import { metrics, Op, opKind, submit } from '@ouro/runtime';
      import { BufferRing } from '@ouro/runtime/driver';
      import { TcpListener, TcpStream } from '@ouro/net';
      const listener = await TcpListener.bind({ host: '127.0.0.1' });
      const accepting = listener.accept();
      const client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
      const server = await accepting;
      await client.writeAll(Buffer.alloc(10));
      const ring = new BufferRing({ entries: 1, size: 4, incremental: false });
      const receive = () => {
        const op = new Op(opKind('recv'), ${IORING_OP_RECV}).on(server);
        op.flags |= ${IOSQE_BUFFER_SELECT};
        op.buf = ring.group;
        return submit(op);
      };
      console.log(await receive(), metrics().starved);
      console.log(await receive().catch((error) => error.code), metrics().starved);
      process.exit();
    `);
    expect(stderr).toBe('');
    expect(stdout).toBe('4 0\nENOBUFS 1\n');
  });

  it('and does not take the same error of another op for that', async () => {
    const before = metrics().starved;
    await nop(-105).catch(() => {});
    expect(metrics().starved).toBe(before);
  });
});

describe('metrics() counts what is registered', () => {
  it('pools of buffers', () => {
    const before = metrics().buffers;
    const pool = new BufferPool({ count: 2, size: 4096, register: true });
    expect(metrics().buffers).toBe(before + 1);
    pool[Symbol.dispose]();
    expect(metrics().buffers).toBe(before);
  });

  it('direct descriptors', async () => {
    expect(metrics().files).toBe(0);
    const direct = files().allocate();
    expect(metrics().files).toBe(1);
    await direct.close();
    expect(metrics().files).toBe(0);
  });
});

describe('metrics() of waiting', () => {
  it('says how long the thread slept in the ring', async () => {
    const before = metrics().idleTime;
    await sleep(20);
    expect(metrics().idleTime).toBeGreaterThan(before);
  });

  itOnRing('spin')('says how often it spun first, and how often that paid', async () => {
    const { stdout } = await runProgram(`
      import { metrics, run, sleep } from '@ouro/runtime';
      await run(async () => {
        for (let i = 0; i < 200; i++) await sleep(0.02);
        const { spins, spinHits, spinTime } = metrics();
        console.log(spins > 0, spinHits <= spins, spinTime > 0);
      }, { spin: { max: 1000, share: 1 } });
    `);
    expect(stdout).toBe('true true true\n');
  });

  it('shows no spins where they are switched off', async () => {
    const { stdout } = await runProgram(`
      import { metrics, run, sleep } from '@ouro/runtime';
      await run(async () => {
        for (let i = 0; i < 200; i++) await sleep(0.02);
        const { spins, spinHits, spinTime, idleTime } = metrics();
        console.log(spins, spinHits, spinTime, idleTime > 0);
      }, { spin: false });
    `);
    expect(stdout).toBe('0 0 0 true\n');
  });
});

describe('an op of the program’s own', () => {
  it('is counted under the kernel’s name of its opcode', async () => {
    const mine = opKind<number>('my_own');
    const changed = await change('NOP', () => submit(new Op(mine, 0)));
    expect(changed).toMatchObject({ submitted: 1, completed: 1 });
  });
});
