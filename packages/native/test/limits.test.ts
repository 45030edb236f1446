import { getuid } from 'node:process';
import { describe, expect, it } from 'vitest';
import { itOnRing } from '../../../testing/engine.ts';
import { type Ended, runProgram } from '../../../testing/program.ts';

/** As somebody whom limits bind: root has CAP_IPC_LOCK. */
const unprivileged =
  getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all'] : [];

describe('limits', () => {
  it('64 KiB of locked memory are enough for files, connections and 5,000 ops in flight', async () => {
    const { stdout, stderr, code } = await runProgram(
      `
        import { run, sleep, metrics } from '@ouro/runtime';
        import { readFile } from '@ouro/fs';
        import { TcpListener, TcpStream } from '@ouro/net';
        await run(async () => {
          const text = await readFile('/proc/self/limits', 'utf8');
          const listener = await TcpListener.bind({ host: '127.0.0.1' });
          (async () => { for await (const stream of listener) for await (const chunk of stream) await stream.writeAll(chunk); })();
          const client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
          await client.writeAll('hello');
          const buffer = Buffer.alloc(10);
          const n = await client.read(buffer);
          const sleeps = Array.from({ length: 5000 }, () => sleep(1));
          await Promise.all(sleeps);
          await client.close();
          await listener.close();
          console.log(/Max locked memory +65536 +65536/.test(text), buffer.toString('utf8', 0, n));
        });
      `,
      { under: ['prlimit', '--memlock=65536:65536', ...unprivileged] },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('true hello\n');
    expect(code).toBe(0);
  });

  it('48 descriptors are enough to load every package and read a file', async () => {
    const { stdout, stderr } = await runProgram(
      `
        import * as fs from '@ouro/fs';
        import * as fsOps from '@ouro/fs/ops';
        import * as net from '@ouro/net';
        import * as netOps from '@ouro/net/ops';
        import { run } from '@ouro/runtime';
        import * as ops from '@ouro/runtime/ops';
        await run(async () => console.log((await fs.readFile('/proc/self/limits', 'utf8')).match(/open files +[0-9]+/)[0]));
      `,
      { under: ['prlimit', '--nofile=48:48'] },
    );
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^open files +48\n$/);
  });

  describe('no descriptor left', () => {
    const none = (OURO_DRIVER: string): Promise<Ended> =>
      runProgram(
        `
          import { openSync } from 'node:fs';
          import { run } from '@ouro/runtime';
          import { addon } from '@ouro/native';
          addon();
          try { for (;;) openSync('/dev/null'); } catch {}
          await run(() => {}).catch(({ code, message, cause }) => console.log(code, message.includes('EMFILE'), cause?.reason));
        `,
        { under: ['prlimit', '--nofile=64'], env: { OURO_DRIVER } },
      );

    itOnRing('denied')('for the ring is an error that says so', async () => {
      expect((await none('uring')).stdout).toBe('ERR_OURO_URING_UNAVAILABLE true undefined\n');
    });

    it('for the poll engine is that of the system', async () => {
      expect((await none('poll')).stdout).toBe('EMFILE true undefined\n');
    });

    itOnRing('denied')('for either is that of the second, caused by the denial of the first', async () => {
      expect((await none('fusion')).stdout).toBe('EMFILE true descriptors\n');
    });
  });
});
