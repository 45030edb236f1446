/**
 * Opening a named pipe waits for somebody at the other end. It can be given up, and ends with its thread, also where nobody
 * is allowed to be that somebody.
 */
import { getuid } from 'node:process';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

/** As somebody who is bound by permissions. */
const unprivileged =
  getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all'] : [];

/** Makes a pipe, with a mode of its own, and begins to open it. (IOSQE_ASYNC: else it is not waited for at all.) */
const TOOLS = `
  import { execFileSync } from 'node:child_process';
  import { closeSync, constants, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
  import { Worker } from 'node:worker_threads';
  import { openat } from '@ouro/fs/ops';
  import { run, sleep, submit } from '@ouro/runtime';
  import { nop as nopOp } from '@ouro/runtime/ops';
  const folder = mkdtempSync('/tmp/ouro-pipe-open-');
  const path = folder + '/pipe';
  const nop = () => submit(nopOp());
  const make = (mode) => execFileSync('mkfifo', ['-m', mode, path]);
  const open = (flags = constants.O_RDONLY) => {
    const op = openat(path, flags);
    op.flags |= 16;
    return submit(op);
  };
  /** Ends a worker that waits to open the pipe. */
  const endWorker = async (flags = constants.O_RDONLY) => {
    const source = \`
      import { parentPort } from 'node:worker_threads';
      import { openat } from '\${import.meta.resolve('@ouro/fs/ops')}';
      import { sleep, submit } from '\${import.meta.resolve('@ouro/runtime')}';
      const op = openat('\${path}', \${flags});
      op.flags |= 16;
      submit(op).catch(() => {});
      await sleep(20);
      parentPort.postMessage(0);
      await sleep(1e6);\`;
    const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(source)));
    await new Promise((begun) => worker.once('message', begun));
    return await worker.terminate();
  };
`;

async function program(body: string): Promise<string> {
  const { stdout, stderr, code } = await runProgram(
    `${TOOLS} await run(async () => { ${body} rmSync(folder, { recursive: true }); });`,
    { under: unprivileged, limitMs: 25_000 },
  );
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return stdout.trim();
}

describe('an open of a named pipe that waits', () => {
  it.each(['0644', '0444'])('can be cancelled (mode %s)', async (mode) => {
    const body = `
      make('${mode}');
      const before = readdirSync('/proc/self/fd').length;
      const opening = open();
      await sleep(20);
      opening.cancel();
      console.log((await opening.catch((error) => error)).name, readdirSync('/proc/self/fd').length - before <= 1);`;
    expect(await program(body)).toBe('AbortError true');
  });

  it('can be cancelled in any moment', async () => {
    const body = `
      make('0644');
      for (let i = 0; i < 200; i++) {
        const opening = open();
        for (let turn = 0; turn < i % 20; turn++) await nop();
        if (i % 3 === 0) await sleep(i % 5 / 10);
        opening.cancel();
        await opening.catch(() => {});
      }
      console.log('done');`;
    expect(await program(body)).toBe('done');
  });

  it.each(['0644', '0444'])('ends with its worker (mode %s)', async (mode) => {
    const body = `
      make('${mode}');
      console.log(await endWorker());`;
    expect(await program(body)).toBe('1');
  });

  it('that was given up where the other end is forbidden leaves nothing when somebody comes', async () => {
    const body = `
      make('0444');
      await sleep(1);
      const count = () => readdirSync('/proc/self/fd').length;
      const before = count();
      const opening = open();
      await sleep(20);
      opening.cancel();
      await opening.catch(() => {});
      execFileSync('chmod', ['0644', path]);
      closeSync(openSync(path, 'r+'));
      while (count() > before) await sleep(1);
      console.log('done');`;
    expect(await program(body)).toBe('done');
  });

  it('leaves no descriptor when it has been given up, however often the loop turns meanwhile', async () => {
    const body = `
      make('0644');
      const { readlinkSync } = await import('node:fs');
      const at = (fd) => { try { return readlinkSync('/proc/self/fd/' + fd); } catch { return ''; } };
      const count = () => readdirSync('/proc/self/fd').filter((fd) => at(fd) === path).length;
      let left = 0;
      for (let i = 0; i < 100; i++) {
        let ended = false;
        const openings = Array.from({ length: 4 }, () => open(constants.O_WRONLY));
        for (let turn = 0; turn < i % 10; turn++) await nop();
        for (const opening of openings) opening.cancel();
        Promise.allSettled(openings).then(() => {
          ended = true;
          left += count();
        });
        while (!ended) await nop();
      }
      console.log(left);`;
    expect(await program(body)).toBe('0');
  });

  it('is given up where the program listens to SIGURG, and its descriptor goes when somebody comes', async () => {
    const body = `
      make('0644');
      process.on('SIGURG', () => {});
      await nop();
      const count = () => readdirSync('/proc/self/fd').length;
      const opening = open(constants.O_WRONLY);
      await sleep(20);
      const before = count();
      opening.cancel();
      const code = await opening.catch((error) => error.code);
      closeSync(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK));
      while (count() > before) await sleep(1);
      process.removeAllListeners('SIGURG');
      console.log(code);`;
    expect(await program(body)).toBe('ABORT_ERR');
  });

  it.each(['cancelled', 'ended by its worker'])(
    'is of no concern to anybody else when it is %s',
    async (how) => {
      const body = `
      make('0644');
      const { spawn } = await import('node:child_process');
      const writer = spawn('sh', ['-c', 'echo precious > ' + path]);
      const ours = Array.from({ length: 20 }, () => open(constants.O_WRONLY));
      await sleep(50);
      if ('${how}' === 'cancelled') for (const each of ours) each.cancel();
      else {
        await endWorker(constants.O_WRONLY);
        for (const each of ours) each.cancel();
      }
      const ends = await Promise.allSettled(ours);
      const { readFileSync } = await import('node:fs');
      console.log(ends.filter(({ status }) => status === 'rejected').length, writer.exitCode);
      console.log(readFileSync(path, 'utf8').trim());`;
      expect(await program(body)).toBe('20 null\nprecious');
    },
  );
});
