import { type NativeHandle, symbolOf } from '../net/internals.ts';
import { binding, isRestricted } from '../node-binding.ts';

/** `udp_wrap.UDP` as `dgram.js` uses it, as far as it matters here. */
export interface NativeUdp extends NativeHandle {
  readonly fd: number;
  readonly lookup?: unknown;
  hasRef(): boolean;
  unref(): void;
}

/** Node's own parts that sockets of ours stand on. */
export interface DgramInternals {
  readonly UDP: new () => NativeUdp;
}

/** What of it the symbols under which `dgram.js` keeps things are called. */
const STATE = 'state symbol';
const OWNER = 'owner_symbol';

/** All methods that `dgram.js` calls: a Node whose handles have others is one that we do not know. */
const METHODS = [
  'recvStart',
  'recvStop',
  'bind',
  'bind6',
  'connect',
  'connect6',
  'send',
  'send6',
  'disconnect',
];
const FLAGS: Readonly<Record<string, number>> = {
  UV_UDP_IPV6ONLY: 1,
  UV_UDP_REUSEADDR: 4,
  UV_UDP_REUSEPORT: 64,
};

/** What `dgram.Socket` keeps under its state symbol. */
export interface SocketState {
  handle: unknown;
  readonly bindState: number;
  readonly reusePort?: unknown;
}

/** The state of a socket, or undefined where there is none that we know. */
export function stateOf(socket: object): SocketState | undefined {
  const symbol = symbolOf(socket, STATE);
  const state = symbol === undefined ? undefined : (socket as Record<symbol, SocketState>)[symbol];
  return typeof state === 'object' && typeof state?.bindState === 'number' ? state : undefined;
}

/** The key of the socket that a handle belongs to. */
export function ownerSymbolOf(handle: object): symbol | undefined {
  return symbolOf(handle, OWNER);
}

function find(): DgramInternals | null {
  // Node's own handles ask whether they may.
  if (isRestricted()) return null;
  try {
    const { UDP, constants } = binding('udp_wrap') as unknown as DgramInternals & {
      readonly constants: Readonly<Record<string, number>>;
    };
    const prototype = UDP.prototype as unknown as Record<string, unknown>;
    if (METHODS.some((name) => typeof prototype[name] !== 'function')) return null;
    // (20 has not all of them. Its handles are told of REUSEADDR by another binding, and by the same number.)
    if (Object.entries(constants).some(([name, value]) => name in FLAGS && FLAGS[name] !== value))
      return null;
    return { UDP };
  } catch {
    return null;
  }
}

let found: DgramInternals | null | undefined;

/** Node's own parts, looked for once; null on a Node that has them elsewhere: then all is left to Node. */
export function dgramInternals(): DgramInternals | null {
  found ??= find();
  return found;
}
