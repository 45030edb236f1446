import { once } from 'node:events';
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { io } from 'socket.io-client';

const http = createServer().listen(0, '127.0.0.1');
await once(http, 'listening');
const server = new Server(http, { maxHttpBufferSize: 4 << 20 });
server.on('connection', (socket) => {
  socket.on('echo', (data, answer) => answer(data));
  socket.on('enter', async (answer) => {
    await socket.join('room');
    answer();
  });
});
const url = `http://127.0.0.1:${http.address().port}`;

/** Connects by a transport, sends text, binary data and requests, and tells what came back. */
async function talk(transports) {
  const client = io(url, { transports, forceNew: true, reconnection: false });
  await new Promise((done, failed) => client.once('connect', done).once('connect_error', failed));
  const large = Buffer.alloc(1 << 20, 'ring');
  const numbers = await Promise.all(
    Array.from({ length: 100 }, (_, i) => client.timeout(60_000).emitWithAck('echo', i)),
  );
  const echoed = Buffer.from(await client.timeout(60_000).emitWithAck('echo', large));
  await client.timeout(60_000).emitWithAck('enter');
  const news = new Promise((done) => client.once('news', done));
  return {
    client,
    news,
    told: {
      transport: client.io.engine.transport.name,
      sum: numbers.reduce((a, b) => a + b, 0),
      large: echoed.equals(large),
    },
  };
}

const talks = await Promise.all([talk(['websocket']), talk(['polling'])]);
server.to('room').emit('news', 'hello');
export const result = {
  talks: talks.map(({ told }) => told),
  news: await Promise.all(talks.map(({ news }) => news)),
};
for (const { client } of talks) client.disconnect();
await server.close();
