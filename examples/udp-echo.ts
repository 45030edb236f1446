/** A UDP echo server: sends each datagram back to whoever sent it. */
import { UdpSocket } from '@ouro/net';
import { run } from '@ouro/runtime';
import { failed } from './lib/failure.ts';
import { serverOptions, untilSignal } from './lib/server.ts';

const options = serverOptions('udp-echo: sends datagrams back');
run(async () => {
  await using socket = await UdpSocket.bind(options);
  untilSignal(() => void socket.close());
  const { address, port } = socket.address;
  console.log(`listening on ${address}:${port}`);
  // All that one turn of the loop has brought goes back in one system call.
  for await (const datagrams of socket.batches()) {
    await socket.sendMany(datagrams.map(({ data, address: to }) => ({ data, to })));
  }
}).catch(failed);
