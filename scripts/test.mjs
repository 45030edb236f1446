// Runs the tests. Arguments go to vitest.
import { bin, run } from './lib.mjs';

run(bin('vitest'), ['run', ...process.argv.slice(2)]);
