import net from 'node:net';
import { TcpListener, type TcpStream, type UnixListener, UnixStream } from '@ouro/net';
import { invalidType, reactor } from '@ouro/runtime/driver';
import type { Internals } from '../net/internals.ts';
import { PipeHandle } from '../net/pipe-handle.ts';
import { prepare } from '../net/prepare.ts';
import { TcpHandle } from '../net/tcp-handle.ts';

function known(): Internals {
  const node = prepare();
  if (node !== null) return node;
  throw Object.assign(new Error('This version of Node has no room for handles of others below net.Socket'), {
    code: 'ERR_OURO_UNSUPPORTED',
  });
}

/** A descriptor for the same socket. */
function duplicate(fd: number, name: string): number {
  const copy = reactor().addon.duplicate(fd);
  if (copy >= 0) return copy;
  throw invalidType(name, 'an open stream or listener', fd);
}

/**
 * A `net.Socket` over a stream of ours, which is the socket's from then on: do not use it any more. What has arrived at the stream
 * already comes first; await your writes before.
 *
 * @throws TypeError for a stream that is closed, or in a registered table (`direct`); `ERR_OURO_UNSUPPORTED` on a Node that we do not
 *   know: use `toDuplex` there
 */
export function toNodeSocket(
  stream: TcpStream | UnixStream,
  options: Pick<net.SocketConstructorOpts, 'allowHalfOpen'> & { readonly highWaterMark?: number } = {},
): net.Socket {
  const node = known();
  if (stream.descriptor.direct) throw invalidType('stream', 'a stream with a descriptor', stream);
  const fd = duplicate(stream.fd, 'stream');
  const handle = stream instanceof UnixStream ? PipeHandle.over(node, fd) : TcpHandle.over(node, fd);
  const go = handle.holdReads();
  stream.takeOver().then(
    ({ chunks, ended, error }) => {
      go(chunks, ended || error !== null, (error as NodeJS.ErrnoException | null)?.errno ?? 0);
      stream.close().catch(() => {});
    },
    () => go([], false, 0),
  );
  return new net.Socket({ ...options, handle, readable: true, writable: true } as net.SocketConstructorOpts);
}

/**
 * A `net.Server` that listens where a listener of ours does, which is the server's from then on and is closed with it. Do not accept
 * from it any more.
 *
 * @throws as `toNodeSocket`
 */
export function toNodeServer(
  listener: TcpListener | UnixListener,
  onConnection?: (socket: net.Socket) => void,
): net.Server;
export function toNodeServer(
  listener: TcpListener | UnixListener,
  options: net.ServerOpts,
  onConnection?: (socket: net.Socket) => void,
): net.Server;
export function toNodeServer(
  listener: TcpListener | UnixListener,
  first?: net.ServerOpts | ((socket: net.Socket) => void),
  second?: (socket: net.Socket) => void,
): net.Server {
  const node = known();
  const options = typeof first === 'object' ? first : {};
  const server = net.createServer(options, typeof first === 'function' ? first : second);
  const handle = listener instanceof TcpListener ? new TcpHandle(node, true) : new PipeHandle(node, true);
  handle.open(duplicate(listener.fd, 'listener'));
  const parts = server as unknown as { _handle: unknown; _listen2(...args: unknown[]): void };
  parts._handle = handle;
  parts._listen2(null, -1, -1, 0);
  server.once('close', () => void listener.close().catch(() => {}));
  return server;
}
