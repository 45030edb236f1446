import { sleep } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

const ours = (): string[] => process.getActiveResourcesInfo().filter((name) => name.startsWith('Ouro'));

describe('process.getActiveResourcesInfo()', () => {
  it('names the ops that keep the process alive', async () => {
    const first = sleep(1e6);
    const second = sleep(1e6);
    expect(ours()).toEqual(['OuroTimeout', 'OuroTimeout']);
    first.cancel();
    second.cancel();
    await Promise.allSettled([first, second]);
    expect(ours()).toEqual([]);
  });

  it('leaves out those that do not', async () => {
    const sleeping = sleep(1e6, { ref: false });
    expect(ours()).toEqual([]);
    sleeping.cancel();
    await sleeping.catch(() => {});
  });

  it('names ops after what they do, and Node’s own resources as ever', async () => {
    const { stdout, stderr } = await runProgram(`
      import { File } from '@ouro/fs';
      import { TcpListener } from '@ouro/net';
      setTimeout(() => {}, 1e6);
      const listener = await TcpListener.bind({ host: '127.0.0.1' });
      void listener.accept().catch(() => {});
      const { execFileSync } = await import('node:child_process');
      const { mkdtempSync } = await import('node:fs');
      const path = mkdtempSync('/tmp/ouro-active-') + '/fifo';
      execFileSync('mkfifo', [path]);
      const pipe = await File.open(path, 'r+');
      void pipe.read(Buffer.alloc(1)).catch(() => {});
      const names = process.getActiveResourcesInfo();
      console.log(['OuroAccept', 'OuroRead', 'Timeout'].map((name) => names.filter((each) => each === name).length));
      process.exit();
    `);
    expect(stderr).toBe('');
    expect(stdout).toBe('[ 1, 1, 1 ]\n');
  });

  it('is left alone until there is a ring, and asks whoever was there before', async () => {
    const { stdout } = await runProgram(`
      const node = process.getActiveResourcesInfo;
      const { sleep } = await import('@ouro/runtime');
      console.log(process.getActiveResourcesInfo === node);
      process.getActiveResourcesInfo = () => ['Other'];
      const sleeping = sleep(1e6);
      console.log(process.getActiveResourcesInfo());
      const { getActiveResourcesInfo } = process;
      process.getActiveResourcesInfo = () => [...getActiveResourcesInfo(), 'Outer'];
      console.log(process.getActiveResourcesInfo());
      process.exit();
    `);
    expect(stdout).toBe("true\n[ 'Other', 'OuroTimeout' ]\n[ 'Other', 'OuroTimeout', 'Outer' ]\n");
  });

  it('of a worker names that worker’s ops only', async () => {
    const { stdout, stderr } = await runProgram(`
      import { Worker } from 'node:worker_threads';
      import { sleep } from '@ouro/runtime';
      const ours = 'process.getActiveResourcesInfo().filter((name) => name.startsWith("Ouro")).length';
      const sleeping = [sleep(1e6), sleep(1e6)];
      const source = 'import { parentPort } from "node:worker_threads"; import { sleep } from "@ouro/runtime";' +
        'void sleep(1e6); parentPort.postMessage(' + ours + ');';
      const url = new URL('data:text/javascript,' + encodeURIComponent(source.replaceAll('@ouro/runtime', import.meta.resolve('@ouro/runtime'))));
      const worker = new Worker(url);
      worker.on('message', (there) => {
        console.log(there, eval(ours));
        process.exit();
      });
    `);
    expect(stderr).toBe('');
    expect(stdout).toBe('1 2\n');
  });
});
