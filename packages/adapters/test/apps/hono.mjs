import { once } from 'node:events';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { streamSSE } from 'hono/streaming';

const app = new Hono();
app.get('/hello/:name', (context) => context.text(`hello ${context.req.param('name')}`));
app.post('/sum', async (context) => {
  const numbers = await context.req.json();
  return context.json({ sum: numbers.reduce((a, b) => a + b, 0) });
});
app.get('/events', (context) =>
  streamSSE(context, async (events) => {
    for (let i = 0; i < 20; i++) await events.writeSSE({ id: `${i}`, data: 'ring' });
  }),
);
const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' });
if (!server.listening) await once(server, 'listening');
const base = `http://127.0.0.1:${server.address().port}`;
const hello = await fetch(`${base}/hello/ring`);
const sum = await fetch(`${base}/sum`, {
  method: 'POST',
  body: JSON.stringify(Array.from({ length: 5000 }, (_, i) => i)),
});
const events = await (await fetch(`${base}/events`)).text();
export const result = {
  hello: await hello.text(),
  ...(await sum.json()),
  events: events.split('data: ring').length - 1,
  missing: (await fetch(`${base}/none`)).status,
};
server.close();
server.closeAllConnections();
