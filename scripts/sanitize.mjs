// Builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer and runs the tests on it. Leaks are not looked
// for: Node itself never frees everything. Arguments go to vitest.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { bin, headerArguments, root, run } from './lib.mjs';

const cpp = join(root, 'packages/native/cpp');
const copy = join(root, 'packages/native/build-asan');
rmSync(copy, { recursive: true, force: true });
cpSync(join(cpp, 'src'), join(copy, 'src'), { recursive: true });
cpSync(join(cpp, 'binding.gyp'), join(copy, 'binding.gyp'));
run(bin('node-gyp'), ['rebuild', '-C', copy, ...headerArguments(), '--', '-Douro_asan=1'], { quiet: true });

const library = (name) => spawnSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim();
const preload = [library('libasan.so'), library('libubsan.so')];
if (!preload.every((path) => existsSync(path))) {
  console.error('the sanitizer libraries of g++ are missing');
  process.exit(1);
}
run(bin('vitest'), ['run', '--maxWorkers=2', ...process.argv.slice(2)], {
  env: {
    OURO_NATIVE_PATH: join(copy, 'build/Release/ouro.node'),
    LD_PRELOAD: preload.join(':'),
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1:handle_segv=1:use_sigaltstack=0',
    UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
    OURO_SANITIZED: '1',
  },
});
