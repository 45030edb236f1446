import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../../testing/program.ts';

const PROGRAM = fileURLToPath(new URL('stress/program.mjs', import.meta.url));

/** Of all four together a million. */
const OPS = 250_000;

// OURO_SEED=… repeats a run: nearly, since the kernel's timing is its own.
const seed = Number(process.env.OURO_SEED ?? Math.floor(Math.random() * 2 ** 31));

describe(`a million ops, cancelled, timed out and closed at random (OURO_SEED=${seed}),`, () => {
  it.each([8, 64, 512, 4096])(
    'all settle and leave nothing behind, with a queue of %d entries',
    async (entries) => {
      const { code, stdout, stderr } = await runCommand(
        [process.execPath, PROGRAM, String(seed + entries), String(OPS), String(entries)],
        { limitMs: 240_000 },
      );
      expect(stderr, `OURO_SEED=${seed}`).toBe('');
      expect(code).toBe(0);
      const { started, settled, outcomes, ...left } = JSON.parse(stdout);
      expect(started).toBeGreaterThanOrEqual(OPS);
      expect(settled).toBe(started);
      // Each way to end came about.
      for (const outcome of ['ok', 'ABORT_ERR', 'ETIMEDOUT', 'ECANCELED', 'EBADF', 'EIO', 'ENOENT']) {
        expect(outcomes[outcome], outcome).toBeGreaterThan(0);
      }
      expect(left, `OURO_SEED=${seed}`).toEqual({
        pending: 0,
        inFlight: 0,
        queued: 0,
        stale: 0,
        leased: 0,
        direct: 0,
        descriptors: 0,
        rings: 0,
      });
    },
    300_000,
  );
});
