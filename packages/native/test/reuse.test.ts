/**
 * An op holds on to the files it works on, as it does in the kernel: their numbers may be closed, and be given to other files
 * at once, while it waits or runs.
 */
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

const TOOLS = `
  import { execFileSync } from 'node:child_process';
  import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
  import { BufferRing, files, run, sleep, stream, submit } from '@ouro/runtime';
  import { asyncCancel, filesUpdate, readMultishot } from '@ouro/runtime/ops';
  import { read, splice } from '@ouro/fs/ops';
  const folder = mkdtempSync('/tmp/ouro-reuse-');
  const NOW = constants.O_RDWR | constants.O_NONBLOCK;
  const pipe = (name) => {
    execFileSync('mkfifo', [folder + '/' + name]);
    return openSync(folder + '/' + name, 'r+');
  };
  const again = (name) => openSync(folder + '/' + name, NOW);
  /** What lies in a pipe; its error where that is nothing. */
  const content = (fd) => {
    const buffer = Buffer.alloc(100);
    try { return buffer.toString('utf8', 0, readSync(fd, buffer)); } catch (error) { return error.code; }
  };
  const soon = (future) =>
    Promise.race([
      future.catch((error) => error.code),
      new Promise((late) => setTimeout(late, 5000, 'never').unref()),
    ]);
`;

async function program(body: string): Promise<string> {
  const { stdout, stderr } = await runProgram(
    `${TOOLS} await run(async () => { ${body} rmSync(folder, { recursive: true }); });`,
  );
  expect(stderr).toBe('');
  return stdout.trim();
}

describe('a splice that waits', () => {
  it('moves to the file that it was given, not to the next one under that number', async () => {
    const body = `
      const from = pipe('from'), to = pipe('to'), other = pipe('other');
      const reader = again('to');
      const moving = submit(splice(from, null, to, null, 100));
      // The kernel looks for it only in the thread that it gives to the op.
      await sleep(200);
      closeSync(to);
      const victim = again('other');
      writeSync(from, 'hello');
      console.log(victim === to, await soon(moving), content(reader), content(victim));`;
    expect(await program(body)).toBe('true 5 hello EAGAIN');
  });

  it('moves from the file that it was given', async () => {
    const body = `
      const from = pipe('from'), to = pipe('to'), other = pipe('other');
      writeSync(to, Buffer.alloc(65536));
      const writer = again('from'), reader = again('to');
      const moving = submit(splice(from, null, to, null, 100));
      // The kernel looks for it only in the thread that it gives to the op.
      await sleep(200);
      closeSync(from);
      const victim = again('other');
      writeSync(victim, 'secret');
      writeSync(writer, 'hello');
      await sleep(1);
      readSync(reader, Buffer.alloc(65536));
      console.log(victim === from, await soon(moving), content(reader), content(victim));`;
    expect(await program(body)).toBe('true 5 hello secret');
  });

  it('is found by the number of where it goes, and leaves no descriptor behind', async () => {
    const body = `
      const from = pipe('from'), to = pipe('to');
      const next = () => { const fd = openSync('/dev/null'); closeSync(fd); return fd; };
      const free = next();
      for (const full of [false, true]) {
        if (full) { writeSync(to, Buffer.alloc(65536)); writeSync(from, 'x'); }
        const moving = submit(splice(from, null, to, null, 100));
        let ended = '';
        moving.catch((error) => { ended = error.code; });
        // Again and again: the kernel gives it to a thread of its own, which it may interrupt too early.
        while (ended === '') {
          await sleep(1);
          await submit(asyncCancel({ fd: to })).catch(() => {});
        }
        console.log(['ECANCELED', 'EINTR'].includes(ended));
      }
      console.log(next() === free);`;
    expect(await program(body)).toBe('true\ntrue\ntrue');
  });
});

