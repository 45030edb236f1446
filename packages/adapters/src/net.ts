/**
 * `node:net`, with sockets on the ring: the same exports, shapes and errors, for who imports it from here. What we do not serve is
 * Node's own. See docs/adapters.md.
 */
import net from 'node:net';
import * as face from './net/face.ts';

export * from 'node:net';

export type Socket = net.Socket;
export type Server = net.Server;
export const Socket: typeof net.Socket = face.callable(face.Socket);
export const Stream: typeof net.Socket = Socket;
export const Server: typeof net.Server = face.callable(face.Server);
export const createServer: typeof net.createServer = face.createServer;
export const connect: typeof net.connect = face.connectTo;
export const createConnection: typeof net.createConnection = face.connectTo;

const module: typeof net = { ...net, ...{ Stream }, Socket, Server, createServer, connect, createConnection };

export default module;
