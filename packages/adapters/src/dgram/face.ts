import dgram from 'node:dgram';
import { replace } from '../in-place.ts';
import { prepareDgram } from './prepare.ts';
import { type Bind, bindByNode, binding, bindingSync, bindSyncByNode, keepScope } from './socket.ts';

type Arguments = ConstructorParameters<typeof dgram.Socket>;

/** `dgram.Socket`, on the ring. */
export class Socket extends dgram.Socket {
  constructor(...args: Arguments) {
    super(...args);
    keepScope(this);
  }
}

/** A method that looks for Node's parts when it is called for the first time: importing starts nothing. */
function lazily(make: typeof binding, byNode: Bind): Bind {
  let method: Bind | undefined;
  return function (this: dgram.Socket, ...args) {
    if (method === undefined) {
      const node = prepareDgram();
      method = node === null ? byNode : make(node, byNode);
    }
    return method.apply(this, args);
  };
}

replace(Socket.prototype, 'bind', lazily(binding, bindByNode));
if (bindSyncByNode !== undefined) replace(Socket.prototype, 'bindSync', lazily(bindingSync, bindSyncByNode));

/** `dgram.createSocket`. */
export const createSocket: typeof dgram.createSocket = (...args: unknown[]) =>
  new Socket(...(args as unknown as Arguments));
