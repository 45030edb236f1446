import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../../testing/program.ts';

const ouro = (...args: string[]) => runCommand([process.execPath, 'packages/cli/bin/ouro.js', ...args]);

describe('the ouro command', () => {
  it('doctor says what the ring can do and exits with 0', async () => {
    const { code, stdout, stderr } = await ouro('doctor');
    expect(stderr).toBe('');
    expect(stdout).toContain(`node     ${process.version}`);
    expect(stdout).toMatch(/io_uring available, \d+ opcodes/);
    expect(stdout).toMatch(/ring {5}256 submission and 4096 completion entries/);
    expect(code).toBe(0);
  });

  it('doctor exits with 1 and says why where there is no engine', async () => {
    const { code, stdout } = await runCommand([process.execPath, 'packages/cli/bin/ouro.js', 'doctor'], {
      env: { OURO_NATIVE_PATH: '/nowhere/ouro.node' },
    });
    expect(stdout).toContain('io_uring not available');
    expect(stdout).toContain('/nowhere/ouro.node');
    expect(code).toBe(1);
  });

  it('--version is that of the package', async () => {
    const { version } = JSON.parse(readFileSync('packages/cli/package.json', 'utf8')) as { version: string };
    expect((await ouro('--version')).stdout).toBe(`${version}\n`);
  });

  it('--help and nothing at all show the help', async () => {
    expect((await ouro('--help')).stdout).toContain('ouro doctor');
    expect((await ouro()).stdout).toContain('ouro doctor');
  });

  it('doctor takes no arguments but --help', async () => {
    expect((await ouro('doctor', '--help')).stdout).toContain('ouro doctor');
    expect(await ouro('doctor', '--all')).toMatchObject({ code: 2, stdout: '' });
  });

  it('refuses a command it does not know with 2', async () => {
    const { code, stderr } = await ouro('heal');
    expect(stderr).toContain("unknown command 'heal'");
    expect(code).toBe(2);
  });
});
