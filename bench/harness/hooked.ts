import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { needed, ROOT } from './paths.ts';
import type { Command } from './pinning.ts';

/** Node's option that puts a program on the ring, as its environment. */
const HOOK = `NODE_OPTIONS=--import=${pathToFileURL(join(ROOT, 'packages/adapters/dist/register.js')).href}`;

/** The environment of a program of Node's with only one face on the ring. */
export const hooked = (face: 'net' | 'dgram'): readonly string[] => [
  HOOK,
  `OURO_ADAPTERS=${face}`,
  'OURO_DRIVER=uring',
];

/** A way to run a program of Node's. */
export interface Hooked {
  readonly name: string;
  /** As `NAME=value`. */
  readonly env: readonly string[];
}

/** As it is, and with the register hook on each engine. */
export const HOOKED: readonly Hooked[] = [
  { name: 'node', env: [] },
  { name: 'hook', env: [HOOK, 'OURO_DRIVER=uring'] },
  { name: 'hook-poll', env: [HOOK, 'OURO_DRIVER=poll'] },
];

/** The one of them that ratios refer to. */
export const UNHOOKED = 'node';

/** One of our programs, `file` relative to the repository, run that way. */
export function hookedCommand({ name, env }: Hooked, file: string, args: readonly string[]): Command {
  if (env.length > 0) needed(name, 'packages/adapters/dist/register.js', 'run `npm run build`');
  const program = needed(name, file, 'it is part of the repository');
  return { file: 'env', args: [...env, process.execPath, program, ...args] };
}
