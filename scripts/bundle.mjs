// Makes of each package's sources one file for each of its entries, and one of what they share: a program that loads a few files
// starts sooner than one that loads 300, and needs no descriptor for each. (Types come from the compiler.)
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { entriesOf, root } from './lib.mjs';

/** What the hook of the adapters needs at the start of every program, and shares with what it loads later: one file. */
const HOOK =
  /adapters\/src\/(in-place|node-binding|options|stats|timers|\w+\/(originals|places|binding|internals))\.ts$/;

/** Bundles every package into its `dist`, where nothing else of JavaScript stays. */
export async function bundlePackages() {
  for (const name of readdirSync(join(root, 'packages'))) {
    const folder = join(root, 'packages', name);
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const dist = join(folder, 'dist');
    const others = Object.keys(manifest.dependencies ?? {});
    const build = await rolldown({
      input: Object.fromEntries(
        entriesOf(manifest).map((entry) => [entry, join(folder, 'src', `${entry}.ts`)]),
      ),
      // Constants of the kernel are put in where they are used; all else of other packages stays theirs.
      external: (id) =>
        id.startsWith('node:') ||
        (id !== '@ouro/native/abi' && others.some((other) => id === other || id.startsWith(`${other}/`))),
      // What is neither ours nor a dependency, above all.
      onLog: (_level, log) => {
        throw new Error(`${name}: ${log.message}`);
      },
      resolve: { alias: { '@ouro/native/abi': join(root, 'packages/native/src/abi.ts') } },
      platform: 'node',
      transform: { target: 'es2022' },
      treeshake: { moduleSideEffects: true },
      optimization: { inlineConst: true },
    });
    const { output } = await build.write({
      dir: dist,
      format: 'esm',
      entryFileNames: '[name].js',
      chunkFileNames: 'shared-[name].js',
      codeSplitting: { groups: [{ name: 'hook', test: HOOK }] },
      keepNames: true,
      sourcemap: true,
    });
    await build.close();
    const written = new Set(output.map(({ fileName }) => fileName));
    for (const file of readdirSync(dist, { recursive: true }))
      if (/\.js(\.map)?$/.test(file) && !written.has(file)) rmSync(join(dist, file));
  }
}