describe('a multishot op that has more to tell than fits one turn', () => {
  it('goes on with the descriptor that somebody else owns', async () => {
    const body = `
      const fd = pipe('pieces');
      const pieces = stream(readMultishot(fd, new BufferRing({ entries: 1024, size: 64, incremental: false })));
      const reading = (async () => {
        let total = 0;
        for await (const piece of pieces) if ((total += piece.length) === 40_000) return total;
      })();
      await sleep(1);
      writeSync(fd, Buffer.alloc(40_000));
      console.log(await soon(reading));`;
    expect(await program(body)).toBe('40000');
  });

  it('goes on with its file, though that is closed, and its number another', async () => {
    const body = `
      const fd = pipe('pieces'), other = pipe('other');
      const place = await files().register(fd);
      const pieces = stream(readMultishot(place, new BufferRing({ entries: 1024, size: 64, incremental: false })));
      let total = 0;
      const reading = (async () => {
        for await (const piece of pieces) {
          if (piece.includes('s')) return 'the bytes of another';
          if (total === 0) {
            // Behind the first completions, and before the next turn of the op.
            submit(filesUpdate(place.fd, [-1]));
            for (let i = 0; i < 4; i++) writeSync(again('other'), 's');
          }
          if ((total += piece.length) === 40_000) return 'all';
        }
        return 'ended';
      })();
      await sleep(1);
      writeSync(fd, Buffer.alloc(40_000));
      console.log(await soon(reading), total);`;
    expect(await program(body)).toBe('all 40000');
  });
});

describe('a place in the table of direct descriptors that is given to another file', () => {
  it.each([-1, 'other'])('%s leaves the op that waits its own', async (next) => {
    const body = `
      const fd = pipe('mine'), other = pipe('other');
      const free = openSync('/dev/null'); closeSync(free);
      const place = await files().register(fd);
      const buffer = Buffer.alloc(10);
      const reading = submit(read(place, buffer));
      await sleep(1);
      await submit(filesUpdate(place.fd, [${next}]));
      const writers = Array.from({ length: 4 }, () => again('other'));
      writeSync(other, 'secret');
      await sleep(1);
      writeSync(fd, 'hello');
      console.log(await soon(reading), buffer.toString('utf8', 0, 5), content(writers[0]));
      writers.forEach(closeSync);
      await submit(filesUpdate(place.fd, [-1]));
      const now = openSync('/dev/null');
      console.log(now === free);`;
    expect(await program(body)).toBe('5 hello secret\ntrue');
  });
});

describe('an op that waits for a descriptor that is closed when no number is left for a duplicate', () => {
  it('is not woken for the next file under that number', async () => {
    const body = `
      pipe('other');
      const socket = await submit(netOps.socket(1, 2));
      await submit(netOps.bind(socket, { path: folder + '/socket' }));
      const buffer = Buffer.alloc(10);
      const reading = submit(read(socket, buffer));
      reading.catch(() => {});
      await sleep(1);
      const fillers = [];
      try { for (;;) fillers.push(openSync('/dev/null')); } catch {}
      await close(socket);
      const victim = await File.open(folder + '/other', NOW);
      const number = victim.fd;
      const polling = submit(pollAdd(victim, 1));
      await sleep(1);
      for (const fd of fillers.splice(0, 5)) closeSync(fd);
      writeSync(number, 'secret');
      await polling;
      reading.cancel();
      console.log(number === socket, await soon(reading), content(number));
      await victim.close();`;
    const { stdout, stderr } = await runProgram(
      `import * as netOps from '@ouro/net/ops'; import { close } from '@ouro/runtime/driver';
      import { File } from '@ouro/fs';
      import { pollAdd } from '@ouro/runtime/ops';
      ${TOOLS} await run(async () => { ${body} rmSync(folder, { recursive: true }); });`,
      { under: ['prlimit', '--nofile=256'] },
    );
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^true (ECANCELED|ABORT_ERR) secret\n$/);
  });
});
