// What the hook loads when a program listens, or connects, for the first time.
import { type Connect, connecting } from './client.ts';
import { prepare } from './prepare.ts';
import { type Listen2, listenByNode, listening } from './server.ts';

/** Which part this is. */
export const part = 'net';

const node = prepare();

/** Ours, in the places of Node's; null on a Node that we do not know. */
export const methods: { readonly listen2: Listen2; readonly connect: Connect } | null =
  node === null ? null : { listen2: listening(node, listenByNode), connect: connecting(node) };

export { prepareHttp } from '../http/prepare.ts';
