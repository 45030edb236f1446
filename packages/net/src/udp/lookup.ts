import { promises as dns, V4MAPPED } from 'node:dns';
import { AF_INET } from '@ouro/native/abi';
import type { Future } from '@ouro/runtime/driver';
import { endpoint } from '../address.ts';
import type { Destination, Family } from '../peers.ts';
import { Wait } from '../socket/wait.ts';

/** The `struct sockaddr` of a host name for a socket of `family`, which `node:dns` is asked for, as `node:dgram` does. */
export function lookUp({ address, port }: Destination, family: Family): Future<Uint8Array> {
  const found = new Wait<Uint8Array>();
  const how = family === AF_INET ? { family: 4 } : { family: 6, hints: V4MAPPED };
  dns
    .lookup(address, how)
    .then((answer) => found.resolve(endpoint(answer.address, port).sockaddr))
    .catch((error: unknown) => found.reject(error));
  return found;
}
