// npm run bench -- FAMILY [--quick] [--json FILE]: builds what is needed and runs the bench.
import { join } from 'node:path';
import { root, run } from './lib.mjs';

run(process.execPath, [join(root, 'scripts/setup.mjs')]);
run(process.execPath, [join(root, 'bench/dist/main.js'), ...process.argv.slice(2)]);
