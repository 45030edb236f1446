// Packs every package as it would be published and checks the result: publint, are-the-types-wrong, and an
// installation of all of them in an empty folder, imported by name where there is no native build.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bin, root, run } from './lib.mjs';

const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'ouro-packages-'));
const names = readdirSync(join(root, 'packages'));
try {
  for (const name of names) {
    run(
      'npm',
      ['exec', '--yes', `--package=${packageManager}`, '--', 'pnpm', 'pack', '--pack-destination', folder],
      {
        cwd: join(root, 'packages', name),
        quiet: true,
      },
    );
  }
  const tarballs = readdirSync(folder).map((file) => join(folder, file));
  for (const tarball of tarballs) {
    run(bin('publint'), ['run', tarball, '--strict'], { quiet: true });
    run(bin('attw'), [tarball, '--profile', 'esm-only'], { quiet: true });
  }

  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }');
  run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', ...tarballs], {
    cwd: folder,
    quiet: true,
  });
  writeFileSync(
    join(folder, 'check.mjs'),
    `
      for (const name of ${JSON.stringify(names)}) await import('@ouro/' + name);
      const { addon } = await import('@ouro/native');
      try {
        addon();
        throw new Error('an addon where none was built');
      } catch (error) {
        if (error.code !== 'ERR_OURO_NATIVE') throw error;
      }
    `,
  );
  run(process.execPath, ['check.mjs'], { cwd: folder });
  run(process.execPath, ['node_modules/.bin/ouro', '--version'], { cwd: folder, quiet: true });
  console.log(`${tarballs.length} packages are fit to publish`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
