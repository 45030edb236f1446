import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'vite';

const root = await mkdtemp(join(tmpdir(), 'ouro-vite-'));
await mkdir(join(root, 'public'));
const files = {
  'index.html': '<!doctype html><script type="module" src="/main.ts"></script>',
  'main.ts': "import { double } from './double.ts';\nimport './style.css';\nconst n: number = double(21);\n",
  'double.ts': 'export const double = (n: number): number => n * 2;\n',
  'style.css': 'body { color: teal }\n',
  'public/large.txt': 'ring'.repeat(100_000),
};
for (const [name, content] of Object.entries(files)) await writeFile(join(root, name), content);

const server = await createServer({
  root,
  configFile: false,
  logLevel: 'error',
  cacheDir: join(root, '.cache'),
  server: { port: 0, host: '127.0.0.1', watch: null },
});
await server.listen();
const base = `http://127.0.0.1:${server.httpServer.address().port}`;
const get = async (path) => {
  const answer = await fetch(base + path, { headers: { accept: '*/*' } });
  return { status: answer.status, text: await answer.text() };
};
const page = await fetch(base, { headers: { accept: 'text/html' } });
const main = await get('/main.ts');
const double = await get('/double.ts');
const client = await get('/@vite/client');
const large = await get('/large.txt');
export const result = {
  page: (await page.text()).includes('/@vite/client'),
  main: { imports: main.text.includes('/double.ts'), typed: main.text.includes('number') },
  double: { status: double.status, typed: double.text.includes(': number') },
  style: (await get('/style.css?direct')).text.includes('teal'),
  client: client.status === 200 && client.text.includes('WebSocket'),
  large: large.text === files['public/large.txt'],
};
await server.close();
await rm(root, { recursive: true });
