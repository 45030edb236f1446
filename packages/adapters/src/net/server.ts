import cluster from 'node:cluster';
import type net from 'node:net';
import { reactor } from '@ouro/runtime/driver';
import { tally } from '../stats.ts';
import type { Internals } from './internals.ts';
import { originals } from './originals.ts';
import { PipeHandle } from './pipe-handle.ts';
import { TcpHandle } from './tcp-handle.ts';

const listens = tally('net', 'Server.listen');

/** `net.Server.prototype._listen2`, to which `listen` comes in the end. */
export type Listen2 = (
  this: ServerParts,
  address: string | null,
  port: number | null,
  addressType: number | null,
  backlog: number,
  fd?: number | null,
  flags?: number,
) => void;

export interface ServerParts extends net.Server {
  _handle: unknown;
  /** What `tls.Server` has. */
  _contexts?: unknown;
  _listen2: Listen2;
}

interface Made {
  readonly handle: TcpHandle | PipeHandle;
  readonly address: string | null;
  readonly addressType: number | null;
}

/** A bound handle, or null where Node is to try, and to tell what is wrong. */
function make(
  node: Internals,
  address: string | null,
  port: number | null,
  addressType: number | null,
  flags: number,
): Made | null {
  if (port === -1 && addressType === -1) {
    if (typeof address !== 'string') return null;
    const handle = new PipeHandle(node, true);
    if (handle.bind(address) === 0) return { handle, address, addressType };
    handle.close();
    return null;
  }
  if (typeof port !== 'number') return null;
  // Where no address was asked for: IPv6, which takes IPv4 as well, and what there is without it.
  const tries: readonly (readonly [string, number])[] =
    address === null || address === undefined || address === ''
      ? [
          ['::', 6],
          ['0.0.0.0', 4],
        ]
      : [[address, addressType ?? 4]];
  for (const [host, type] of tries) {
    const handle = new TcpHandle(node, true);
    if (handle.bind(host, port, type === 6 ? flags : flags & ~1) === 0)
      return { handle, address: host, addressType: type };
    handle.close();
  }
  return null;
}

/** Whether a server is one that Node is to serve. */
function leftToNode(server: ServerParts, fd: number | null | undefined): boolean {
  if (server._handle !== null && server._handle !== undefined) return true;
  if (typeof fd === 'number') return true;
  // TLS wants a native stream below it.
  if (server._contexts !== undefined) return true;
  // A primary hands its handle, or its connections, to workers.
  return cluster.isPrimary && Object.keys(cluster.workers ?? {}).length > 0;
}

/** `_listen2` with our handle below, and with `original` for what Node is to serve. */
export function listening(node: Internals, original: Listen2): Listen2 {
  return function listen2(address, port, addressType, backlog, fd, flags = 0) {
    let made: Made | null = null;
    if (!leftToNode(this, fd)) {
      try {
        reactor();
        made = make(node, address, port, addressType, flags ?? 0);
      } catch {
        made = null;
      }
    }
    if (made === null) {
      listens.node++;
      original.call(this, address, port, addressType, backlog, fd, flags);
      return;
    }
    listens.ours++;
    this._handle = made.handle;
    original.call(this, made.address, port, made.addressType, backlog, fd, flags);
  };
}

/** `_listen2` as Node has it. */
export const listenByNode: Listen2 = originals.listen2 as Listen2;
