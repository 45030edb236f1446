import net from 'node:net';
import { type Callable, inPlaceOf, replace } from '../in-place.ts';
import { originals } from '../net/originals.ts';
import { Part } from './part.ts';

type Served = typeof import('../net/hooked.ts');

/** A method in the place of one of Node's, which is asked as long as there is none of ours. */
function lazily(prototype: object, name: string, original: unknown, ours: () => unknown): void {
  const lazy: Callable = function (...args) {
    return Reflect.apply((ours() ?? original) as Callable, this, args);
  };
  replace(prototype, name, inPlaceOf(original, lazy));
}

let part: Part<Served> | null = null;
let http = false;

function served(): Served | null {
  const loaded = part?.get() ?? null;
  if (loaded !== null && http) {
    http = false;
    loaded.prepareHttp();
  }
  return loaded;
}

/** Puts all of `net.Socket` and `net.Server` of this thread on the ring. */
export function hookNet(): void {
  if (part !== null) return;
  part = new Part('#net');
  lazily(net.Server.prototype, '_listen2', originals.listen2, () => served()?.methods?.listen2);
  lazily(net.Socket.prototype, 'connect', originals.connect, () => served()?.methods?.connect);
}

/** Brings `net` along, which carries HTTP. */
export function hookHttp(): void {
  hookNet();
  http = true;
}
