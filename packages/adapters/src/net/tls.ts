import { createRequire } from 'node:module';
import net from 'node:net';
import { Duplex } from 'node:stream';
import type tls from 'node:tls';
import { tally } from '../stats.ts';
import { StreamHandle } from './stream-handle.ts';

const wrapped = tally('tls', 'TLSSocket');

type WrapHandle = (this: tls.TLSSocket, wrap: unknown, handle: unknown, active: boolean) => unknown;

interface Wrapping {
  _wrapHandle: WrapHandle;
}

type StreamSocket = new (stream: Duplex) => { readonly _handle: unknown };

const require = createRequire(import.meta.url);

let found: StreamSocket | null | undefined;

/** The class that Node itself puts between TLS and a stream that is no native one: what a TLS socket over such a stream has. */
function streamSocket(): StreamSocket | null {
  if (found !== undefined) return found;
  found = null;
  const { TLSSocket } = require('node:tls') as typeof tls;
  const prototype = TLSSocket.prototype as unknown as Wrapping;
  const original = prototype._wrapHandle;
  const stop = new Error('seen');
  prototype._wrapHandle = (wrap) => {
    found = (wrap as object).constructor as StreamSocket;
    throw stop;
  };
  try {
    new TLSSocket(new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() }) as net.Socket);
  } catch (error) {
    if (error !== stop) found = null;
  } finally {
    prototype._wrapHandle = original;
  }
  return found;
}

/** Puts that class between TLS and a socket of ours. */
function wrapping(original: WrapHandle): WrapHandle {
  return function wrapHandle(wrap, handle, active) {
    if (!(handle instanceof StreamHandle)) {
      if (handle !== undefined && handle !== null) wrapped.node++;
      return original.call(this, wrap, handle, active);
    }
    const Between = streamSocket();
    if (Between === null) return original.call(this, wrap, handle, active);
    wrapped.ours++;
    const socket = wrap as Duplex;
    const between = new Between(socket);
    // As it would be if that were the native one; before the program's own listeners.
    socket.on('close', () => this.destroy());
    // TLS says goodbye to a peer that has ended, too. (Not yet: the TLS socket is about to take this over as its own.)
    process.nextTick(() => {
      socket.allowHalfOpen = true;
    });
    return original.call(this, between, between._handle, active);
  };
}

/** Puts a method of ours in the place of an object's own one. */
function replace(prototype: object, original: WrapHandle): void {
  Object.defineProperty(prototype, '_wrapHandle', {
    value: wrapping(original),
    writable: true,
    configurable: true,
    enumerable: true,
  });
}

function isLoaded(): boolean {
  const { moduleLoadList } = process as unknown as { readonly moduleLoadList?: readonly string[] };
  return moduleLoadList?.includes('NativeModule _tls_wrap') ?? true;
}

/**
 * Has TLS go over sockets of ours by way of JavaScript: it wants a native stream below it, which they have not. Where `node:tls` is not
 * loaded yet it stays so: the method is caught when that gives it to its class, which inherits from `net.Socket`.
 */
export function installTls(): void {
  if (isLoaded()) {
    const { TLSSocket } = require('node:tls') as typeof tls;
    const prototype = TLSSocket.prototype as unknown as Wrapping;
    replace(prototype, prototype._wrapHandle);
    return;
  }
  Object.defineProperty(net.Socket.prototype, '_wrapHandle', {
    set(this: object, original: WrapHandle) {
      replace(this, original);
    },
    get: () => undefined,
    configurable: true,
  });
}
