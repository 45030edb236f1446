import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { WebSocket, WebSocketServer } from 'ws';

const server = new WebSocketServer({ port: 0, host: '127.0.0.1', maxPayload: 16 << 20 });
server.on('connection', (socket) => socket.on('message', (data, binary) => socket.send(data, { binary })));
await once(server, 'listening');
const client = new WebSocket(`ws://127.0.0.1:${server.address().port}`, { maxPayload: 16 << 20 });
await once(client, 'open');
const hash = (data) => createHash('sha1').update(data).digest('hex');
const echoed = {};
for (const size of [1, 125, 126, 65_535, 65_536, 5 << 20]) {
  const message = Buffer.alloc(size, `${size}`);
  client.send(message);
  const [data] = await once(client, 'message');
  echoed[size] = hash(data) === hash(message);
}
export const result = { echoed };
client.close();
await once(client, 'close');
server.close();
