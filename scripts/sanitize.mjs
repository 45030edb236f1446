// Runs the tests on an addon built with AddressSanitizer and UndefinedBehaviorSanitizer: all but those of whole programs and of much
// data, which take minutes with it and do nothing natively that others do not. `--all` runs them, too. Leaks are
// not looked for: Node itself never frees everything, and leaks.mjs tells its leaks from ours. Arguments go to vitest.
import { buildSanitized } from './lib.mjs';
import { runTests } from './vitest.mjs';

const LONG = [
  'examples/test/**',
  'packages/cli/test/**',
  'packages/adapters/test/apps*.test.ts',
  'packages/fs/test/{large,same,write-durable-kill}.test.ts',
];
const given = process.argv.slice(2);
const all = given.includes('--all');

runTests(
  [
    '--maxWorkers=2',
    ...(all ? [] : LONG.map((glob) => `--exclude=${glob}`)),
    ...given.filter((argument) => argument !== '--all'),
  ],
  {
    ...(await buildSanitized()),
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1:handle_segv=1:use_sigaltstack=0',
  },
);
