// Bun.udpSocket.
//
//   bun bun-udp-echo.mjs [--host 127.0.0.1] [--port 0]

import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { host: { type: 'string', default: '127.0.0.1' }, port: { type: 'string', default: '0' } },
});

const socket = await Bun.udpSocket({
  hostname: values.host,
  port: Number(values.port),
  socket: {
    data(from, bytes, port, address) {
      from.send(bytes, port, address);
    },
  },
});
console.log(`listening on ${socket.hostname}:${socket.port}`);
