import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { runCommand } from '../../../testing/program.ts';

const main = fileURLToPath(new URL('same/main.mjs', import.meta.url));
const CALLS = '1000';
const NOBODY = '65534';
const seeds = (process.env.OURO_SEEDS ?? '1,2,3').split(',');
const asRoot = process.getuid?.() === 0;
const namespaces = asRoot && mayMount();

function mayMount(): boolean {
  try {
    execFileSync('unshare', ['-m', '--propagation', 'private', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()], {
      stdio: 'ignore',
    });
    return true;
  } catch {
    return false;
  }
}

/** What random calls of ours and of Node's differ in. */
async function differences(seed: string, user: string, mounts: boolean): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'ouro-same-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  chmodSync(dir, 0o755);
  const command = [process.execPath, main, dir, seed, CALLS, user];
  const { stdout, stderr } = await runCommand(
    mounts ? ['unshare', '-m', '--propagation', 'private', ...command] : command,
    { env: { OURO_SAME_MOUNTS: mounts ? '1' : '' }, limitMs: 80_000 },
  );
  return stdout + stderr;
}

describe('random calls do and say what those of node:fs/promises do and say', () => {
  it.each(seeds)(
    'with read-only mounts where they can be made, seed %s',
    async (seed) => {
      expect(await differences(seed, '0', namespaces)).toBe('done\n');
    },
    90_000,
  );

  it.runIf(asRoot).each(seeds)(
    'where much is forbidden, seed %s',
    async (seed) => {
      expect(await differences(seed, NOBODY, namespaces)).toBe('done\n');
    },
    90_000,
  );
});
