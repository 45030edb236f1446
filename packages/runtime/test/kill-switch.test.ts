import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand, runProgram } from '../../../testing/program.ts';
import { buildSeccompLauncher, type SeccompLauncher } from '../../../testing/seccomp.ts';

let seccomp: SeccompLauncher;
beforeAll(async () => {
  seccomp = await buildSeccompLauncher();
});
afterAll(() => seccomp.remove());

const doctor = [process.execPath, 'packages/cli/bin/ouro.js', 'doctor'];

/** Whatever of ouro asks the kernel for something when an engine or a resource is made. */
const EVERYTHING = `
  import { BufferPool, Inbox, Op, capabilities, chain, files, interval, metrics, opKind, run, sleep, submit } from '@ouro/runtime';
  import { BufferRing } from '@ouro/runtime/driver';
  import { close, futexWake } from '@ouro/runtime/ops';
  const NO_OPCODE = 250;
  import { File, readFile } from '@ouro/fs';
  import { openat, read } from '@ouro/fs/ops';
  import { TcpListener, TcpStream } from '@ouro/net';
  const main = async () => {
    const pool = new BufferPool({ count: 2, size: 4096 });
    const lease = pool.lease();
    const place = files().allocate();
    await chain([openat('package.json', 'r', undefined, { into: place }), read(place, lease.buffer.subarray(0, 100), 0), close(place)]);
    lease.release();
    const rings = new BufferRing({ entries: 2, size: 100 });
    const inbox = new Inbox();
    inbox.close();
    const file = await File.open('package.json');
    await file.stat();
    await file.close();
    const listener = await TcpListener.bind({ host: '127.0.0.1' });
    const accepting = listener.accept();
    const client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
    const server = await accepting;
    await client.writeAll('hello');
    const chunk = (await server[Symbol.asyncIterator]().next()).value.toString();
    await Promise.all([client.close(), server.close(), listener.close(), readFile('package.json'), sleep(1)]);
    for await (const _ of interval(1)) break;
    await submit(futexWake(new Int32Array(new SharedArrayBuffer(4)), 0));
    const refused = await submit(new Op(opKind('future'), NO_OPCODE)).catch(({ code }) => code);
    const { driver, fallback } = metrics();
    console.log(chunk, refused, driver, fallback.reason, capabilities().available);
  };
`;

const SEEN = 'hello ERR_OURO_UNSUPPORTED poll asked for null\n';

describe('where a call of io_uring ends the process', () => {
  it('a program that asks for the ring, or for whichever there is, ends', async () => {
    for (const OURO_DRIVER of ['', 'uring']) {
      const ended = await runProgram(`import { run } from '@ouro/runtime'; await run(() => {});`, {
        under: seccomp.kill(),
        env: { OURO_DRIVER },
      });
      expect(ended.signal).toBe('SIGSYS');
    }
  });

  it('OURO_DRIVER=poll makes none: not for ops, not for resources, not to explain itself', async () => {
    const { stdout, stderr, code, signal } = await runProgram(`${EVERYTHING} await run(main);`, {
      under: seccomp.kill(),
      env: { OURO_DRIVER: 'poll' },
    });
    expect({ stdout, stderr, code, signal }).toEqual({ stdout: SEEN, stderr: '', code: 0, signal: null });
  });

  it("run(main, { driver: 'poll' }) makes none, whatever else is asked for", async () => {
    const options = `{
      driver: 'poll', entries: 8, spin: true, minWait: { completions: 2, us: 10 }, fixedFiles: 64,
      workers: { bounded: 1, unbounded: 1 },
    }`;
    const { stdout, stderr, code } = await runProgram(`${EVERYTHING} await run(main, ${options});`, {
      under: seccomp.kill(),
      env: { OURO_DRIVER: 'uring' },
    });
    expect({ stdout, stderr, code }).toEqual({ stdout: SEEN, stderr: '', code: 0 });
  });

  it('options that insist on the ring are refused before anybody asks for it', async () => {
    const { stdout, code } = await runProgram(
      `
        import { run } from '@ouro/runtime';
        for (const insisting of [{ sqpoll: true }, { iopoll: true }, { driver: 'uring' }]) {
          try { await run(() => {}, insisting); } catch (error) { console.log(error.code, error.message); }
        }
      `,
      { under: seccomp.kill(), env: { OURO_DRIVER: 'poll' } },
    );
    expect(stdout).toMatch(
      /^ERR_OURO_URING_UNAVAILABLE .*sqpoll.*\nERR_OURO_URING_UNAVAILABLE .*iopoll.*\nERR_OURO_URING_UNAVAILABLE .*'uring'.*\n$/,
    );
    expect(code).toBe(0);
  });

  it('workers make none, whether they end by themselves or are terminated', async () => {
    const { stdout, stderr, code } = await runProgram(
      `
        import { Worker } from 'node:worker_threads';
        import { once } from 'node:events';
        const url = (name) => JSON.stringify(import.meta.resolve(name));
        const source = \`
          import { parentPort, workerData } from 'node:worker_threads';
          import { metrics, run, sleep } from \${url('@ouro/runtime')};
          import { readFile } from \${url('@ouro/fs')};
          run(async () => {
            await readFile('package.json');
            parentPort.postMessage(metrics().driver);
            if (workerData) await sleep(1e9);
          });
        \`;
        for (const workerData of [false, true]) {
          const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(source)), { workerData });
          const exited = once(worker, 'exit');
          console.log((await once(worker, 'message'))[0]);
          if (workerData) worker.terminate();
          await exited;
        }
      `,
      { under: seccomp.kill(), env: { OURO_DRIVER: 'poll' } },
    );
    expect({ stdout, stderr, code }).toEqual({ stdout: 'poll\npoll\n', stderr: '', code: 0 });
  });

  it('nor do workers that have another environment', async () => {
    const { stdout, signal } = await runProgram(
      `
        import { Worker } from 'node:worker_threads';
        import { once } from 'node:events';
        const source = \`
          import { parentPort } from 'node:worker_threads';
          import { metrics, run, sleep } from \${JSON.stringify(import.meta.resolve('@ouro/runtime'))};
          await run(() => sleep(1));
          parentPort.postMessage(metrics().driver);
        \`;
        const url = new URL('data:text/javascript,' + encodeURIComponent(source));
        for (const env of [{}, { OURO_DRIVER: 'uring' }, { OURO_DRIVER: 'fusion' }]) {
          console.log((await once(new Worker(url, { env }), 'message'))[0]);
        }
      `,
      { under: seccomp.kill(), env: { OURO_DRIVER: 'poll' } },
    );
    expect({ stdout, signal }).toEqual({ stdout: 'poll\npoll\npoll\n', signal: null });
  });

  it.each([[[]], [['--json']]])('ouro doctor %j with OURO_DRIVER=poll makes none', async (options) => {
    const { stdout, stderr, code } = await runCommand([...seccomp.kill(), ...doctor, ...options], {
      env: { OURO_DRIVER: 'poll' },
    });
    expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
    expect(stdout).toContain('poll');
  });

  it('importing the packages makes none', async () => {
    const { stdout, code } = await runProgram(
      `
        await Promise.all(['@ouro/native', '@ouro/runtime', '@ouro/fs', '@ouro/net', '@ouro/cli'].map((name) => import(name)));
        const { metrics } = await import('@ouro/runtime');
        console.log(metrics().driver);
      `,
      { under: seccomp.kill(), env: { OURO_DRIVER: '' } },
    );
    expect({ stdout, code }).toEqual({ stdout: 'null\n', code: 0 });
  });
});
