// npm run bench -- FAMILY [--quick] [--json FILE]: builds what is needed and runs the bench.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root, run } from './lib.mjs';

run(process.execPath, [join(root, 'scripts/setup.mjs')]);
// Not by `run`: the bench says itself what is wrong.
const bench = [join(root, 'bench/dist/main.js'), ...process.argv.slice(2)];
const { status } = spawnSync(process.execPath, bench, {
  cwd: root,
  stdio: ['ignore', 'inherit', 'inherit'],
});
process.exit(status ?? 1);
