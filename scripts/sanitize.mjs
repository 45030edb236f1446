// Runs the tests on an addon built with AddressSanitizer and UndefinedBehaviorSanitizer. Leaks are not looked for: Node
// itself never frees everything, and leaks.mjs tells its leaks from ours. Arguments go to vitest.
import { buildSanitized } from './lib.mjs';
import { runTests } from './vitest.mjs';

runTests(['--maxWorkers=2', ...process.argv.slice(2)], {
  ...buildSanitized(),
  ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1:handle_segv=1:use_sigaltstack=0',
});
