import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { fifo, temporaryDirectory } from './support.ts';

// Garbage is collected when V8 likes: so these are programs that ask for it.

const dir = temporaryDirectory();
const path = join(dir, 'file');
writeFileSync(path, 'content');
const pipe = fifo(join(dir, 'pipe'));

const prelude = `
  import { fstatSync, openSync, readdirSync, writeSync } from 'node:fs';
  import { setTimeout as later } from 'node:timers/promises';
  import { Worker } from 'node:worker_threads';
  import { File, stat } from '@ouro/fs';
  import { chain, run } from '@ouro/runtime';
  import { nop } from '@ouro/runtime/driver';
  import { read } from '@ouro/fs/ops';
  const path = ${JSON.stringify(path)};
  const pipe = ${JSON.stringify(pipe)};
  const warnings = [];
  process.on('warning', (warning) => warnings.push(warning));
  await nop();
  await stat(path); // what is beside the ring has descriptors too
  process.stdout;
  const descriptors = () => readdirSync('/proc/self/fd').length;
  const before = descriptors();
  /** Collects garbage until that has had the effect, or for so long that it has none. */
  async function collect(until = () => false) {
    for (let i = 0; i < 50 && !until(); i++) {
      gc();
      await later(15);
      await nop(); // the thread's last op is kept, with what has come of it
    }
  }
  const tell = (...told) => console.log(JSON.stringify(told));
`;

async function run(body: string, env: NodeJS.ProcessEnv = {}): Promise<unknown[]> {
  const { stdout, stderr, signal } = await runProgram(prelude + body, {
    flags: ['--expose-gc', '--no-warnings'],
    env,
  });
  expect({ stderr, signal }).toEqual({ stderr: '', signal: null });
  return JSON.parse(stdout);
}

describe('a file that is collected without having been closed', () => {
  it('is closed, and reported', async () => {
    const body = `
      await File.open(path);
      const during = descriptors() - before;
      await collect(() => warnings.length > 0 && descriptors() === before);
      const [{ name, code, message, detail }] = warnings;
      tell(during, descriptors() - before, warnings.length, name, code, message, detail);`;
    expect(await run(body)).toEqual([
      1,
      0,
      1,
      'LeakWarning',
      'OURO_FILE_NOT_CLOSED',
      expect.stringMatching(
        `^A file was collected that had not been closed: '${path}', descriptor \\d+. It is closed now.$`,
      ),
      'Where files are opened is recorded from here on; OURO_TRACE_OPEN=1 does so from the beginning.',
    ]);
  });

  it('is reported with the place where it was opened, from the second on', async () => {
    const body = `
      const opensOne = async () => void (await File.open(path));
      await opensOne();
      await collect(() => warnings.length > 0);
      await opensOne();
      await collect(() => warnings.length > 1);
      tell(descriptors() - before, ...warnings.map(({ detail }) => detail));`;
    expect(await run(body)).toEqual([
      0,
      expect.stringContaining('OURO_TRACE_OPEN=1'),
      expect.stringMatching(/^Opened\n {4}at opensOne \(file:.*\[eval1\]:\d+:\d+\)\n/),
    ]);
  });

  it('is reported with that place from the first on if OURO_TRACE_OPEN=1 says so, once for each place', async () => {
    const body = `
      const here = async () => void (await File.open(path));
      const there = async () => void (await File.create(path + '-there'));
      for (let i = 0; i < 50; i++) await Promise.all([here(), there()]);
      const during = descriptors() - before;
      await collect(() => warnings.length > 1 && descriptors() === before);
      await here();
      await collect(() => descriptors() === before);
      const places = warnings.map(({ detail }) => /at (\\w+)/.exec(detail)[1]).sort();
      tell(during, descriptors() - before, places);`;
    expect(await run(body, { OURO_TRACE_OPEN: '1' })).toEqual([100, 0, ['here', 'there']]);
  });

  it('does not depend on how the program writes stacks', async () => {
    const body = `
      Error.prepareStackTrace = () => ({ not: 'text' });
      await File.open(path);
      await collect(() => warnings.length > 0);
      Error.stackTraceLimit = 3;
      Error.prepareStackTrace = undefined;
      await File.open(path);
      await collect(() => warnings.length > 1);
      tell(descriptors() - before, warnings.length, Error.stackTraceLimit);`;
    expect(await run(body, { OURO_TRACE_OPEN: '1' })).toEqual([0, 2, 3]);
  });
});

