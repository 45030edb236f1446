import { expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { randomTree } from './odd-trees.ts';
import { temporaryDirectory } from './support.ts';

const dir = temporaryDirectory();

const BUSY = `
  import fs from 'node:fs';
  import { parentPort, workerData as dir } from 'node:worker_threads';
  import { Dir, readdir, rm, walk, watch } from '@ouro/fs';
  const forever = async (body) => { for (let i = 0; ; i++) await body(dir + '/gone' + i); };
  const tree = dir + '/tree';
  forever(async () => { for await (const _ of walk(tree, { stats: true }).batches()); });
  forever(() => readdir(tree, { recursive: true, encoding: 'buffer' }));
  forever(async (gone) => { fs.mkdirSync(gone + '/a/b', { recursive: true }); await rm(gone, { recursive: true }); });
  forever(async () => { const watcher = watch(tree, { recursive: true }); await watcher.ready(); await watcher.return(); });
  forever(async () => { const opened = await Dir.open(tree); for await (const _ of opened.batches()); await opened.close(); });
  parentPort.postMessage('on');`;

it('a thread that is terminated while it walks, removes, lists and watches leaves nothing open', async () => {
  randomTree(`${dir}/tree`, 5, 400);
  const program = `
    import fs from 'node:fs';
    import { Worker } from 'node:worker_threads';
    const [dir] = process.argv.slice(1);
    const open = () => fs.readdirSync('/proc/self/fd').length;
    const once = async (ms) => {
      const execArgv = ['--input-type=module', '--no-warnings'];
      const worker = new Worker(${JSON.stringify(BUSY)}, { eval: true, workerData: dir, execArgv });
      await new Promise((done, failed) => worker.once('message', done).once('error', failed));
      await new Promise((done) => setTimeout(done, ms));
      await worker.terminate();
    };
    await once(5);
    const before = open();
    for (let ms = 0; ms < 60; ms += 4) await once(ms);
    console.log(open() - before);`;
  const { stdout, stderr, code } = await runProgram(program, { args: [dir], limitMs: 60_000 });
  expect({ stdout, stderr, code }).toEqual({ stdout: '0\n', stderr: '', code: 0 });
}, 60_000);
