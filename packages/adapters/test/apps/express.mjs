import { once } from 'node:events';
import express from 'express';

const app = express();
app.use(express.json());
app.get('/hello/:name', (request, response) => response.send(`hello ${request.params.name}`));
app.post('/sum', (request, response) => response.json({ sum: request.body.reduce((a, b) => a + b, 0) }));
const server = app.listen(0, '127.0.0.1');
await once(server, 'listening');
const base = `http://127.0.0.1:${server.address().port}`;
const hello = await (await fetch(`${base}/hello/ring`)).text();
const answer = await fetch(`${base}/sum`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(Array.from({ length: 5000 }, (_, i) => i)),
});
export const result = { hello, ...(await answer.json()), missing: (await fetch(`${base}/none`)).status };
server.close();
server.closeAllConnections();
