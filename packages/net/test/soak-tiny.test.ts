import { run } from '@ouro/runtime';
import { describe, it } from 'vitest';
import { soak } from './soak.ts';

const CONNECTIONS = Number(process.env.OURO_SOAK_CONNECTIONS ?? 1_000);
const SEED = Number(process.env.OURO_SOAK_SEED ?? Date.now() % 2 ** 31);

describe('a soak where all streams receive into one buffer of 64 KiB, by queues of 64 entries,', () => {
  it(`of ${CONNECTIONS} connections gets every byte right and leaves nothing (OURO_SOAK_SEED=${SEED})`, async () => {
    console.log(`soak: OURO_SOAK_SEED=${SEED}`);
    await run(() => soak(CONNECTIONS, SEED), { receiveMemory: 64, entries: 64, cqEntries: 64 });
  }, 600_000);
});
