// What the transfer family compares with: files by fs streams, proxies by pipe.
//   node-transfer.mjs --file PATH --size BYTES    the first BYTES of the file for each byte that arrives
//   node-transfer.mjs --target PORT               each connection joined with one to 127.0.0.1:PORT
import { createReadStream } from 'node:fs';
import net from 'node:net';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { file: { type: 'string' }, size: { type: 'string' }, target: { type: 'string' } },
});

function sendFiles(socket) {
  let asked = 0;
  const next = () => {
    const stream = createReadStream(values.file, { end: Number(values.size) - 1 });
    stream.pipe(socket, { end: false });
    stream.on('end', () => {
      if (--asked > 0) next();
    });
  };
  socket.on('data', (data) => {
    asked += data.length;
    if (asked === data.length) next();
  });
}

function join(socket) {
  const other = net.connect({ host: '127.0.0.1', port: Number(values.target), noDelay: true });
  socket.pipe(other).pipe(socket);
  other.on('error', () => socket.destroy());
  socket.on('close', () => other.destroy());
}

const server = net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
  socket.on('error', () => {});
  if (values.target === undefined) sendFiles(socket);
  else join(socket);
});
server.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
