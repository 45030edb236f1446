import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import {
  closeSync,
  constants,
  mkdirSync,
  open,
  openSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { File } from '@ouro/fs';
import * as ops from '@ouro/fs/ops';
import {
  batch,
  capabilities,
  chain,
  files,
  latencies,
  measureLatency,
  metrics,
  type Op,
  sleep,
  submit,
  type TracedOp,
  trace,
} from '@ouro/runtime';
import { asyncCancel, nop } from '@ouro/runtime/ops';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { failure, fifo, openDescriptors, submitted, temporaryDirectory, thrown } from './support.ts';

// The ops of our own on their way: waiting for a thread, cancelled, timed out, with their file closed, their worker ended.

const root = temporaryDirectory();
const dir = join(root, 'dir');
const path = join(dir, 'file');
beforeEach(() => {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir);
  writeFileSync(path, 'content');
});

const THREADS = 4;
let pipes = 0;
let free: (() => Promise<void>) | null = null;

/** Has all threads of libuv's pool wait for a named pipe, until `free` is called. */
function occupyPool(): void {
  const pipe = fifo(join(root, `pipe-${pipes++}`));
  const opens = Array.from(
    { length: THREADS },
    () =>
      new Promise<void>((done) => {
        open(pipe, 'r', (_error, fd) => {
          closeSync(fd);
          done();
        });
      }),
  );
  free = async () => {
    free = null;
    const other = openSync(pipe, 'r+');
    await Promise.all(opens);
    closeSync(other);
  };
}
afterEach(async () => {
  await free?.();
});

/** One op of each kind on `file`, `other` and the directory. */
function each(file: File, other: File, directory: File, watcher: number): Record<string, Op<unknown>> {
  const buffer = (): Buffer => Buffer.alloc(512);
  return {
    getdents: ops.getdents(directory, buffer()),
    readlinkat: ops.readlinkat('link', { dirfd: directory }),
    realpathat: ops.realpathat(path),
    fchmodat: ops.fchmodat(path, 0o600),
    fchmod: ops.fchmod(file, 0o600),
    fchownat: ops.fchownat(path, -1, -1),
    fchown: ops.fchown(file, -1, -1),
    utimensat: ops.utimensat(path, 1, 1),
    futimens: ops.futimens(file, 1, 1),
    faccessat: ops.faccessat('file', 0, { dirfd: directory }),
    listxattr: ops.listxattr(path),
    flistxattr: ops.flistxattr(file),
    removexattr: ops.removexattr(path, 'user.a'),
    fremovexattr: ops.fremovexattr(file, 'user.b'),
    lgetxattr: ops.lgetxattr(path, 'user.c'),
    lsetxattr: ops.lsetxattr(path, 'user.d', 'd'),
    copyFileRange: ops.copyFileRange(file, 0, other, 0, 7),
    ficlone: ops.ficlone(file, other),
    lseek: ops.lseek(file, 0, ops.SEEK_HOLE),
    mknodat: ops.mknodat(join(dir, 'new'), constants.S_IFIFO),
    statfs: ops.statfs(path),
    fstatfs: ops.statfs(file),
    inotifyAddWatch: ops.inotifyAddWatch(watcher, path, 1),
    inotifyRmWatch: ops.inotifyRmWatch(watcher, 1),
  };
}

/** What the ops need, as long as `body` runs. */
async function withAll(
  body: (all: Record<string, Op<unknown>>, handles: readonly File[]) => Promise<void>,
): Promise<void> {
  await using file = await File.open(path, 'r+');
  await using other = await File.open(join(dir, 'other'), 'w+');
  await using directory = await File.open(dir, constants.O_RDONLY);
  await using watcher = File.fromFd(await submit(ops.inotifyInit()));
  for (const name of ['a', 'b', 'c']) await submit(ops.setxattr(path, `user.${name}`, name));
  await submit(ops.symlinkat('file', join(dir, 'link')));
  await submit(ops.inotifyAddWatch(watcher, dir, ops.IN_DELETE_SELF));
  try {
    await body(each(file, other, directory, watcher.fd), [file, other, directory]);
  } finally {
    await free?.(); // closing what was written may take a thread
  }
}

