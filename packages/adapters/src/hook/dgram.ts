import dgram from 'node:dgram';
import { dgramInternals } from '../dgram/internals.ts';
import { originals } from '../dgram/originals.ts';
import { type Callable, inPlaceOf, replace } from '../in-place.ts';
import { lazily } from './lazily.ts';
import { Part } from './part.ts';

type Served = typeof import('../dgram/hooked.ts');

let hooked = false;

/** Puts all of `dgram.Socket` of this thread on the ring. */
export function hookDgram(): void {
  const node = dgramInternals();
  if (hooked || node === null) return;
  hooked = true;
  const part = new Part<Served>('dgram');
  noteContexts(node.UDP.prototype, part);
  const { prototype } = dgram.Socket;
  const { bind, bindSync } = originals;
  replace(
    prototype,
    'bind',
    lazily(bind, () => part.get()?.methods.bind),
  );
  if (bindSync !== undefined)
    replace(
      prototype,
      'bindSync',
      lazily(bindSync, () => part.get()?.methods.bindSync),
    );
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
