import {
  AF_INET6,
  IP_BIND_ADDRESS_NO_PORT,
  IPPROTO_IP,
  IPPROTO_TCP,
  SOCK_STREAM,
  TCP_NODELAY,
} from '@ouro/native/abi';
import { begin, type Descriptor, Operation, reactor } from '@ouro/runtime/driver';
import { type Endpoint, endpoint } from '../address.ts';
import { addressError, connectError, localEnd } from '../errors.ts';
import { connectEndpoint } from '../op/connect.ts';
import { openedSocket, TCP_STREAM } from '../socket/opened-socket.ts';
import type { Destination } from './connect-options.ts';

/** One attempt to connect to one address: a socket and a connect in flight. */
export interface Attempt {
  readonly to: Endpoint;
  readonly descriptor: Descriptor;
  /** The connect. It is over when the kernel has let go; cancelling it is closing the descriptor. */
  readonly connecting: Operation<void>;
}

/** Begins one. @throws the error of a socket that could not be made or bound: nothing is left of it */
export function attempt(to: Endpoint, options: Destination, place: string | null): Attempt {
  const { addon } = reactor();
  const fd = addon.socket(to.family, SOCK_STREAM, IPPROTO_TCP);
  if (fd < 0) throw connectError(fd, to.address, to.port);
  const descriptor = openedSocket(fd, TCP_STREAM, place);
  try {
    if (options.noDelay) addon.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    for (const [level, name, value] of options.keepAlive) addon.setsockopt(fd, level, name, value);
    bindLocal(fd, to, options);
  } catch (error) {
    descriptor.close().catch(() => {});
    throw error;
  }
  return { to, descriptor, connecting: begin(new Operation(connectEndpoint(descriptor, to))) };
}

function bindLocal(fd: number, to: Endpoint, { localAddress, localPort }: Destination): void {
  if (localAddress === undefined && localPort === 0) return;
  const { addon } = reactor();
  const local = endpoint(localAddress ?? (to.family === AF_INET6 ? '::' : '0.0.0.0'), localPort);
  // The port is chosen when the peer is known, so that as many connections to each peer are possible as there are ports.
  if (localPort === 0) addon.setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  const bound = addon.bind(fd, local.sockaddr);
  if (bound < 0) throw addressError(bound, 'bind', local.address, localPort);
}

/** The error of a connect as Node words it: it names our own end where the program has chosen that. */
export function attemptError(error: unknown, { localAddress, localPort }: Destination): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  return localAddress !== undefined && localPort > 0 ? localEnd(error, localAddress, localPort) : error;
}
