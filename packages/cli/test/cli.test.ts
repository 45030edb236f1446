import { readFileSync } from 'node:fs';
import { examine, toJson } from '@ouro/cli';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { itOnRing, polls } from '../../../testing/engine.ts';
import { runCommand } from '../../../testing/program.ts';
import { buildSeccompLauncher, type SeccompLauncher } from '../../../testing/seccomp.ts';

const command = [process.execPath, 'packages/cli/bin/ouro.js'];
const ouro = (...args: string[]) => runCommand([...command, ...args]);

describe('the ouro command', () => {
  it('--version is that of the package', async () => {
    const { version } = JSON.parse(readFileSync('packages/cli/package.json', 'utf8')) as { version: string };
    expect((await ouro('--version')).stdout).toBe(`${version}\n`);
  });

  it('--help and nothing at all show the help', async () => {
    expect((await ouro('--help')).stdout).toContain('ouro doctor');
    expect((await ouro()).stdout).toContain('ouro doctor');
  });

  it('doctor --help shows the help, and an argument it does not know where it is, and 2', async () => {
    expect(await ouro('doctor', '--help')).toMatchObject({ code: 0, stderr: '' });
    const { code, stdout, stderr } = await ouro('doctor', '--all');
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toBe("ouro: doctor does not know '--all'\nTry 'ouro --help'\n");
  });

  it('refuses a command it does not know with 2', async () => {
    const { code, stderr } = await ouro('heal');
    expect(stderr).toBe("ouro: unknown command 'heal'\nTry 'ouro --help'\n");
    expect(code).toBe(2);
  });
});

let seccomp: SeccompLauncher;
beforeAll(async () => {
  seccomp = await buildSeccompLauncher();
});
afterAll(() => seccomp.remove());

describe('ouro doctor', () => {
  itOnRing('setup')('says what the ring can do and exits with 0', async () => {
    const { code, stdout, stderr } = await ouro('doctor');
    expect(stderr).toBe('');
    expect(stdout).toContain(`node     ${process.version}`);
    expect(stdout).toMatch(/^kernel {3}\d/m);
    expect(stdout).toMatch(/^sysctl {3}kernel\.io_uring_disabled /m);
    expect(stdout).toMatch(/^memlock {2}/m);
    expect(stdout).toContain("engine   uring: programs run on the kernel's ring\n");
    expect(stdout).toMatch(/io_uring available, \d+ opcodes/);
    expect(stdout).toMatch(/ring {5}256 submission and 4096 completion entries/);
    expect(stdout).toMatch(/^ {2}yes {2}CLAMP \(Linux 5\.6\)$/m);
    expect(stdout).toMatch(/^ {2}no {3}COOP_TASKRUN .*: \w/m);
    expect(code).toBe(0);
  });

  it('shows the variables that ouro goes by, and what they take away', async () => {
    const { code, stdout } = await runCommand([...command, 'doctor'], {
      env: { OURO_WITHOUT: 'FTRUNCATE,READ' },
    });
    expect(stdout).toContain('env      OURO_WITHOUT=FTRUNCATE,READ\n');
    expect(stdout).toContain('no   READ (Linux 5.6): OURO_WITHOUT names it\n');
    expect(stdout).toContain(
      'no   FTRUNCATE (Linux 6.9): OURO_WITHOUT names it; truncate goes through the thread pool\n',
    );
    expect(code).toBe(0);
  });

  it.each([
    ['EPERM', '1', '', 0],
    ['ENOSYS', '38', '', 0],
    ['EPERM', '1', 'uring', 1],
    ['ENOSYS', '38', 'uring', 1],
  ])(
    'says under a seccomp filter that answers %s (%s) with OURO_DRIVER=%s what to do, and exits with %i',
    async (name, errno, OURO_DRIVER, expected) => {
      const { code, stdout, stderr } = await runCommand([...seccomp.denyWith(errno), ...command, 'doctor'], {
        env: { OURO_DRIVER },
      });
      expect(stderr).toBe('');
      expect(stdout).toMatch(/^seccomp {2}filter \(\d+ in force\): denies io_uring$/m);
      expect(stdout).toContain('io_uring not available\n');
      expect(stdout).toContain('--security-opt seccomp=');
      expect(stdout).toContain(`(io_uring_setup: ${name})`);
      if (expected === 0) {
        expect(stdout).toContain('engine   poll: programs run in user space, since io_uring is denied\n');
        expect(stdout).toMatch(/^ops: \d+ of \d+$/m);
        expect(stdout).toContain('To have them fail instead: OURO_DRIVER=uring\n');
      } else {
        expect(stdout).toContain('engine   none: programs cannot run\n');
        expect(stdout).toContain('To run in user space instead: without OURO_DRIVER=uring');
      }
      expect(code).toBe(expected);
    },
  );

  it('says with OURO_DRIVER=poll what the poll engine lacks, and how to have the ring', async () => {
    const { code, stdout, stderr } = await runCommand([...command, 'doctor'], {
      env: { OURO_DRIVER: 'poll', OURO_WITHOUT: 'BIND' },
    });
    expect(stderr).toBe('');
    expect(stdout).toContain('engine   poll: programs run in user space, as asked for (OURO_DRIVER=poll)\n');
    expect(stdout).toContain('io_uring not touched, so not known to be available\n');
    expect(stdout).toContain('no   RECV_ZC (Linux 6.15): only the ring of the kernel can\n');
    expect(stdout).toContain('no   BIND (Linux 6.11): OURO_WITHOUT names it\n');
    expect(stdout).not.toContain('setup flags');
    expect(stdout).toContain('To have the ring where it is allowed: run without OURO_DRIVER=poll.');
    expect(code).toBe(0);
  });

  it('exits with 1 and says why where there is no engine', async () => {
    const { code, stdout } = await runCommand([...command, 'doctor'], {
      env: { OURO_NATIVE_PATH: '/nowhere/ouro.node' },
    });
    expect(stdout).toContain('engine   none: programs cannot run');
    expect(stdout).toContain('/nowhere/ouro.node');
    expect(code).toBe(1);
  });
});

