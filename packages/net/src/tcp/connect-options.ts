import { ADDRCONFIG, type LookupAddress, type LookupOptions } from 'node:dns';
import net, { isIP } from 'node:net';
import { checkInteger, invalidType, type OpOptions } from '@ouro/runtime/driver';
import { checkHost, checkPort } from '../address.ts';
import { invalidAddress } from '../errors.ts';
import { OF_CONNECTIONS, refuseMisplaced } from '../socket/misplaced.ts';
import type { Option } from '../socket/options.ts';
import { checkHighWater, type StreamLimits } from '../socket/readable-half.ts';
import { checkKeepAlive, type KeepAlive } from './keep-alive.ts';

/** A look-up as `dns.lookup` is one. With `all` it calls back with an array. */
export type LookupFunction = (
  hostname: string,
  options: LookupOptions,
  callback: (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void,
) => void;

/** Where and how to connect. Names and meanings are those of `net.connect`. */
export interface ConnectOptions extends OpOptions, StreamLimits {
  /** Name or address. @default 'localhost' */
  readonly host?: string | undefined;
  readonly port: number;
  /** The address that our end gets: a numeric one. Only addresses of its family are tried then. @default the kernel's choice */
  readonly localAddress?: string | undefined;
  /** The port that our end gets. @default the kernel's choice */
  readonly localPort?: number | undefined;
  /** 4 or 6: only addresses of that family; 0: both. @default 0 */
  readonly family?: number | undefined;
  /** `dns.ADDRCONFIG` and the like, for the look-up. @default dns.ADDRCONFIG unless a family is asked for */
  readonly hints?: number | undefined;
  /** Looks a name up in the place of `dns.lookup`. It cannot be cancelled: nobody waits for it then. */
  readonly lookup?: LookupFunction | undefined;
  /**
   * Try all addresses of a name, of both families by turns, and take the connection that is made first (happy eyeballs, RFC
   * 8305). If false, only the first address is tried. @default `net.getDefaultAutoSelectFamily()`
   */
  readonly autoSelectFamily?: boolean | undefined;
  /**
   * Milliseconds after which the next address is tried as well, the attempt before going on beside it; at least 10. An
   * address that fails is followed by the next at once. @default `net.getDefaultAutoSelectFamilyAttemptTimeout()`, 250
   */
  readonly autoSelectFamilyAttemptTimeout?: number | undefined;
  /** Send small writes at once (`TCP_NODELAY`). @default false */
  readonly noDelay?: boolean | undefined;
  /** Look after silent connections: see `setKeepAlive`. @default false */
  readonly keepAlive?: boolean | KeepAlive | undefined;
}

/** `ConnectOptions`, checked. */
export interface Destination {
  readonly host: string;
  readonly port: number;
  readonly localAddress: string | undefined;
  readonly localPort: number;
  /** 0, 4 or 6. */
  readonly family: number;
  readonly hints: number;
  readonly lookup: LookupFunction | undefined;
  readonly all: boolean;
  readonly attemptMs: number;
  readonly noDelay: boolean;
  readonly keepAlive: readonly Option[];
  readonly highWater: number | undefined;
}

/** What `net.connect` knows, and what it is here. */
const MISPLACED = {
  ...OF_CONNECTIONS,
  path: 'UnixStream.connect has one',
  fd: 'TcpStream.fromFd takes one',
  direct: 'only what is accepted can be a direct descriptor',
  keepAliveInitialDelay: "it is 'keepAlive: { idle }'",
  maxConnections: 'a listener has one',
  onread: 'read into buffers of your own with stream.read',
} as const;

/** As Node has it: shorter ones would not be kept by a busy loop. */
const LEAST_ATTEMPT_MS = 10;
const INT_MAX = 0x7fff_ffff;

/** Checks all of `ConnectOptions` but what every op takes. @throws TypeError, RangeError, with codes as Node has them */
export function checkConnect(options: ConnectOptions): Destination {
  if (typeof options !== 'object' || options === null)
    throw invalidType('options', 'of type object', options);
  refuseMisplaced(options, MISPLACED);
  const { localAddress, lookup, autoSelectFamily, noDelay = false, keepAlive, highWater } = options;
  const host = checkHost(options.host) ?? 'localhost';
  const port = checkPort(options.port);
  const localFamily = checkLocalAddress(localAddress);
  if (lookup !== undefined && typeof lookup !== 'function')
    throw invalidType('options.lookup', 'of type function', lookup);
  if (autoSelectFamily !== undefined && typeof autoSelectFamily !== 'boolean')
    throw invalidType('options.autoSelectFamily', 'of type boolean', autoSelectFamily);
  checkHighWater(highWater);
  const family = checkFamily(options.family) || localFamily;
  return {
    host,
    port,
    localAddress,
    localPort: options.localPort === undefined ? 0 : checkPort(options.localPort, 'options.localPort'),
    family,
    hints: checkHints(options.hints) || (family === 0 ? ADDRCONFIG : 0),
    lookup,
    all: autoSelectFamily ?? net.getDefaultAutoSelectFamily(),
    attemptMs: checkAttempt(options.autoSelectFamilyAttemptTimeout),
    noDelay,
    keepAlive: checkKeepAlive(keepAlive),
    highWater,
  };
}

function checkLocalAddress(address: unknown): number {
  if (address === undefined) return 0;
  if (typeof address !== 'string') throw invalidType('options.localAddress', 'of type string', address);
  const family = isIP(address);
  if (family === 0) throw invalidAddress(address);
  return family;
}

function checkFamily(family: unknown): number {
  if (family === undefined) return 0;
  if (typeof family !== 'number') throw invalidType('options.family', 'of type number', family);
  if (family !== 0 && family !== 4 && family !== 6) {
    throw Object.assign(
      new TypeError(`The property 'options.family' must be one of: 0, 4, 6. Received ${family}`),
      { code: 'ERR_INVALID_ARG_VALUE' },
    );
  }
  return family;
}

function checkHints(hints: unknown): number {
  if (hints === undefined) return 0;
  checkInteger('options.hints', hints, 0, INT_MAX);
  return hints;
}

function checkAttempt(ms: unknown): number {
  if (ms === undefined) return net.getDefaultAutoSelectFamilyAttemptTimeout();
  checkInteger('options.autoSelectFamilyAttemptTimeout', ms, 1, INT_MAX);
  return Math.max(ms, LEAST_ATTEMPT_MS);
}
