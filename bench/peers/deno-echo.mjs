// Deno.listen: a loop of read and write for each connection, in memory of its own.
//
//   deno run -A deno-echo.mjs [--host 127.0.0.1] [--port 0]

import process from 'node:process';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  args: process.argv.slice(2),
  options: { host: { type: 'string', default: '127.0.0.1' }, port: { type: 'string', default: '0' } },
});

async function echo(connection) {
  connection.setNoDelay(true);
  const buffer = new Uint8Array(65536);
  try {
    for (;;) {
      const count = await connection.read(buffer);
      if (count === null) break;
      for (let sent = 0; sent < count; ) sent += await connection.write(buffer.subarray(sent, count));
    }
  } catch {
    // A client that goes away in the middle is the client's affair.
  }
  connection.close();
}

const listener = Deno.listen({ hostname: values.host, port: Number(values.port) });
console.log(`listening on ${listener.addr.hostname}:${listener.addr.port}`);
for await (const connection of listener) echo(connection);
