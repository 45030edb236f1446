/** The echo server with leases: what arrives is sent back from where the kernel has put it. */
import { parseArgs } from 'node:util';
import { TcpListener, type TcpStream } from '@ouro/net';

const { values } = parseArgs({
  options: { host: { type: 'string', default: '127.0.0.1' }, port: { type: 'string', default: '0' } },
});

async function echo(stream: TcpStream): Promise<void> {
  for await (const chunk of stream.chunks({ lease: true })) {
    await stream.writeAll(chunk.buffer);
    chunk.release();
  }
}

const listener = await TcpListener.bind({ host: values.host, port: Number(values.port), noDelay: true });
const { address, port } = listener.address;
console.log(`listening on ${address}:${port}`);
process.once('SIGTERM', () => process.exit(0));

for await (const stream of listener) {
  echo(stream)
    .catch(() => {}) // a client that goes away in the middle is the client's affair
    .finally(() => stream.close());
}
