import { describe, it } from 'vitest';
import { sanitized } from '../../../testing/sanitized.ts';
import { soak } from './soak.ts';

/** (With a sanitizer they take ten times as long.) */
const MANY = sanitized ? 1_000 : 5_000;
const CONNECTIONS = Number(process.env.OURO_SOAK_CONNECTIONS ?? MANY);
const SEED = Number(process.env.OURO_SOAK_SEED ?? Date.now() % 2 ** 31);

describe('a soak', () => {
  it(`of ${CONNECTIONS} connections gets every byte right and leaves nothing (OURO_SOAK_SEED=${SEED})`, async () => {
    console.log(`soak: OURO_SOAK_SEED=${SEED}`);
    await soak(CONNECTIONS, SEED);
  }, 600_000);
});
