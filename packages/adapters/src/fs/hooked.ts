// What the hook loads when a program calls something of `node:fs` for the first time.
import { prepare } from './prepare.ts';
import { serveEverywhere } from './scope.ts';

export { whole, wholePromised } from './whole.ts';

if (prepare()) serveEverywhere();