describe('an op that waits for a thread of the pool', () => {
  it('is cancelled, whichever it is, and does nothing', async () => {
    await withAll(async (all) => {
      const before = statSync(path, { bigint: true });
      occupyPool();
      const futures = Object.entries(all).map(([name, op]) => [name, submit(op)] as const);
      await submitted();
      for (const [name, future] of futures) {
        future.cancel('no more');
        expect([name, await failure(future)]).toMatchObject([name, { name: 'AbortError' }]);
      }
      await free?.();
      expect(statSync(path, { bigint: true })).toEqual(before);
      expect(metrics().pending).toBe(0);
    });
  });

  it('is cancelled before it is even submitted', async () => {
    await withAll(async (all) => {
      occupyPool();
      for (const [name, op] of Object.entries(all)) {
        const future = submit(op);
        future.cancel();
        expect([name, (await failure(future)).name]).toEqual([name, 'AbortError']);
      }
    });
  });

  it('runs out of time', async () => {
    await withAll(async (all) => {
      occupyPool();
      const futures = Object.entries(all).map(([name, op]) => [name, submit(op, { timeout: 2 })] as const);
      for (const [name, future] of futures) {
        expect([name, await failure(future)]).toMatchObject([name, { code: 'ETIMEDOUT' }]);
      }
    });
  });

  it('ends with its signal, its scope and its batch', async () => {
    await withAll(async (all) => {
      occupyPool();
      const controller = new AbortController();
      const one = failure(submit(all.statfs, { signal: controller.signal }));
      const many = failure(batch(Object.values(all), { signal: controller.signal }));
      await submitted();
      controller.abort();
      expect([(await one).name, (await many).name]).toEqual(['AbortError', 'AbortError']);
    });
  });

  it('is found by the op that cancels', async () => {
    occupyPool();
    const one = submit(ops.realpathat(path));
    const many = [submit(ops.faccessat(path)), submit(ops.faccessat(path)), submit(ops.statfs(path))];
    const failures = Promise.all([one, ...many.slice(0, 2)].map((future) => failure(future)));
    await submitted();
    expect(await submit(asyncCancel({ target: one }))).toBe(1);
    expect(await submit(asyncCancel({ opcode: ops.faccessat(path).opcode, all: true }))).toBe(2);
    expect((await failures).map(({ code }) => code)).toEqual(['ECANCELED', 'ECANCELED', 'ECANCELED']);
    await free?.();
    expect(await many[2]).toBeDefined();
  });

  it('is waited for by the close of its file: the close comes behind it', async () => {
    await withAll(async (all, [file]) => {
      occupyPool();
      const order: string[] = [];
      const { fd } = file;
      const changing = submit(all.fchmod).then(() => order.push(`changed ${statSync(path).mode & 0o777}`));
      const seeking = submit(all.lseek).then(() => order.push('sought'));
      const copying = submit(all.copyFileRange).then(() => order.push('copied'));
      await submitted();
      const closing = file.close().then(() => order.push('closed'));
      await submitted();
      expect([...order, readlinkSync(`/proc/self/fd/${fd}`)]).toEqual([path]);
      await free?.();
      await Promise.all([changing, seeking, copying, closing]);
      expect(order.at(-1)).toBe('closed');
      expect([...order].sort()).toEqual(['changed 384', 'closed', 'copied', 'sought']);
      expect(readFileSync(join(dir, 'other'), 'utf8')).toBe('content');
      expect((await failure(submit(ops.fchmod(file, 0)))).code).toBe('EBADF');
    });
  });

  it('is given up by the close of its directory, if it only brings names', async () => {
    occupyPool();
    const directory = await File.open(dir, constants.O_RDONLY);
    const reading = failure(submit(ops.getdents(directory, Buffer.alloc(100))));
    await submitted();
    await directory.close();
    expect((await reading).code).toBe('ECANCELED');
  });

  it('works on the file that it was begun with, though its number is closed and given to another', async () => {
    const number = openSync(path, 'r+');
    writeFileSync(join(dir, 'innocent'), 'content', { mode: 0o640 });
    occupyPool();
    const changing = submit(ops.fchmod(number, 0o600));
    await submitted();
    closeSync(number);
    const other = openSync(join(dir, 'innocent'), 'r+');
    expect(other).toBe(number);
    await free?.();
    await changing;
    expect([path, join(dir, 'innocent')].map((file) => statSync(file).mode & 0o777)).toEqual([0o600, 0o640]);
    closeSync(other);
  });

  it('keeps its names and its memory, whatever becomes of what they came from', async () => {
    const name = Buffer.from(path);
    const view = new Uint8Array(512);
    await using directory = await File.open(dir, constants.O_RDONLY);
    occupyPool();
    const changing = submit(ops.fchmodat(name, 0o600));
    const reading = submit(ops.getdents(directory, view));
    await submitted();
    name.fill(0x78);
    try {
      structuredClone(view.buffer, { transfer: [view.buffer] });
    } catch {
      // Node 22 and later: the buffer is the op's
    }
    await free?.();
    await changing;
    expect(await reading).toBeGreaterThan(0);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });
});

