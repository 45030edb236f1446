import dgram from 'node:dgram';
import { once } from 'node:events';
import { type Datagram, UdpSocket } from '@ouro/net';

/** A message that node:dgram has received. */
export interface Message {
  readonly data: Buffer;
  readonly port: number;
  readonly address: string;
}

/** A socket of node:dgram that keeps what it receives. */
export interface Peer extends AsyncDisposable {
  readonly socket: dgram.Socket;
  readonly address: string;
  readonly port: number;
  readonly messages: readonly Message[];
  /** The next message that nobody has asked for. */
  next(): Promise<Message>;
  send(data: Uint8Array | string, to: { readonly port: number }): Promise<number>;
}

/** A socket of node:dgram on a port of 127.0.0.1, or of ::1. */
export async function peer(type: 'udp4' | 'udp6' = 'udp4', host?: string): Promise<Peer> {
  const socket = dgram.createSocket(type);
  const address = host ?? (type === 'udp4' ? '127.0.0.1' : '::1');
  const messages: Message[] = [];
  const waiting: ((message: Message) => void)[] = [];
  let taken = 0;
  socket.on('message', (data, from) => {
    const message = { data, port: from.port, address: from.address };
    messages.push(message);
    if (waiting.length > 0) {
      taken++;
      waiting.shift()?.(message);
    }
  });
  socket.on('error', () => {});
  socket.bind(0, address);
  await once(socket, 'listening');
  const { port } = socket.address();
  return {
    socket,
    address,
    port,
    messages,
    next: () =>
      new Promise((resolve) => {
        if (taken < messages.length) resolve(messages[taken++]);
        else waiting.push(resolve);
      }),
    send: (data, to) =>
      new Promise((resolve, reject) => {
        socket.send(data, to.port, address, (error, bytes) => (error ? reject(error) : resolve(bytes)));
      }),
    [Symbol.asyncDispose]: () => new Promise((closed) => socket.close(() => closed())),
  };
}

/** A socket of ours on 127.0.0.1. */
export function local(options: Parameters<typeof UdpSocket.bind>[0] = {}): Promise<UdpSocket> {
  return UdpSocket.bind({ host: '127.0.0.1', ...options });
}

/** The first `count` datagrams of a loop. */
export async function collect<T extends Datagram>(from: AsyncIterable<T>, count: number): Promise<T[]> {
  const found: T[] = [];
  if (count === 0) return found;
  for await (const each of from) {
    found.push(each);
    if (found.length === count) break;
  }
  return found;
}

/** Texts of datagrams. */
export function texts(datagrams: readonly Datagram[]): string[] {
  return datagrams.map(({ data }) => data.toString());
}

/** A port of 127.0.0.1 that nobody has. */
export async function unusedPort(): Promise<number> {
  await using taken = await peer();
  return taken.port;
}
