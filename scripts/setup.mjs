// Installs, builds the addon, compiles the TypeScript: whatever is not up to date. Needs Node, npm and a C++
// toolchain; pnpm is fetched through npm in the version that package.json names.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { addonSources, bin, CPP, entriesOf, nodeGyp, once, root, run } from './lib.mjs';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`ouro needs Node 20.19 or newer; this is ${process.version}`);
  process.exit(1);
}

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

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

await once(
  'addon',
  addonSources(),
  () => existsSync(join(root, CPP, 'build/Release/ouro.node')),
  () => nodeGyp('build', join(root, CPP)),
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
