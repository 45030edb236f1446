// Bun.listen. Its write takes what fits; the rest is kept until drain, and nothing more is read meanwhile.
//
//   bun bun-echo.mjs [--host 127.0.0.1] [--port 0]

import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { host: { type: 'string', default: '127.0.0.1' }, port: { type: 'string', default: '0' } },
});

function send(socket, bytes) {
  const sent = socket.write(bytes);
  if (sent >= bytes.length) {
    socket.data = undefined;
    return true;
  }
  // A copy: the chunk may be memory that Bun receives into again.
  socket.data = Buffer.from(bytes.subarray(Math.max(sent, 0)));
  return false;
}

const server = Bun.listen({
  hostname: values.host,
  port: Number(values.port),
  socket: {
    data(socket, chunk) {
      if (socket.data !== undefined) socket.data = Buffer.concat([socket.data, chunk]);
      else if (!send(socket, chunk)) socket.pause();
    },
    drain(socket) {
      if (socket.data !== undefined && send(socket, socket.data)) socket.resume();
    },
    error() {},
  },
});
console.log(`listening on ${server.hostname}:${server.port}`);
