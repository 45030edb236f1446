import { once } from 'node:events';
import { createServer } from 'node:http';
import { Pool, request } from 'undici';

const server = createServer((incoming, response) => incoming.pipe(response)).listen(0, '127.0.0.1');
await once(server, 'listening');
const origin = `http://127.0.0.1:${server.address().port}`;
const pool = new Pool(origin, { connections: 4, pipelining: 1 });
const body = 'ring'.repeat(100_000);
const texts = await Promise.all(
  Array.from({ length: 20 }, async () =>
    (await pool.request({ path: '/', method: 'POST', body })).body.text(),
  ),
);
const single = await request(origin, { method: 'PUT', body: 'one' });
export const result = {
  echoed: texts.filter((text) => text === body).length,
  single: await single.body.text(),
};
await pool.close();
server.close();
server.closeAllConnections();
