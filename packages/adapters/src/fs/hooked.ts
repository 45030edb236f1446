// What the hook loads when a program calls something of `node:fs` for the first time.
import { prepare } from './prepare.ts';
import { serveEverywhere } from './scope.ts';

/** Which part this is. */
export const part = 'fs';

export { whole, wholePromised } from './whole.ts';

/** Serves all calls of this thread from here on. */
export function begin(): void {
  if (prepare()) serveEverywhere();
}
