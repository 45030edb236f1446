import cluster from 'node:cluster';
import type dgram from 'node:dgram';
import { reactor } from '@ouro/runtime/driver';
import { Scope } from '../net/scope.ts';
import { tally } from '../stats.ts';
import {
  type DgramInternals,
  type NativeUdp,
  ownerSymbolOf,
  type SocketState,
  stateOf,
} from './internals.ts';
import { originals } from './originals.ts';
import { UdpHandle } from './udp-handle.ts';

const binds = tally('dgram', 'bind');

/** `dgram.Socket.prototype.bind`, to which `send` and `connect` come as well, and `bindSync` (from 24 on). */
export type Bind = (this: dgram.Socket, ...args: unknown[]) => unknown;

/** What a socket is told of where to bind to, as far as it matters here. */
interface Place {
  readonly fd?: unknown;
  readonly exclusive?: unknown;
  readonly recvStart?: unknown;
}

const UNBOUND = 0;

/** The contexts of sockets, by the handles that Node has made for them: what a socket does belongs to whoever made it. */
const scopes = new WeakMap<object, Scope>();

/** The context of a handle of Node's, made now if there is none. */
export function scopeOf(native: object): Scope {
  let scope = scopes.get(native);
  if (scope === undefined) {
    scope = new Scope('UDPWRAP');
    scopes.set(native, scope);
  }
  return scope;
}

/** Notes the context in which a socket is made. */
export function keepScope(socket: object): void {
  const handle = stateOf(socket)?.handle;
  if (typeof handle === 'object' && handle !== null) scopeOf(handle);
}

/** Whether a socket is one that Node is to serve: over a descriptor or a handle that is there, or over the primary's. */
function leftToNode(state: SocketState, place: unknown): boolean {
  const { fd, exclusive, recvStart } = typeof place === 'object' && place !== null ? (place as Place) : {};
  if (typeof recvStart === 'function' || (typeof fd === 'number' && fd > 0)) return true;
  return cluster.isWorker && !exclusive && !state.reusePort;
}

/** Puts a handle of ours under a socket; false where that cannot be. */
function takeOver(node: DgramInternals, socket: dgram.Socket, state: SocketState): boolean {
  const native = state.handle as NativeUdp & Record<symbol, unknown>;
  // One that has a descriptor already has been bound by something else than `bind`.
  if (!(native instanceof node.UDP) || native.fd >= 0) return false;
  const owner = ownerSymbolOf(native);
  if (owner === undefined) return false;
  try {
    reactor();
  } catch {
    return false;
  }
  const { type } = socket as unknown as { type: unknown };
  const handle = new UdpHandle(native, type === 'udp6', scopeOf(native));
  Object.assign(handle, { lookup: native.lookup, [owner]: socket });
  state.handle = handle;
  return true;
}

/** Gives a socket that is to be bound a handle of ours, unless Node is to serve it. */
function prepare(node: DgramInternals, socket: dgram.Socket, place: unknown, local: boolean): void {
  const state = stateOf(socket);
  if (state === undefined || state.handle === null || state.bindState !== UNBOUND) return;
  const { handle } = state;
  if (!local && leftToNode(state, place)) {
    binds.node++;
    // A first bind has failed.
    if (handle instanceof UdpHandle) state.handle = handle.giveBack() ?? handle;
  } else if (handle instanceof UdpHandle || takeOver(node, socket, state)) binds.ours++;
  else binds.node++;
}

/** `bind` with our handle below. */
export function binding(node: DgramInternals, original: Bind): Bind {
  return function bind(...args) {
    prepare(node, this, args[0], false);
    return original.apply(this, args);
  };
}

/** The same of `bindSync`, which never asks the primary. */
export function bindingSync(node: DgramInternals, original: Bind): Bind {
  return function bindSync(...args) {
    prepare(node, this, undefined, true);
    return original.apply(this, args);
  };
}

/** As Node has it. */
export const bindByNode: Bind = originals.bind as Bind;
/** The same, from 24 on. */
export const bindSyncByNode: Bind | undefined = originals.bindSync as Bind | undefined;
