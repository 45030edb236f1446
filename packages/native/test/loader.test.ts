import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

describe('the loader', () => {
  it('names every place it tried where there is no build', async () => {
    const { stdout } = await runProgram(
      `
        import { addon } from '@ouro/native';
        try { addon(); } catch (error) { console.log(error.code, error.message); }
      `,
      { env: { OURO_NATIVE_PATH: '/nowhere/ouro.node' } },
    );
    expect(stdout).toContain('ERR_OURO_NATIVE');
    expect(stdout).toContain('/nowhere/ouro.node: no such file');
  });

  it('says what was wrong with a file that is no addon', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ouro-loader-'));
    const fake = join(folder, 'fake.node');
    writeFileSync(fake, 'not a shared object');
    const { stdout } = await runProgram(
      `
        import { addon } from '@ouro/native';
        try { addon(); } catch (error) { console.log(error.code, error.message); }
      `,
      { env: { OURO_NATIVE_PATH: fake } },
    );
    rmSync(folder, { recursive: true });
    expect(stdout).toContain('ERR_OURO_NATIVE');
    expect(stdout).toContain(`${fake}: ${fake}: `);
  });

  it('refuses Bun with a clear error', async () => {
    const { stdout } = await runProgram(`
      import { addon } from '@ouro/native';
      Object.defineProperty(process.versions, 'bun', { value: '1.3.0' });
      try { addon(); } catch (error) { console.log(error.message); }
    `);
    expect(stdout).toContain('Bun');
  });

  it('loads nothing when the package is imported', async () => {
    const { stdout } = await runProgram(`
      import { readFileSync } from 'node:fs';
      await import('@ouro/native'); await import('@ouro/runtime'); await import('@ouro/fs'); await import('@ouro/net');
      console.log(readFileSync('/proc/self/maps', 'utf8').includes('ouro.node'));
    `);
    expect(stdout).toBe('false\n');
  });
});
