import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type Beside, start, startProgram } from '../../../testing/beside.ts';

const dir = mkdtempSync(join(tmpdir(), 'ouro-pool-'));
const leased = join(dir, 'leased');
const other = join(dir, 'other');
writeFileSync(leased, 'leased');
writeFileSync(other, 'other');
afterAll(() => rmSync(dir, { recursive: true }));

/** Takes a lease of a file: whoever opens it waits until the lease is given back. */
const HOLDER = `
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = os.open(sys.argv[1], os.O_RDWR)
try:
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
except OSError as error:
    print(error.strerror, flush=True)
    sys.exit()
print('leased', flush=True)
sys.stdin.readline()
`;

/** Starts a program on the poll engine, with so many threads in libuv's pool. */
function startOn(threads: number, body: string): Beside {
  return startProgram(
    `
      import fs from 'node:fs/promises';
      import { chmod, File } from '@ouro/fs';
      import { metrics, run, sleep } from '@ouro/runtime';
      const leased = ${JSON.stringify(leased)};
      const other = ${JSON.stringify(other)};
      await run(async () => { ${body} });
    `,
    ['env', 'OURO_DRIVER=poll', `UV_THREADPOOL_SIZE=${threads}`],
  );
}

describe("the poll engine leaves of libuv's pool to Node", () => {
  for (const threads of [2, 4]) {
    it(`one of ${threads} threads, however many ops wait in the others`, async (context) => {
      await using holder = start(['python3', '-c', HOLDER, leased]);
      const said = await holder.line();
      if (said !== 'leased') return context.skip(`no leases here: ${said}`);
      const body = `
        const opens = Array.from({ length: 20 }, () => File.open(leased));
        await sleep(1);
        const read = await Promise.all(Array.from({ length: 20 }, () => fs.readFile(other, 'utf8')));
        console.log(read.length, metrics().pending);
        const files = await Promise.all(opens);
        await Promise.all(files.map((file) => file.close()));
        console.log(files.length, metrics().pending);`;
      await using program = startOn(threads, body);
      expect(await program.line()).toBe('20 20');
      holder.send('\n');
      expect(await program.line()).toBe('20 0');
      expect(await program.ended).toEqual({ code: 0, signal: null, stderr: '' });
    });
  }

  it('its only thread, after some ops, however many there are', async () => {
    const body = `
      let left = 5000;
      const ops = Array.from({ length: left }, () => chmod(other, 0o600).then(() => { left--; }));
      await sleep(0);
      const before = left;
      const read = await fs.readFile(other, 'utf8');
      console.log(read, (before > 0 && left > 0) || [before, left]);
      await Promise.all(ops);
      console.log(left, metrics().pending);`;
    await using program = startOn(1, body);
    expect(await program.line()).toBe('other true');
    expect(await program.line()).toBe('0 0');
    expect(await program.ended).toEqual({ code: 0, signal: null, stderr: '' });
  });
});
