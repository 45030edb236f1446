import { describe, expect, it, vi } from 'vitest';
import { runCommand } from '../../../testing/program.ts';

vi.setConfig({ testTimeout: 120_000 });

/** What npm would pack, and what it says of who has served it. */
async function pack(env: NodeJS.ProcessEnv): Promise<{ readonly files: string; readonly stderr: string }> {
  const command = ['npm', 'pack', './packages/fs', '--dry-run', '--json', '--offline'];
  const { code, signal, stdout, stderr } = await runCommand(command, { env, limitMs: 100_000 });
  expect({ code, signal }, stderr).toEqual({ code: 0, signal: null });
  return { files: stdout, stderr };
}

describe('npm with the hook', () => {
  it('packs the same files, by the ring', async () => {
    const without = await pack({});
    const withHook = await pack({
      NODE_OPTIONS: '--import=@ouro/adapters/register',
      OURO_ADAPTERS: 'fs',
      OURO_ADAPTERS_STATS: '1',
    });
    expect(withHook.files).toBe(without.files);
    const [, served] = /^fs\.lstat +(\d+) +0$/m.exec(withHook.stderr) ?? [];
    expect(Number(served)).toBeGreaterThan(100);
  });
});
