// Runs the tests. Arguments go to vitest.
import { runTests } from './vitest.mjs';

runTests(process.argv.slice(2));
