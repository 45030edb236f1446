import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../../testing/program.ts';
import { HOOK, temporaryDirectory } from './support.ts';

const directory = temporaryDirectory();

/** What the calls of same/calls.mjs come to. In a directory of the same name, so that paths are the same. */
async function outcome(name: string, flags: readonly string[]): Promise<unknown[]> {
  const place = join(directory, name);
  mkdirSync(place);
  const program = 'packages/adapters/test/same/calls.mjs';
  const { code, stdout, stderr } = await runCommand([process.execPath, ...flags, program, place], {
    env: { OURO_ADAPTERS: 'fs' },
    limitMs: 120_000,
  });
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return JSON.parse(
    stdout.replaceAll(place, '(directory)').replaceAll(Buffer.from(place).toString('hex'), '(hex)'),
  );
}

describe('node:fs with the hook', () => {
  it('gives the same results, errors and callbacks as without', async () => {
    const [without, withHook] = await Promise.all([outcome('without', []), outcome('with', HOOK)]);
    const differ = withHook.filter((one, i) => JSON.stringify(one) !== JSON.stringify(without[i]));
    expect(differ).toEqual(withHook.flatMap((one, i) => (differ.includes(one) ? [without[i]] : [])));
    expect(withHook.length).toBe(without.length);
  }, 240_000);
});
