import net from 'node:net';
import { type Connect, connecting } from './client.ts';
import { prepare } from './prepare.ts';
import { type Listen2, listenByNode, listening } from './server.ts';

let listen2: Listen2 | undefined;
let connect: Connect | undefined;

/** `_listen2` of servers that are ours by import. */
export const listenOnRing: Listen2 = function (this, ...args) {
  const node = prepare();
  if (node === null) listenByNode.apply(this, args);
  else {
    listen2 ??= listening(node, listenByNode);
    listen2.apply(this, args);
  }
};

/** `net.Socket`, on the ring. */
export class Socket extends net.Socket {}

const connectOnRing: Connect = function (this, ...args) {
  const node = prepare();
  if (node === null) return net.Socket.prototype.connect.apply(this, args as never) as typeof this;
  connect ??= connecting(node);
  return connect.apply(this, args);
};

/** `net.Server`, on the ring. */
export class Server extends net.Server {}

/** Adds a method that is no matter of types. */
function define(prototype: object, name: string, value: unknown): void {
  Object.defineProperty(prototype, name, { value, writable: true, configurable: true });
}

define(Socket.prototype, 'connect', connectOnRing);
define(Server.prototype, '_listen2', listenOnRing);

type Callable<T extends abstract new (...args: never[]) => unknown> = T &
  ((...args: ConstructorParameters<T>) => InstanceType<T>);

/** A class that can be called without `new`, as those of Node can. */
export function callable<T extends new (...args: never[]) => object>(of: T): Callable<T> {
  return new Proxy(of, {
    apply: (target, _self, args: ConstructorParameters<T>) => new target(...args),
  }) as Callable<T>;
}

/** `net.createServer`. */
export const createServer: typeof net.createServer = (...args: unknown[]) =>
  new Server(...(args as ConstructorParameters<typeof net.Server>));

/** What `net.js` does with the arguments of `connect`: the options and the callback. */
function optionsOf(args: readonly unknown[]): Record<string, unknown> {
  const [first] = args;
  return typeof first === 'object' && first !== null && !Array.isArray(first)
    ? (first as Record<string, unknown>)
    : {};
}

/** `net.connect`. */
export const connectTo: typeof net.connect = (...args: unknown[]) => {
  const options = optionsOf(args);
  const socket = new Socket(options as net.SocketConstructorOpts);
  if (typeof options.timeout === 'number' && options.timeout > 0) socket.setTimeout(options.timeout);
  return (socket.connect as (...args: unknown[]) => Socket)(...args);
};
