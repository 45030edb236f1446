import { install as installNet, prepare } from '../net/install.ts';
import { setAfterConnection } from '../net/stream-handle.ts';
import { consuming } from './consume.ts';

let prepared = false;

/** Has HTTP servers on sockets of ours parse what comes where it lies. */
export function prepareHttp(): void {
  if (prepared || prepare() === null) return;
  prepared = true;
  const consume = consuming();
  if (consume !== null) setAfterConnection(consume);
}

/** Brings `net` along, which carries it. */
export function install(): void {
  installNet();
  prepareHttp();
}
