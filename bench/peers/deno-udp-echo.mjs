// Deno.listenDatagram, which Deno calls unstable.
//
//   deno run -A --unstable-net deno-udp-echo.mjs [--host 127.0.0.1] [--port 0]

import process from 'node:process';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  args: process.argv.slice(2),
  options: { host: { type: 'string', default: '127.0.0.1' }, port: { type: 'string', default: '0' } },
});

const socket = Deno.listenDatagram({ transport: 'udp', hostname: values.host, port: Number(values.port) });
console.log(`listening on ${socket.addr.hostname}:${socket.addr.port}`);
const buffer = new Uint8Array(65536);
for (;;) {
  const [bytes, from] = await socket.receive(buffer);
  await socket.send(bytes, from);
}