describe('ouro doctor --json', () => {
  it('is one document: where, what, and capabilities()', async () => {
    const { code, stdout, stderr } = await runCommand([...command, 'doctor', '--json'], {
      env: { OURO_WITHOUT: 'BIND' },
    });
    expect(stderr).toBe('');
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({
      node: process.version,
      platform: `${process.platform}-${process.arch}`,
      environment: expect.objectContaining({ OURO_WITHOUT: 'BIND' }),
      capabilities: polls
        ? { driver: 'poll', sqEntries: 256 }
        : { driver: 'uring', available: true, error: null, sqEntries: 256 },
    });
    expect(report.capabilities.traits.ops.BIND.missing).toBe('without');
    expect(report.capabilities.traits.setup.CLAMP.supported).toBe(!polls);
    expect(code).toBe(0);
  });

  it('says no limit as a word, since JSON has no infinity', () => {
    const report = examine();
    const { capabilities } = report;
    const memlock = { soft: Number.POSITIVE_INFINITY, hard: Number.POSITIVE_INFINITY, exempt: false };
    const machine = { ...capabilities.machine, memlock };
    const json = toJson({ ...report, capabilities: { ...capabilities, machine } });
    expect(JSON.parse(json).capabilities.machine.memlock.soft).toBe('unlimited');
  });

  it.each([
    ['', 'poll', 0],
    ['uring', null, 1],
  ])(
    'gives with OURO_DRIVER=%s the denial as code, reason and message, and the engine %s',
    async (OURO_DRIVER, driver, expected) => {
      const { code, stdout } = await runCommand([...seccomp.denyWith('1'), ...command, 'doctor', '--json'], {
        env: { OURO_DRIVER },
      });
      const { capabilities } = JSON.parse(stdout);
      expect(capabilities).toMatchObject({
        driver,
        available: false,
        seccomp: 'denies',
        error: { name: 'UringUnavailableError', code: 'ERR_OURO_URING_UNAVAILABLE', reason: 'seccomp' },
      });
      expect(capabilities.error.message).toContain('--security-opt seccomp=');
      expect(code).toBe(expected);
    },
  );

  it('says with OURO_DRIVER=poll that nobody asked for the ring: available is null', async () => {
    const { code, stdout } = await runCommand([...command, 'doctor', '--json'], {
      env: { OURO_DRIVER: 'poll' },
    });
    const { capabilities } = JSON.parse(stdout);
    expect(capabilities).toMatchObject({ driver: 'poll', available: null, error: null, setupFlags: 0 });
    expect(capabilities.traits.setup.CLAMP.missing).toBe('engine');
    expect(code).toBe(0);
  });
});
