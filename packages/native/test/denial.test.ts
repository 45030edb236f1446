import { type DenialEvidence, explain, UringUnavailableError } from '@ouro/native';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { buildSeccompLauncher, type SeccompLauncher } from '../../../testing/seccomp.ts';

const EPERM = -1;
const ENOMEM = -12;
const ENOSYS = -38;
const ENOTSUP = -95;

const allowed: Omit<DenialEvidence, 'result'> = { sysctl: 0, seccomp: 0, kernel: '6.1.0' };

describe('the explanation of a denial', () => {
  it.each([
    [
      'the sysctl for everybody',
      { ...allowed, result: EPERM, sysctl: 2 },
      'sysctl',
      'sysctl -w kernel.io_uring_disabled=0',
    ],
    [
      'the sysctl for non-members',
      { ...allowed, result: EPERM, sysctl: 1 },
      'sysctl',
      'kernel.io_uring_group',
    ],
    ['a seccomp filter', { ...allowed, result: EPERM, seccomp: 2 }, 'seccomp', '--security-opt seccomp='],
    [
      'a seccomp filter that plays dead',
      { ...allowed, result: ENOSYS, seccomp: 2 },
      'seccomp',
      'io_uring_enter',
    ],
    ['a kernel without it', { ...allowed, result: ENOSYS, sysctl: null }, 'kernel', 'CONFIG_IO_URING'],
    ['a kernel too old', { ...allowed, result: ENOTSUP, kernel: '5.15.0' }, 'kernel', 'needs 6.0'],
    ['a lack of memory', { ...allowed, result: ENOMEM }, 'memory', 'ulimit -l'],
    ['something else that forbids', { ...allowed, result: EPERM }, 'unknown', 'SELinux'],
    ['something unknown', { ...allowed, result: -5 }, 'unknown', 'EIO'],
  ])('names %s and what to do', (_, evidence, reason, advice) => {
    const error = explain(evidence);
    expect(error).toBeInstanceOf(UringUnavailableError);
    expect(error).toMatchObject({
      code: 'ERR_OURO_URING_UNAVAILABLE',
      syscall: 'io_uring_setup',
      errno: evidence.result,
      reason,
    });
    expect(error.message).toContain(advice);
  });
});

describe('under a seccomp filter as Docker sets it', () => {
  let seccomp: SeccompLauncher;

  beforeAll(async () => {
    seccomp = await buildSeccompLauncher();
  });
  afterAll(() => seccomp.remove());

  it.each([
    ['EPERM', '1'],
    ['ENOSYS', '38'],
  ])('that answers %s, run of the ring rejects and the message names seccomp', async (name, errno) => {
    const { stdout, code } = await runProgram(
      `
        import { run, capabilities, metrics } from '@ouro/runtime';
        await run(() => {}).catch((error) => console.log(error.code, error.reason, error.message.includes('(io_uring_setup: ${name})')));
        console.log(capabilities().available, metrics().driver);
        setTimeout(() => console.log('the rest of Node goes on'), 1);
      `,
      { under: seccomp.denyWith(errno), env: { OURO_DRIVER: 'uring' } },
    );
    expect(stdout).toBe('ERR_OURO_URING_UNAVAILABLE seccomp true\nfalse null\nthe rest of Node goes on\n');
    expect(code).toBe(0);
  });

  it.each([
    ['EPERM', '1'],
    ['ENOSYS', '38'],
  ])('that answers %s, a program runs in user space and knows why', async (name, errno) => {
    const { stdout, stderr, code } = await runProgram(
      `
        import { readFileSync } from 'node:fs';
        import { run, capabilities, metrics } from '@ouro/runtime';
        import { readFile } from '@ouro/fs';
        const same = await run(async () => (await readFile('package.json')).equals(readFileSync('package.json')));
        const { driver, fallback } = metrics();
        console.log(same, driver, fallback.reason, fallback.code, fallback.message.includes('(io_uring_setup: ${name})'));
        const { available, error } = capabilities();
        console.log(available, error.message === fallback.message);
      `,
      { under: seccomp.denyWith(errno), env: { OURO_DRIVER: '' } },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('true poll seccomp ERR_OURO_URING_UNAVAILABLE true\nfalse true\n');
    expect(code).toBe(0);
  });

  it.each(['sqpoll', 'iopoll'])('%s is an error: nothing else can do that', async (mode) => {
    const { stdout } = await runProgram(
      `
        import { run } from '@ouro/runtime';
        await run(() => {}, { ${mode}: true }).catch((error) => console.log(error.code, error.reason));
      `,
      { under: seccomp.denyWith('1'), env: { OURO_DRIVER: '' } },
    );
    expect(stdout).toBe('ERR_OURO_URING_UNAVAILABLE seccomp\n');
  });

  it('every op of the ring rejects, none throws', async () => {
    const { stdout, stderr } = await runProgram(
      `
        import { sleep } from '@ouro/runtime';
        import { File, readFile, writeFile } from '@ouro/fs';
        import { TcpListener, TcpStream } from '@ouro/net';
        const all = [
          () => sleep(1),
          () => File.open('package.json'),
          () => File.fromFd(0).read(Buffer.alloc(1)),
          () => File.fromFd(1).write('x'),
          () => readFile('package.json'),
          () => writeFile('/tmp/never', 'x'),
          () => TcpListener.bind({ host: '127.0.0.1' }),
          () => TcpStream.connect({ host: '127.0.0.1', port: 1 }),
        ];
        for (const begin of all) await begin().then(() => console.log('no error'), (error) => console.log(error.reason));
      `,
      { under: seccomp.denyWith('1'), env: { OURO_DRIVER: 'uring' } },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('seccomp\n'.repeat(8));
  });
});
