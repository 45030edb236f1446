// Runs the tests on an addon built with AddressSanitizer and UndefinedBehaviorSanitizer: all but those of whole programs, which take
// seconds each to start with it and do nothing natively that tests of the packages do not. `--all` runs them, too. Leaks are
// not looked for: Node itself never frees everything, and leaks.mjs tells its leaks from ours. Arguments go to vitest.
import { buildSanitized } from './lib.mjs';
import { runTests } from './vitest.mjs';

const PROGRAMS = ['examples/test/**', 'packages/cli/test/**', '**/apps*.test.ts', '**/build-tools*.test.ts'];
const given = process.argv.slice(2);
const all = given.includes('--all');

runTests(
  [
    '--maxWorkers=2',
    ...(all ? [] : PROGRAMS.map((glob) => `--exclude=${glob}`)),
    ...given.filter((argument) => argument !== '--all'),
  ],
  {
    ...(await buildSanitized()),
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1:handle_segv=1:use_sigaltstack=0',
  },
);
