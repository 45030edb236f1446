import net from 'node:net';
import { reactor } from '@ouro/runtime/driver';
import { tally } from '../stats.ts';
import type { Internals, NativeHandle } from './internals.ts';
import { originals } from './originals.ts';
import { PipeHandle } from './pipe-handle.ts';
import { StreamHandle } from './stream-handle.ts';
import { TcpHandle } from './tcp-handle.ts';

const connects = tally('net', 'Socket.connect');

export interface SocketParts extends net.Socket {
  _handle: unknown;
  _parent: { connecting?: boolean } | null;
  _peername: unknown;
  _sockname: unknown;
}

export type Connect = (this: SocketParts, ...args: unknown[]) => SocketParts;
type Reinitialize = (this: SocketParts, handle: unknown) => void;

interface Target {
  readonly path?: unknown;
  readonly port?: unknown;
}

/** A string that is no number is a path: as in `net.js`. */
function isPath(value: unknown): boolean {
  return typeof value === 'string' && !(Number(value) >= 0);
}

/** Where `connect` is to connect to, as far as it matters here. */
function targetOf(args: readonly unknown[]): Target {
  const first: unknown = args[0];
  // What `net.connect` has normalized already.
  if (Array.isArray(first)) return (first[0] as Target | null) ?? {};
  if (typeof first === 'object' && first !== null) return first;
  return isPath(first) ? { path: first } : { port: first };
}

/** `net.Socket.prototype.connect` as Node has it. */
const connectByNode = originals.connect as Connect;

/** Gives a socket that is to connect a handle of ours, unless it has one, or Node is to serve it. */
function prepare(node: Internals, socket: SocketParts, { path, port }: Target): void {
  if ((path === undefined || path === null) && (port === undefined || port === null)) return;
  if (socket._handle !== null && !socket.destroyed) {
    if (!(socket._handle instanceof StreamHandle)) connects.node++;
    return;
  }
  try {
    reactor();
  } catch {
    connects.node++;
    return;
  }
  if (socket.destroyed) {
    socket._handle = null;
    socket._peername = null;
    socket._sockname = null;
  }
  const handle = path ? new PipeHandle(node, false) : new TcpHandle(node, false);
  const { [node.reinitialize]: reinitialize } = socket as unknown as Record<symbol, Reinitialize>;
  reinitialize.call(socket, handle);
  connects.ours++;
}

/** `connect` with our handle below. */
export function connecting(node: Internals): Connect {
  return function connect(...args) {
    if (!this._parent?.connecting) prepare(node, this, targetOf(args));
    return connectByNode.apply(this, args);
  };
}

/** Has the second and further attempts of a connect to several addresses go by handles of ours as well, if the first did. */
export function prepareAttempts(node: Internals): void {
  const prototype = net.Socket.prototype as unknown as Record<symbol, Reinitialize>;
  const reinitialize = prototype[node.reinitialize];
  prototype[node.reinitialize] = function reinitializeHandle(handle) {
    const ours = this._handle instanceof TcpHandle && !(handle instanceof StreamHandle);
    if (!ours) {
      reinitialize.call(this, handle);
      return;
    }
    (handle as NativeHandle).close();
    reinitialize.call(this, new TcpHandle(node, false));
  };
}
