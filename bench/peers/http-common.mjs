// What the HTTP servers of the bench have in common.
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '0' },
    size: { type: 'string', default: '64' },
  },
});

/** Where to listen. */
export const address = { host: values.host, port: Number(values.port), backlog: 4096 };

/** What is served: load/http_load.c knows it as well. */
export const text = Buffer.from(
  Array.from({ length: Number(values.size) }, (_, i) => 0x61 + (i % 26)),
).toString('latin1');

/** To be called once the server listens. */
export function announce(server) {
  const { address, port } = server.address();
  console.log(`listening on ${address}:${port}`);
}

process.once('SIGTERM', () => process.exit(0));
