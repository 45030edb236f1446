// Builds the addon as other systems than Linux would get it, and runs the tests of sockets on it, on the poll engine: all
// but those of calls that other systems lack. Arguments go to vitest.
import { buildVariant } from './lib.mjs';
import { runTests } from './vitest.mjs';

const LINUX_ONLY = [
  '**/op-sockopt.test.ts',
  '**/op-socket.test.ts',
  '**/send-file-faults.test.ts',
  '**/splice-socket.test.ts',
  '**/unix-stale.test.ts',
  '**/unix-teardown.test.ts',
];
/** Tests that ask for what only Linux has: to drop a file from the page cache, a named pipe. */
const OTHERS = '^(?!.*(from the disk|named pipe))';
runTests(
  [
    'packages/net/test',
    ...LINUX_ONLY.map((glob) => `--exclude=${glob}`),
    `--testNamePattern=${OTHERS}`,
    ...process.argv.slice(2),
  ],
  { OURO_NATIVE_PATH: await buildVariant('portable', 'ouro_portable'), OURO_DRIVER: 'poll' },
);
