// Shared by the scripts: where things are and how commands are run.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
export const bin = (name) => join(root, 'node_modules', '.bin', name);

/** Runs a command and ends this script with its exit code if it fails. Quiet commands show their output only then. */
export function run(command, args, { quiet = false, env = {}, cwd = root } = {}) {
  const result = spawnSync(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: quiet ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'inherit', 'inherit'],
    maxBuffer: 1 << 28,
  });
  if (result.status === 0) return;
  if (quiet)
    process.stderr.write(Buffer.concat([result.stdout ?? Buffer.alloc(0), result.stderr ?? Buffer.alloc(0)]));
  console.error(`\nfailed: ${command} ${args.join(' ')}${result.error ? `: ${result.error.message}` : ''}`);
  process.exit(result.status || 1);
}

/** node-gyp's --nodedir: the headers that came with this Node, so that none need be downloaded. */
export function headerArguments() {
  const prefix = resolve(dirname(process.execPath), '..');
  return existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? [`--nodedir=${prefix}`] : [];
}

/** Builds the addon another way, beside the ordinary one in `packages/native/build-NAME`, and answers where it is. */
export function buildVariant(name, define) {
  const cpp = join(root, 'packages/native/cpp');
  const copy = join(root, `packages/native/build-${name}`);
  rmSync(copy, { recursive: true, force: true });
  cpSync(join(cpp, 'src'), join(copy, 'src'), { recursive: true });
  cpSync(join(cpp, 'binding.gyp'), join(copy, 'binding.gyp'));
  run(bin('node-gyp'), ['rebuild', '-C', copy, ...headerArguments(), '--', `-D${define}=1`], { quiet: true });
  return join(copy, 'build/Release/ouro.node');
}

/**
 * Builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer beside the ordinary one, and answers the
 * environment in which a program uses it.
 */
export function buildSanitized() {
  const library = (name) =>
    spawnSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim();
  const preload = [library('libasan.so'), library('libubsan.so')];
  if (!preload.every((path) => existsSync(path))) {
    console.error('the sanitizer libraries of g++ are missing');
    process.exit(1);
  }
  return {
    OURO_NATIVE_PATH: buildVariant('asan', 'ouro_asan'),
    LD_PRELOAD: preload.join(':'),
    UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
    OURO_SANITIZED: '1',
  };
}

/** The modules of a package that others import or that are run, as its manifest names them: `op/read` for `./dist/op/read.js`. */
export function entriesOf(manifest) {
  const imported = Object.values(manifest.exports ?? {}).map((entry) => entry.default);
  const run = (manifest.sideEffects || []).filter((path) => path.startsWith('./dist/'));
  return [...imported, ...run].map((path) => relative('dist', path).replace(/\.js$/, ''));
}
