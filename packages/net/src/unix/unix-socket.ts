import { AF_UNIX } from '@ouro/native/abi';
import { begin, close, reactor, type Steps } from '@ouro/runtime/driver';
import { addressError, socketError } from '../errors.ts';
import { connect } from '../op/connect.ts';
import { Insistent } from '../socket/insistent.ts';
import type { UnixName } from './unix-path.ts';

/** A socket without a name. */
export function openUnix(type: number): number {
  const fd = reactor().addon.socket(AF_UNIX, type, 0);
  if (fd < 0) throw socketError(fd, 'socket');
  return fd;
}

/** Two sockets that are connected to each other. */
export function socketPair(type: number): readonly [number, number] {
  const fds = new Int32Array(2);
  const result = reactor().addon.socketPair(type, fds);
  if (result < 0) throw socketError(result, 'socketpair');
  return [fds[0], fds[1]];
}

/** A new socket that is connected to a name. */
export async function connectUnix(steps: Steps, type: number, { path = '' }: UnixName): Promise<number> {
  const fd = reactor().addon.socket(AF_UNIX, type, 0);
  if (fd < 0) throw addressError(fd, 'connect', path, 0);
  try {
    await steps.step(begin(new Insistent(connect(fd, { path }))));
    return fd;
  } catch (error) {
    await close(fd);
    throw error;
  }
}
