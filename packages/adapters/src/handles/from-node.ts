import type net from 'node:net';
import { TcpStream, UnixStream } from '@ouro/net';
import { invalidType, reactor } from '@ouro/runtime/driver';
import { StreamHandle } from '../net/stream-handle.ts';

interface Parts {
  readonly _handle: { readonly fd?: number; readStop(): number; getpeername?: unknown } | null;
}

/**
 * A stream of ours over a connected `net.Socket` of Node's or ours, which is gone then: it is destroyed without the peer's hearing of
 * it. What it has read and nobody has taken comes first.
 *
 * @throws TypeError for a socket that is not connected, or is one of TLS
 */
export async function fromNodeSocket(socket: net.Socket): Promise<TcpStream | UnixStream> {
  const handle = (socket as unknown as Parts)._handle;
  const fd = handle?.fd;
  if (handle === null || handle === undefined || fd === undefined || fd < 0 || socket.connecting)
    throw invalidType('socket', 'a connected socket', socket);
  if ((socket as { encrypted?: boolean }).encrypted === true)
    throw invalidType('socket', 'a socket without TLS', socket);
  socket.pause();
  handle.readStop();
  if (socket.writableLength > 0) await new Promise<void>((sent) => socket.write('', () => sent()));
  const { addon } = reactor();
  const rest = handle instanceof StreamHandle ? await handle.takeKept() : [];
  const copy = addon.duplicate(fd);
  if (copy < 0) throw invalidType('socket', 'a connected socket', socket);
  const stream = typeof handle.getpeername === 'function' ? TcpStream.fromFd(copy) : UnixStream.fromFd(copy);
  const chunks: Buffer[] = [];
  for (let chunk: unknown = socket.read(); chunk instanceof Buffer; chunk = socket.read()) chunks.push(chunk);
  const before = Buffer.concat([...chunks, ...rest]);
  if (before.length > 0) stream.receive().putBack(before);
  socket.destroy();
  return stream;
}
