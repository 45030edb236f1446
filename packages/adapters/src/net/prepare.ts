import { consuming } from '../http/consume.ts';
import { prepareAttempts } from './client.ts';
import { type Internals, internals } from './internals.ts';
import { errnoException } from './node-util.ts';
import { installPassing, installSpawning } from './passing.ts';
import { PipeHandle } from './pipe-handle.ts';
import { setErrnoException } from './stream-handle.ts';
import { TcpHandle } from './tcp-handle.ts';
import { installTls } from './tls.ts';

/** Has `instanceof Node's class` hold for ours as well: `net.js` asks it before it resets, or listens on, a handle. */
function passFor(
  theirs: new (kind: number) => object,
  ours: abstract new (...args: never[]) => object,
): void {
  Object.defineProperty(theirs, Symbol.hasInstance, {
    value: (value: unknown) =>
      Function.prototype[Symbol.hasInstance].call(theirs, value) || value instanceof ours,
    configurable: true,
  });
}

let prepared: Internals | null | undefined;

/**
 * Makes what of Node's meets handles of ours get along with them; nothing else is changed by it. Null on a Node that we do not know:
 * all is left to it then.
 */
export function prepare(): Internals | null {
  if (prepared !== undefined) return prepared;
  prepared = internals();
  if (prepared === null) return null;
  setErrnoException(errnoException);
  passFor(prepared.TCP, TcpHandle);
  passFor(prepared.Pipe, PipeHandle);
  prepareAttempts(prepared);
  installPassing();
  installSpawning();
  installTls();
  consuming();
  return prepared;
}
