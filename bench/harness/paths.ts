import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { BenchError } from './error.ts';

/** The repository: this file runs as bench/dist/harness/paths.js. */
export const ROOT: string = resolve(import.meta.dirname, '../../..');
export const BENCH: string = join(ROOT, 'bench');
export const DIST: string = join(BENCH, 'dist');
export const BIN: string = join(DIST, 'bin');

/** The path of a file that a contender needs, relative to the repository. A contender is never skipped in silence. */
export function needed(contender: string, path: string, hint: string): string {
  const full = join(ROOT, path);
  if (!existsSync(full))
    throw new BenchError(`contender '${contender}' cannot run: ${path} is missing; ${hint}`);
  return full;
}