describe('an op of our own', () => {
  it('ends while an op of the ring waits beside it, and is not waited for by that', async () => {
    const waiting = sleep(1e6);
    for (let i = 0; i < 50; i++) {
      await submit(ops.faccessat(path));
      await Promise.all([submit(ops.faccessat(path)), submit(ops.statx(path))]);
    }
    waiting.cancel();
    expect((await failure(waiting)).name).toBe('AbortError');
  });

  it('may be one of many at once, more than any queue takes', async () => {
    const all = Array.from({ length: 2000 }, (_, i) =>
      submit(ops.faccessat(i % 2 === 0 ? path : `${path}x`)),
    );
    const ended = await Promise.allSettled(all);
    expect(ended.filter(({ status }) => status === 'fulfilled')).toHaveLength(1000);
  });

  it('may be in a batch with ops of the ring', async () => {
    const [one, size, seven] = await batch([ops.faccessat(path), ops.statx(path), nop(7)]);
    expect([one, size.size, seven]).toEqual([undefined, 7, 7]);
  });

  it('is refused in a chain, whichever engine runs', async () => {
    const error = await failure(chain([ops.faccessat(path), nop()]));
    expect(error).toMatchObject({ code: 'ERR_OURO_UNSUPPORTED', syscall: 'access' });
    expect(error.message).toMatch(/FACCESSAT is no op of the kernel/);
  });

  it('takes no direct descriptor', async () => {
    await using place = files().allocate();
    for (const make of [
      () => ops.fchmod(place, 0),
      () => ops.getdents(place, Buffer.alloc(10)),
      () => ops.copyFileRange(place, 0, 1, 0, 1),
      () => ops.inotifyAddWatch(place, path, 1),
      () => ops.readlinkat('x', { dirfd: place }),
    ]) {
      expect(thrown(make)).toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
    }
  });

  it('is counted under its name, and is no fallback', async () => {
    const before = metrics();
    await submit(ops.faccessat(path));
    await failure(submit(ops.faccessat(`${path}x`)));
    const after = metrics();
    const { submitted: one, failed: two } = before.ops.FACCESSAT ?? { submitted: 0, failed: 0 };
    expect(after.ops.FACCESSAT).toMatchObject({
      submitted: one + 2,
      failed: two + 1,
      elsewhere: 0,
      inFlight: 0,
    });
    expect(after.fallbacks).toBe(before.fallbacks);
    const { opcodes } = capabilities() as { opcodes?: readonly number[] };
    expect(opcodes?.every((opcode) => opcode < 128)).toBe(true);
  });

  it('is measured and traced under its name', async () => {
    const seen: unknown[] = [];
    const note = (message: unknown): number => seen.push((message as TracedOp).opcode);
    subscribe('tracing:ouro.access:asyncEnd', note);
    measureLatency();
    {
      using _tracing = trace();
      await submit(ops.faccessat(path));
    }
    measureLatency(false);
    unsubscribe('tracing:ouro.access:asyncEnd', note);
    expect([seen, latencies().get('access')?.count]).toEqual([['FACCESSAT'], 1]);
  });

  it.each(['fusion', 'uring', 'poll'])(
    'is done with the driver %s, unless OURO_WITHOUT names it',
    async (driver) => {
      const program = `
      import { submit, metrics } from '@ouro/runtime';
      import { faccessat } from '@ouro/fs/ops';
      await submit(faccessat('/')).then(() => console.log('done'), ({ code, message }) => console.log(code, message));
      process.exit();`;
      const env = { OURO_DRIVER: process.env.OURO_DRIVER === 'poll' ? 'poll' : driver };
      expect((await runProgram(program, { env })).stdout).toBe('done\n');
      const without = await runProgram(program, { env: { ...env, OURO_WITHOUT: 'FACCESSAT' } });
      expect(without.stdout).toMatch(/^ERR_OURO_UNSUPPORTED FACCESSAT .*OURO_WITHOUT/);
    },
  );
});

