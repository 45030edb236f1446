import { once } from 'node:events';
import { Readable } from 'node:stream';
import Koa from 'koa';

const app = new Koa();
app.use(async (context, next) => {
  await next();
  context.set('x-length', `${context.length ?? 'stream'}`);
});
app.use(async (context, next) => {
  if (context.path !== '/upper') return next();
  let body = '';
  for await (const chunk of context.req) body += chunk;
  context.body = { upper: body.toUpperCase() };
});
app.use(async (context, next) => {
  if (context.path !== '/stream') return next();
  context.type = 'text/plain';
  context.body = Readable.from(Array.from({ length: 200 }, () => 'ring'.repeat(1000)));
});
app.use((context) => context.throw(418, 'teapot'));
app.silent = true;
const server = app.listen(0, '127.0.0.1');
await once(server, 'listening');
const base = `http://127.0.0.1:${server.address().port}`;
const upper = await fetch(`${base}/upper`, { method: 'POST', body: 'ring'.repeat(50_000) });
const stream = await fetch(`${base}/stream`);
const thrown = await fetch(`${base}/none`);
export const result = {
  upper: (await upper.json()).upper === 'RING'.repeat(50_000),
  length: upper.headers.get('x-length'),
  stream: (await stream.text()).length,
  thrown: [thrown.status, await thrown.text()],
};
server.close();
server.closeAllConnections();
