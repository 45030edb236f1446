// Shared by the scripts: where things are and how commands are run.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

/** Runs `work` unless the same inputs, files by their paths in the repository, were worked through before. */
export async function once(name, files, isThere, work) {
  const stamp = join(root, 'node_modules', `.ouro-${name}`);
  const hash = createHash('sha256').update(`${process.version} ${process.arch}\n`);
  for (const file of files) hash.update(file).update(readFileSync(join(root, file)));
  const wanted = hash.digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted && isThere()) return;
  console.log(`${name} …`);
  await work();
  mkdirSync(join(root, 'node_modules'), { recursive: true });
  writeFileSync(stamp, wanted);
}

/** Where the addon's sources are. */
export const CPP = 'packages/native/cpp';

/** What the addon is made of. */
export function addonSources() {
  const files = readdirSync(join(root, CPP, 'src'), { recursive: true });
  return [
    `${CPP}/binding.gyp`,
    ...files.filter((name) => /\.[ch]pp$/.test(name)).map((name) => `${CPP}/src/${name}`),
  ];
}

/** node-gyp's --nodedir: the headers that came with this Node, so that none need be downloaded. */
function headerArguments() {
  const prefix = resolve(dirname(process.execPath), '..');
  return existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? [`--nodedir=${prefix}`] : [];
}

/** Compiles an addon, on all CPUs. Further arguments go to gyp. */
export function nodeGyp(command, folder, ...more) {
  const commands = command === 'build' ? ['configure', 'build'] : [command];
  run(bin('node-gyp'), [...commands, '-C', folder, '--jobs=max', ...headerArguments(), ...more], {
    quiet: true,
  });
}

/** Builds the addon another way, beside the ordinary one in `packages/native/build-NAME`, and answers where it is. */
export async function buildVariant(name, define) {
  const copy = `packages/native/build-${name}`;
  const addon = join(root, copy, 'build/Release/ouro.node');
  await once(
    `addon-${name}`,
    addonSources(),
    () => existsSync(addon),
    () => {
      rmSync(join(root, copy), { recursive: true, force: true });
      cpSync(join(root, CPP, 'src'), join(root, copy, 'src'), { recursive: true });
      cpSync(join(root, CPP, 'binding.gyp'), join(root, copy, 'binding.gyp'));
      nodeGyp('rebuild', join(root, copy), '--', `-D${define}=1`);
    },
  );
  return addon;
}

/**
 * Builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer beside the ordinary one, and answers the
 * environment in which a program uses it.
 */
export async function buildSanitized() {
  const library = (name) =>
    spawnSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim();
  const preload = [library('libasan.so'), library('libubsan.so')];
  if (!preload.every((path) => existsSync(path))) {
    console.error('the sanitizer libraries of g++ are missing');
    process.exit(1);
  }
  return {
    OURO_NATIVE_PATH: await buildVariant('asan', 'ouro_asan'),
    LD_PRELOAD: preload.join(':'),
    UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
    OURO_SANITIZED: '1',
  };
}

/** The modules of a package that others import or that are run, as its manifest names them: `op/read` for `./dist/op/read.js`. */
export function entriesOf(manifest) {
  const imported = Object.values(manifest.exports ?? {}).map((entry) => entry.default);
  const inside = Object.values(manifest.imports ?? {});
  const run = (manifest.sideEffects || []).filter((path) => path.startsWith('./dist/'));
  return [...imported, ...inside, ...run].map((path) => relative('dist', path).replace(/\.js$/, ''));
}
