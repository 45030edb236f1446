import { addon } from '@ouro/native';
import { describe, expect, it } from 'vitest';
import { type Ended, runCommand } from '../../../testing/program.ts';

/** Of the random programs: the same in every run, unless another is asked for. `npm run differential` runs as many as one likes. */
const seed = process.env.OURO_SEED ?? '20261129';

const differential = (...options: string[]): Promise<Ended> =>
  runCommand([process.execPath, 'packages/native/test/differential/main.mjs', '--seed', seed, ...options], {
    limitMs: 110_000,
  });

// Both engines run whichever is under test: where there is no ring there is nothing to compare.
describe.skipIf(addon().trySetup(0, 0) !== 0)('on the two engines', () => {
  it('programs that once ended in two ways end in one', async () => {
    const { stdout, code } = await differential('--kept', '--count', '0');
    expect(stdout).toContain('"failures":0');
    expect(code).toBe(0);
  }, 120_000);

  it(`so do random programs, from the seed ${seed}`, async () => {
    const { stdout, code } = await differential('--count', '100');
    expect(stdout).toContain('"programs":100,');
    expect(stdout).toContain('"failures":0');
    expect(code).toBe(0);
  }, 120_000);
});
