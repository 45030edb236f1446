import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { temporaryDirectory } from './support.ts';

const dir = temporaryDirectory();
mkdirSync(join(dir, 'tree/a/b'), { recursive: true });
for (let i = 0; i < 100; i++) writeFileSync(join(dir, 'tree/a', `${i}`), 'x'.repeat(i * 40));
writeFileSync(join(dir, 'big'), Buffer.alloc(4 << 20, 7));
for (let i = 0; i < 4; i++) execFileSync('mkfifo', [join(dir, `pipe${i}`)]);

/** Some of what can be done with files, for ever and all at once; which of it depends on the round. */
const BUSY = `
  import fs from 'node:fs';
  import { parentPort, workerData } from 'node:worker_threads';
  import { appendFile, copyFile, cp, Dir, File, mkdtemp, readFile, readFiles, rm, writeFile, writeFiles } from '@ouro/fs';
  const { dir, round } = workerData;
  const own = dir + '/own' + round;
  fs.mkdirSync(own);
  const small = Array.from({ length: 100 }, (_, i) => dir + '/tree/a/' + i);
  const once = async (path, flags, use) => {
    const file = await File.open(path, flags);
    await use(file);
    await file.close();
  };
  const jobs = [
    () => once(dir + '/big', 'r', async (file) => { for await (const chunk of file.chunks({ lease: true })) chunk.release(); }),
    () => once(dir + '/big', 'r', async (file) => { for await (const _ of file.readable()) break; }),
    () => Promise.all(Array.from({ length: 8 }, () => readFile(dir + '/big', { buffer: Buffer.alloc(5 << 20) }))),
    () => readFiles(small, { lease: true }),
    async () => { for await (const _ of readFiles.stream(small)); },
    () => writeFiles(small.map((_, i) => ({ path: own + '/f' + i, data: Buffer.alloc(i * 100) }))),
    () => writeFile(own + '/durable', Buffer.alloc(1 << 20), { durable: true }),
    () => appendFile(own + '/appended', 'x'),
    () => copyFile(dir + '/big', own + '/copy'),
    () => cp(dir + '/tree', own + '/tree', { recursive: true }),
    () => rm(own + '/tree', { recursive: true, force: true }),
    async () => { await (await mkdtemp(own + '/t-'))[Symbol.asyncDispose](); },
    () => File.open(dir + '/pipe0', 'w'),
    async () => { const opening = File.open(dir + '/pipe1', 'w'); setTimeout(() => opening.cancel(), 2); await opening; },
    () => readFile(dir + '/pipe2'),
    () => writeFile(dir + '/pipe2', 'x'.repeat(90_000)),
    () => once(dir + '/big', 'r', (file) => file.lock()),
    () => once(own + '/v', 'w+', (file) => file.writev(small.map(() => Buffer.alloc(999)))),
    async () => { const opened = await Dir.open(dir + '/tree/a'); await opened.stat('1', { resolve: 'beneath' }); await opened.close(); },
  ];
  const forever = async (job) => { for (;;) await job().catch(() => new Promise((next) => setImmediate(next))); };
  jobs.forEach((job, i) => void ((i * 7 + round) % 3 === 0 && forever(job)));
  parentPort.postMessage('on');`;

it('threads that are terminated at whatever they are at leave nothing open', async () => {
  const program = `
    import fs from 'node:fs';
    import { Worker } from 'node:worker_threads';
    const [dir] = process.argv.slice(1);
    const open = () => fs.readdirSync('/proc/self/fd').length;
    const once = async (round) => {
      const execArgv = ['--input-type=module', '--no-warnings'];
      const worker = new Worker(${JSON.stringify(BUSY)}, { eval: true, workerData: { dir, round }, execArgv });
      await new Promise((done, failed) => worker.once('message', done).once('error', failed));
      await new Promise((done) => setTimeout(done, round % 13));
      await worker.terminate();
    };
    await once(0);
    const before = open();
    for (let round = 1; round < 24; round++) await once(round);
    console.log(open() - before);`;
  const { stdout, stderr, code } = await runProgram(program, { args: [dir], limitMs: 100_000 });
  expect({ stdout, stderr, code }).toEqual({ stdout: '0\n', stderr: '', code: 0 });
}, 120_000);
