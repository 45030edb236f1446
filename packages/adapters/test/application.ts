import { join } from 'node:path';
import { expect } from 'vitest';
import { root, runCommand } from '../../../testing/program.ts';
import { HOOK } from './support.ts';

type Counters = Record<string, { ours: number; node: number } | undefined>;

/** What an application tells: see apps/main.mjs. */
export interface Told {
  readonly result: unknown;
  readonly fs: Counters;
  readonly net: Counters;
  readonly http: Counters;
  readonly tls: Counters;
}

/** Runs an application of apps/ as it is, with the hook unless it is told otherwise. */
export async function runApplication(
  name: string,
  env: NodeJS.ProcessEnv = {},
  flags: readonly string[] = HOOK,
): Promise<Told> {
  const main = join(root, 'packages/adapters/test/apps/main.mjs');
  const { code, signal, stdout, stderr } = await runCommand([process.execPath, ...flags, main, name], {
    env: { OURO_ADAPTERS: 'net,http', ...env },
    limitMs: 170_000,
  });
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' });
  return JSON.parse(stdout) as Told;
}

/** All of its connections have gone over the engine, and none over Node's own sockets. */
export function connected(told: Told): void {
  expect(told.net['Socket.connect']?.ours).toBeGreaterThan(0);
  expect(Object.values(told.net).filter((each) => each?.node !== 0)).toEqual([]);
  expect(told.net.read?.ours).toBeGreaterThan(0);
  expect(told.net.write?.ours).toBeGreaterThan(0);
}

/** So have those that it has accepted. */
export function served(told: Told): void {
  connected(told);
  expect(told.net['Server.listen']?.ours).toBeGreaterThan(0);
  expect(told.net.accept?.ours).toBeGreaterThan(0);
}

/** Its HTTP has been parsed where it arrived. */
export function servedHttp(told: Told): void {
  served(told);
  expect(told.http['Server connection']?.ours).toBeGreaterThan(0);
  expect(told.http['Server connection']?.node).toBe(0);
}
