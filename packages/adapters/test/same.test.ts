import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../../testing/program.ts';
import { HOOK, temporaryDirectory } from './support.ts';

const directory = temporaryDirectory();

/** What the calls of a program come to. In a directory of the same name, so that paths are the same. */
async function outcome(face: string, name: string, program: string): Promise<unknown[]> {
  const place = join(directory, name);
  mkdirSync(place, { recursive: true });
  const path = `packages/adapters/test/same/${program}`;
  const flags = name === 'with' ? HOOK : [];
  const { code, stdout, stderr } = await runCommand([process.execPath, ...flags, path, place], {
    env: { OURO_ADAPTERS: face },
    limitMs: 120_000,
  });
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return JSON.parse(
    stdout.replaceAll(place, '(directory)').replaceAll(Buffer.from(place).toString('hex'), '(hex)'),
  );
}

describe('with the hook', () => {
  it.each([
    ['fs', 'calls.mjs'],
    ['dgram', 'dgram-calls.mjs'],
  ])(
    'node:%s gives the same results, errors and callbacks as without',
    async (face, program) => {
      const [without, withHook] = await Promise.all([
        outcome(face, 'without', program),
        outcome(face, 'with', program),
      ]);
      const differ = withHook.filter((one, i) => JSON.stringify(one) !== JSON.stringify(without[i]));
      expect(differ).toEqual(withHook.flatMap((one, i) => (differ.includes(one) ? [without[i]] : [])));
      expect(withHook.length).toBe(without.length);
    },
    240_000,
  );
});