describe('where there are no descriptors left', () => {
  it('the first op of our own fails with EMFILE, and later ones go on when there are some again', async () => {
    const program = `
      import { closeSync, openSync } from 'node:fs';
      import { metrics, submit } from '@ouro/runtime';
      import { asyncCancel, nop } from '@ouro/runtime/ops';
      import { faccessat } from '@ouro/fs/ops';
      await submit(nop());
      const all = [];
      try { for (;;) all.push(openSync('/')); } catch {}
      const first = await submit(faccessat('/')).then(() => 'done', ({ code }) => code);
      for (const fd of all) closeSync(fd);
      await submit(faccessat('/'));
      console.log(metrics().driver === 'poll' ? first === 'done' : first === 'EMFILE');`;
    const { stdout, stderr } = await runProgram(program, { under: ['prlimit', '--nofile=256'] });
    expect([stdout, stderr]).toEqual(['true\n', '']);
  });
});

describe('a worker', () => {
  it.each([
    ['waiting for a thread', true],
    ['under way', false],
  ])('that is terminated with ops %s leaves nothing', async (_how, waits) => {
    const source = `
      import { parentPort, workerData } from 'node:worker_threads';
      import { submit, sleep } from '${import.meta.resolve('@ouro/runtime')}';
      import * as ops from '${import.meta.resolve('@ouro/fs/ops')}';
      import { File } from '${import.meta.resolve('@ouro/fs')}';
      const { dir, path } = workerData;
      const file = await File.open(path, 'r+');
      const other = await File.open(path + '2', 'w+');
      const lock = await File.open(path, 'r+');
      await submit(ops.flock(file, ops.LOCK_EX));
      submit(ops.flock(lock, ops.LOCK_EX)).catch(() => {});
      const again = (make) => submit(make()).then(() => again(make), () => {});
      for (let i = 0; i < 5; i++) {
        again(() => ops.inotifyInit());
        again(() => ops.copyFileRange(file, 0, other, 0, 1 << 20));
        again(() => ops.realpathat(path));
        again(() => ops.listxattr(path));
        again(() => ops.fchmod(file, 0o600));
      }
      parentPort.postMessage(0);`;
    writeFileSync(path, Buffer.alloc(1 << 20));
    const descriptors: number[] = [];
    for (let i = 0; i < 6; i++) {
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
        workerData: { dir, path },
      });
      await new Promise((started) => worker.once('message', started));
      if (waits) occupyPool();
      await sleep(i % 3);
      await worker.terminate();
      await free?.();
      descriptors.push(openDescriptors());
    }
    expect(descriptors.slice(1)).toEqual(descriptors.slice(1).fill(descriptors[1]));
  });

  it.each(['process.exit()', 'submit(ops.realpathat(path)); setImmediate(() => process.exit())'])(
    'or a program that ends by %s with ops in flight ends cleanly',
    async (end) => {
      const { code, stderr } = await runProgram(`
        import { submit, sleep } from '@ouro/runtime';
        import * as ops from '@ouro/fs/ops';
        const path = ${JSON.stringify(path)};
        for (let i = 0; i < 100; i++) submit(ops.realpathat(path)).catch(() => {});
        for (let i = 0; i < 100; i++) submit(ops.inotifyInit()).catch(() => {});
        await sleep(0);
        ${end};`);
      expect([code, stderr]).toEqual([0, '']);
    },
  );
});
