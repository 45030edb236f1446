// The peer that the ratios of the echo and guest families refer to: node:net as one would write it with care.
//
//   node node-net-echo.mjs [--host 127.0.0.1] [--port 0]

import { createServer } from 'node:net';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { host: { type: 'string', default: '127.0.0.1' }, port: { type: 'string', default: '0' } },
});

const server = createServer((socket) => {
  socket.setNoDelay(true);
  socket.on('data', (chunk) => {
    if (!socket.write(chunk)) socket.pause();
  });
  socket.on('drain', () => socket.resume());
  // A client that goes away in the middle is the client's affair, not a reason to stop serving the others.
  socket.on('error', () => socket.destroy());
});

server.listen({ host: values.host, port: Number(values.port), backlog: 4096 }, () => {
  const { address, port } = server.address();
  console.log(`listening on ${address}:${port}`);
});

process.once('SIGTERM', () => process.exit(0));
