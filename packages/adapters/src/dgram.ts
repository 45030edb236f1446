/**
 * `node:dgram`, with sockets on the ring: the same exports, shapes and errors, for who imports it from here. What we do not serve is
 * Node's own. See docs/adapters.md.
 */
import dgram from 'node:dgram';
import * as face from './dgram/face.ts';

export * from 'node:dgram';

export type Socket = dgram.Socket;
export const Socket: typeof dgram.Socket = face.Socket;
export const createSocket: typeof dgram.createSocket = face.createSocket;

const module: typeof dgram = { ...dgram, Socket, createSocket };

export default module;
