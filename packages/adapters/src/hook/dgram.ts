import dgram from 'node:dgram';
import { dgramInternals } from '../dgram/internals.ts';
import { originals } from '../dgram/originals.ts';
import { type Callable, inPlaceOf, replace } from '../in-place.ts';
import { Part } from './part.ts';

type Served = typeof import('../dgram/hooked.ts');

let part: Part<Served> | null = null;

/** Puts all of `dgram.Socket` of this thread on the ring. */
export function hookDgram(): void {
  const node = dgramInternals();
  if (part !== null || node === null) return;
  part = new Part('#dgram');
  noteContexts(node.UDP.prototype, part);
  const { prototype } = dgram.Socket;
  put(prototype, 'bind', originals.bind, part);
  if (originals.bindSync !== undefined) put(prototype, 'bindSync', originals.bindSync, part);
}

/** Notes the context of each socket when it is made: its constructor asks the handle for its number then. */
function noteContexts(prototype: object, from: Part<Served>): void {
  const { getAsyncId: original } = prototype as { readonly getAsyncId: Callable };
  const noting: Callable = function () {
    const loaded = from.get();
    return loaded === null ? original.call(this) : loaded.asyncIdOf(this as object);
  };
  replace(prototype, 'getAsyncId', inPlaceOf(original, noting));
}

function put(prototype: object, name: 'bind' | 'bindSync', original: unknown, from: Part<Served>): void {
  const lazy: Callable = function (...args) {
    return Reflect.apply((from.get()?.methods[name] ?? original) as Callable, this, args);
  };
  replace(prototype, name, inPlaceOf(original, lazy));
}
