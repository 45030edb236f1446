// Installs, builds the addon, compiles the TypeScript: whatever is not up to date. Needs Node, npm and a C++
// toolchain; pnpm is fetched through npm in the version that package.json names.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { bin, entriesOf, headerArguments, root, run } from './lib.mjs';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`ouro needs Node 20.19 or newer; this is ${process.version}`);
  process.exit(1);
}

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

function digest(files) {
  const hash = createHash('sha256').update(`${process.version} ${process.arch}\n`);
  for (const file of files) hash.update(file).update(readFileSync(join(root, file)));
  return hash.digest('hex');
}

/** Runs `work` unless the same inputs were worked through before. */
async function once(name, files, isThere, work) {
  const stamp = join(root, 'node_modules', `.ouro-${name}`);
  const wanted = digest(files);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted && isThere()) return;
  console.log(`${name} …`);
  await work();
  mkdirSync(join(root, 'node_modules'), { recursive: true });
  writeFileSync(stamp, wanted);
}

const packages = readdirSync(join(root, 'packages')).map((name) => `packages/${name}/package.json`);
await once(
  'install',
  ['package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml', 'bench/package.json', ...packages],
  () => existsSync(bin('tsc')),
  () => {
    const pnpm = manifest.packageManager;
    run('npm', ['exec', '--yes', `--package=${pnpm}`, '--', 'pnpm', 'install', '--frozen-lockfile'], {
      quiet: true,
      env: { CI: 'true' },
    });
  },
);

const cpp = 'packages/native/cpp';
const sources = readdirSync(join(root, cpp, 'src'), { recursive: true })
  .filter((name) => /\.[ch]pp$/.test(name))
  .map((name) => `${cpp}/src/${name}`);
await once(
  'addon',
  [`${cpp}/binding.gyp`, ...sources],
  () => existsSync(join(root, cpp, 'build/Release/ouro.node')),
  () =>
    run(bin('node-gyp'), ['configure', 'build', '-C', join(root, cpp), ...headerArguments()], {
      quiet: true,
    }),
);

run(bin('tsc'), ['-b'], { quiet: true });

const modules = packages.flatMap((manifest) => {
  const src = join(dirname(manifest), 'src');
  return readdirSync(join(root, src), { recursive: true })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(src, name));
});
const entries = packages.flatMap((manifest) =>
  entriesOf(JSON.parse(readFileSync(join(root, manifest), 'utf8'))).map((entry) =>
    join(root, dirname(manifest), 'dist', `${entry}.js`),
  ),
);
await once(
  'bundle',
  ['scripts/bundle.mjs', 'tsconfig.base.json', 'pnpm-lock.yaml', ...packages, ...modules],
  () => entries.every((entry) => existsSync(entry)),
  async () => (await import('./bundle.mjs')).bundlePackages(),
);
