/**
 * A UDP echo, datagram by datagram, or with `--batches` all that one turn of the loop has brought at once.
 *
 *   udp-ouro.js [--host 127.0.0.1] [--port 0] [--batches]
 */
import { parseArgs } from 'node:util';
import { UdpSocket } from '@ouro/net';

const { values } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '0' },
    batches: { type: 'boolean', default: false },
  },
});

const socket = await UdpSocket.bind({ host: values.host, port: Number(values.port) });
console.log(`listening on ${socket.address.address}:${socket.address.port}`);

// What cannot be sent is lost, as datagrams may be.
const lost = (): void => {};

if (values.batches) {
  for await (const batch of socket.batches())
    socket.sendMany(batch.map(({ data, address }) => ({ data, to: address }))).catch(lost);
} else {
  for await (const { data, address } of socket) socket.send(data, address).catch(lost);
}
