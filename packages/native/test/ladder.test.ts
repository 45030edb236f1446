import { expect, it } from 'vitest';
import { describeOnRing } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';

const SQPOLL = 1 << 1;
const SINGLE_ISSUER = 1 << 12;
const DEFER_TASKRUN = 1 << 13;
const NO_SQARRAY = 1 << 16;
const COOP_TASKRUN = 1 << 8;
const TASKRUN_FLAG = 1 << 9;
const SUBMIT_ALL = 1 << 7;
const CQSIZE = 1 << 3;
const CLAMP = 1 << 4;
const top = SINGLE_ISSUER | DEFER_TASKRUN | TASKRUN_FLAG | NO_SQARRAY | SUBMIT_ALL | CQSIZE | CLAMP;

/** Sets a ring up with some of the flags taken away, as an older kernel would, and works it. */
const program = (mask: number, mode: number): string => `
  import { addon } from '@ouro/native';
  const native = addon();
  const { open } = native;
  native.open = (options, dispatch) => open({ ...options, flagMask: ${mask}, modeFlags: ${mode} }, dispatch);
  const { run, sleep, metrics } = await import('@ouro/runtime');
  const { nop, reactor } = await import('@ouro/runtime/driver');
  const { TcpListener, TcpStream } = await import('@ouro/net');
  const { readFile } = await import('@ouro/fs');
  const fs = await import('node:fs');
  await run(async () => {
    await Promise.all(Array.from({ length: 1000 }, () => nop()));
    const listener = await TcpListener.bind({ host: '127.0.0.1' });
    const serving = (async () => {
      for await (const stream of listener) for await (const chunk of stream) await stream.writeAll(chunk);
    })();
    const client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
    const sent = Buffer.alloc(300_000, 'ouro');
    const sending = client.writeAll(sent);
    const got = [];
    let bytes = 0;
    for await (const chunk of client) {
      got.push(chunk);
      bytes += chunk.length;
      if (bytes === sent.length) break;
    }
    await sending;
    await client.close();
    await listener.close();
    const same = (await readFile('package.json')).equals(fs.readFileSync('package.json'));
    const timers = await new Promise((done) => setTimeout(() => setImmediate(() => done('timers')), 5));
    const cancelled = sleep(1e6);
    cancelled.cancel();
    const ended = await cancelled.catch((error) => error.name);
    console.log(JSON.stringify({ flags: reactor().ring.setupFlags, echoed: Buffer.concat(got).equals(sent), same, timers, ended }));
  }, { entries: 64 });
`;

async function worked(mask: number, mode = 0): Promise<unknown> {
  const { stdout, stderr, code } = await runProgram(program(mask >>> 0, mode), { env: { OURO_SQPOLL: '' } });
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

const well = { echoed: true, same: true, timers: 'timers', ended: 'AbortError' };

describeOnRing('setup')('the ring works with the setup flags of', () => {
  it.each([
    ['6.6 and newer', 0xffff_ffff, top],
    ['6.1 (with the index array)', ~NO_SQARRAY, top & ~NO_SQARRAY],
    ['6.1 without the flag that spinning looks at', ~TASKRUN_FLAG, top & ~TASKRUN_FLAG],
    [
      '6.0 (completions by interruption)',
      ~(NO_SQARRAY | DEFER_TASKRUN | COOP_TASKRUN),
      SINGLE_ISSUER | SUBMIT_ALL | CQSIZE | CLAMP,
    ],
    ['5.18', SUBMIT_ALL | CQSIZE | CLAMP, SUBMIT_ALL | CQSIZE | CLAMP],
    ['5.6', CQSIZE | CLAMP, CQSIZE | CLAMP],
    ['5.1 (none at all)', 0, 0],
  ])('%s', async (_, mask, flags) => {
    expect(await worked(mask)).toEqual({ flags, ...well });
  });
});

describeOnRing('sqpoll')('the ring with SQPOLL works with the setup flags of', () => {
  const fullest = SINGLE_ISSUER | NO_SQARRAY | SUBMIT_ALL | CQSIZE | CLAMP;

  it.each([
    ['6.6 and newer', 0xffff_ffff, fullest],
    ['6.0', ~NO_SQARRAY, fullest & ~NO_SQARRAY],
    ['5.18', SUBMIT_ALL | CQSIZE | CLAMP, SUBMIT_ALL | CQSIZE | CLAMP],
    ['5.11', 0, 0],
  ])('%s', async (_, mask, flags) => {
    expect(await worked(mask, SQPOLL)).toEqual({ flags: flags | SQPOLL, ...well });
  });
});
