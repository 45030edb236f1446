import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import webpack from 'webpack';

// A server on Koa, bundled with all that it needs into one file, which runs where no Koa is.
const SERVER = `
  const Koa = require('koa');
  const app = new Koa();
  app.use((context) => { context.body = { hello: context.query.name }; });
  const server = app.listen(0, '127.0.0.1', async () => {
    const answer = await fetch('http://127.0.0.1:' + server.address().port + '/?name=ring');
    console.log(await answer.text());
    server.close();
    server.closeAllConnections();
  });
`;

const require = createRequire(import.meta.url);
const directory = await mkdtemp(join(tmpdir(), 'ouro-webpack-'));
await writeFile(join(directory, 'server.js'), SERVER);
const compiler = webpack({
  mode: 'production',
  target: 'node',
  context: directory,
  entry: './server.js',
  resolve: { alias: { koa: require.resolve('koa') } },
  output: { path: join(directory, 'out'), filename: 'bundle.js' },
  optimization: { minimize: false },
  devtool: 'source-map',
});
const stats = await promisify(compiler.run.bind(compiler))();
await promisify(compiler.close.bind(compiler))();
const { errors, modules } = stats.toJson({ all: false, errors: true, modules: true, nestedModules: true });
const bundle = join(directory, 'out/bundle.js');
const { stdout } = await promisify(execFile)(process.execPath, [bundle], { cwd: directory });
export const result = {
  errors: errors.map(({ message }) => message),
  many: modules.length > 50,
  emitted: Object.keys(stats.compilation.assets).sort(),
  output: stdout.trim(),
};
await rm(directory, { recursive: true });
