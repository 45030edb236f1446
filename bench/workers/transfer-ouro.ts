import { parseArgs } from 'node:util';
import { File } from '@ouro/fs';
import { copyBidirectional, TcpListener, TcpStream } from '@ouro/net';
import { run } from '@ouro/runtime';

// The same server as peers/node-transfer.mjs, by sendFile and copyBidirectional.

const { values } = parseArgs({
  options: { file: { type: 'string' }, size: { type: 'string' }, target: { type: 'string' } },
});

async function sendFiles(stream: TcpStream, path: string, length: number): Promise<void> {
  for await (const asked of stream) {
    for (let left = asked.length; left > 0; left--) {
      // Opened each time, as the stream of node does.
      await using file = await File.open(path);
      await stream.sendFile(file, { offset: 0, length });
    }
  }
}

async function join(stream: TcpStream, port: number): Promise<void> {
  await using other = await TcpStream.connect({ host: '127.0.0.1', port, noDelay: true });
  await copyBidirectional(stream, other);
}

run(async () => {
  const listener = await TcpListener.bind({ host: '127.0.0.1', noDelay: true });
  console.log(`listening on 127.0.0.1:${listener.address.port}`);
  for await (const stream of listener) {
    const served =
      values.target === undefined
        ? sendFiles(stream, values.file ?? '', Number(values.size))
        : join(stream, Number(values.target));
    served.catch(() => {}).then(() => stream.close());
  }
});
