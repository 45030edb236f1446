// npm run example -- NAME …: builds what is needed and runs an example.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root, run } from './lib.mjs';

const [name, ...args] = process.argv.slice(2);
const source = join(root, 'examples', `${name}.ts`);
if (name === undefined || !/^[a-z-]+$/.test(name) || !existsSync(source)) {
  const names = readdirSync(join(root, 'examples')).filter((file) => file.endsWith('.ts'));
  if (name !== undefined) console.error(`no example is called '${name}'`);
  console.error(
    `usage: npm run example -- NAME [ARGUMENT …]\n  ${names.map((file) => file.slice(0, -3)).join('\n  ')}`,
  );
  process.exit(2);
}
run(process.execPath, [join(root, 'scripts/setup.mjs')]);
const child = spawn(process.execPath, [join(root, 'examples/dist', `${name}.js`), ...args], {
  stdio: 'inherit',
  // Where the user is: npm itself changes to the root.
  cwd: process.env.INIT_CWD ?? process.cwd(),
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => process.exit(signal ? 1 : (code ?? 1)));
