// The peer that the ratios of the udp family refer to.
//
//   node node-dgram-echo.mjs [--host 127.0.0.1] [--port 0]

import { createSocket } from 'node:dgram';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { host: { type: 'string', default: '127.0.0.1' }, port: { type: 'string', default: '0' } },
});

const socket = createSocket('udp4');
socket.on('message', (message, { address, port }) => socket.send(message, port, address));
socket.bind(Number(values.port), values.host, () => {
  const { address, port } = socket.address();
  console.log(`listening on ${address}:${port}`);
});
