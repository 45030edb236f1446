import dgram from 'node:dgram';
import { installPassing } from '../net/passing.ts';
import { type DgramInternals, dgramInternals } from './internals.ts';
import { bindByNode, binding, bindingSync, bindSyncByNode, scopeOf } from './socket.ts';

/** Puts a function where Node's own was. */
export function replace(prototype: object, name: string, value: unknown): void {
  Object.defineProperty(prototype, name, { value, writable: true, configurable: true, enumerable: true });
}

/**
 * Has sockets of ours get along with what of Node's meets them: those that are sent to other processes. Null on a Node that we do not
 * know: all is left to it then.
 */
export function prepareDgram(): DgramInternals | null {
  const node = dgramInternals();
  if (node !== null) installPassing();
  return node;
}

/** Notes the context of each socket when it is made: its constructor asks the handle for its number then. */
function noteContexts({ UDP }: DgramInternals): void {
  const { prototype } = UDP;
  replace(prototype, 'getAsyncId', function getAsyncId(this: object): number {
    return scopeOf(this).asyncId;
  });
}

let installed = false;

/** Puts handles of ours under all of `dgram.Socket`, for this thread. */
export function install(): void {
  if (installed) return;
  installed = true;
  const node = prepareDgram();
  if (node === null) return;
  noteContexts(node);
  const { prototype } = dgram.Socket;
  replace(prototype, 'bind', binding(node, bindByNode));
  if (bindSyncByNode !== undefined) replace(prototype, 'bindSync', bindingSync(node, bindSyncByNode));
}
