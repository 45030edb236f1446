// What the hook loads when a program makes a datagram socket for the first time.
import { prepareDgram } from './prepare.ts';
import { type Bind, bindByNode, binding, bindingSync, bindSyncByNode, scopeOf } from './socket.ts';

/** Which part this is. */
export const part = 'dgram';

const node = prepareDgram();

/** Ours, in the places of Node's. */
export const methods: { readonly bind?: Bind; readonly bindSync?: Bind | undefined } =
  node === null
    ? {}
    : {
        bind: binding(node, bindByNode),
        bindSync: bindSyncByNode === undefined ? undefined : bindingSync(node, bindSyncByNode),
      };

/** The number of the context in which the socket of a handle is made. */
export function asyncIdOf(handle: object): number {
  return scopeOf(handle).asyncId;
}
