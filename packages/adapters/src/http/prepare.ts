import { prepare } from '../net/prepare.ts';
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