describe('a file is not collected', () => {
  it('while an op on it is in flight', async () => {
    const body = `
      const peer = openSync(pipe, 'r+');
      const counts = [];
      (await File.open(pipe, 'r+')).read(Buffer.alloc(10)).then((count) => counts.push(count));
      await collect();
      const during = [descriptors() - before, warnings.length];
      writeSync(peer, 'here');
      await collect(() => warnings.length > 0 && descriptors() - before === 1);
      tell(during, counts, descriptors() - before, warnings.length);`;
    expect(await run(body)).toEqual([[2, 0], [4], 1, 1]);
  });

  it('while a chain, a loop, a stream or its closing is under way', async () => {
    const body = `
      const peer = openSync(pipe, 'r+');
      const open = () => File.open(pipe, 'r+');
      const links = chain([read(await open(), Buffer.alloc(4)), read(await open(), Buffer.alloc(4))]);
      const ends = [links];
      const step = async (started) => {
        ends.push(started);
        await collect(() => false);
        writeSync(peer, 'here');
        await nop();
      };
      await step(links);
      writeSync(peer, 'here');
      await links;
      const chunk = (await open()).chunks().next();
      await step(chunk);
      const { value } = await chunk;
      const piece = (await open()).readable().getReader().read();
      await step(piece);
      const read2 = await piece;
      const told = warnings.length;
      tell(value.toString(), Buffer.from(read2.value).toString());`;
    expect(await run(body)).toEqual(['here', 'here']);
  }, 60_000);

  it('while it is being closed: nothing is reported', async () => {
    const body = `
      const peer = openSync(pipe, 'r+');
      await (async () => {
        const file = await File.open(pipe, 'r+');
        file.write(Buffer.alloc(100_000)).catch(() => {});
        await nop();
        await collect();
        file.close();
      })();
      await collect();
      tell(warnings.length);
      process.exit();`;
    expect(await run(body)).toEqual([0]);
  });

  it('while somebody has it', async () => {
    const body = `
      const file = await File.open(path);
      await collect();
      tell((await file.stat()).size, warnings.length);
      await file.close();`;
    expect(await run(body)).toEqual([7, 0]);
  });
});

describe('nothing is reported of', () => {
  it('files that were closed, cancelled, or never this package’s to open', async () => {
    const body = `
      for (let i = 0; i < 100; i++) {
        const file = await File.open(path);
        if (i === 50) await later(600); // long enough to be watched
        await file.close();
        await (await File.open(path))[Symbol.asyncDispose]();
        const opening = File.open(path);
        opening.cancel();
        await opening.catch(() => {});
      }
      File.fromFd(openSync(path));
      await collect();
      tell(descriptors() - before, warnings.length);`;
    expect(await run(body)).toEqual([1, 0]);
  });
});

describe('a number that is given out anew', () => {
  it('is not closed for the file that had it before', async () => {
    const body = `
      const live = new Map();
      let wrong = 0;
      // In a function of its own: of the last round nothing is to be kept in this one.
      const turn = async (round) => {
        const file = await File.open(round % 2 === 0 ? path : '/dev/null');
        const dice = Math.random();
        if (dice < 0.3) live.set(file, fstatSync(file.fd).ino);
        else if (dice < 0.8) await file.close();
        if (live.size > 20) {
          const [first, ino] = live.entries().next().value;
          live.delete(first);
          if ((await first.stat()).ino !== ino) wrong++;
          await first.close();
        }
        if (round % 300 === 0) {
          gc();
          await later(1);
        }
      };
      for (let round = 0; round < 3000; round++) await turn(round);
      for (const [file, ino] of live) {
        if ((await file.stat()).ino !== ino) wrong++;
        await file.close();
      }
      await collect(() => descriptors() === before);
      tell(wrong, descriptors() - before, warnings.length > 0);`;
    expect(await run(body)).toEqual([0, 0, true]);
  });
});

describe('the end', () => {
  it('of a worker closes what it has not, collected or not', async () => {
    const body = `
      const code = \`
        import { parentPort, workerData } from 'node:worker_threads';
        import { setTimeout as later } from 'node:timers/promises';
        import { File } from '@ouro/fs';
        const kept = [];
        for (let i = 0; i < 600; i++) {
          const file = await File.open(workerData.path);
          if (i % 3 === 0) kept.push(file);
          if (i % 3 === 1) await file.close();
        }
        gc();
        await later(workerData.round % 3);
        if (workerData.round % 2 === 0) process.exit();
        parentPort.postMessage('ready');
        setInterval(gc, 1);
      \`;
      const live = await File.open(path);
      const { ino } = await live.stat();
      for (let round = 0; round < 6; round++) {
        const worker = new Worker(code, { eval: true, workerData: { path, round }, execArgv: ['--input-type=module', '--no-warnings'] });
        const ended = new Promise((resolve) => worker.once('exit', resolve));
        if (round % 2 === 0) await ended;
        else {
          await new Promise((resolve) => worker.once('message', resolve));
          await worker.terminate();
        }
      }
      tell((await live.stat()).ino === ino, descriptors() - before);
      await live.close();`;
    expect(await run(body)).toEqual([true, 1]);
  });

  it('of run() comes although files are open, and says nothing', async () => {
    const body = `
      await run(async () => {
        const files = [];
        for (let i = 0; i < 600; i++) files.push(await File.open(path));
        tell(files.length);
      });`;
    expect(await run(body)).toEqual([600]);
  });
});
