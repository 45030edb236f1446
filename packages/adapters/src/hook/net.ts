import net from 'node:net';
import { replace } from '../in-place.ts';
import { originals } from '../net/originals.ts';
import { lazily } from './lazily.ts';
import { Part } from './part.ts';

type Served = typeof import('../net/hooked.ts');

let hooked = false;
let http = false;

/** Puts all of `net.Socket` and `net.Server` of this thread on the ring. */
export function hookNet(): void {
  if (hooked) return;
  hooked = true;
  const part = new Part<Served>('net', (loaded) => {
    if (http) loaded.prepareHttp();
  });
  const { listen2, connect } = originals;
  replace(
    net.Server.prototype,
    '_listen2',
    lazily(listen2, () => part.get()?.methods?.listen2),
  );
  replace(
    net.Socket.prototype,
    'connect',
    lazily(connect, () => part.get()?.methods?.connect),
  );
}

/** Brings `net` along, which carries HTTP. */
export function hookHttp(): void {
  hookNet();
  http = true;
}
