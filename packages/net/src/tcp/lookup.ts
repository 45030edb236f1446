import { promises as dns, type LookupAddress, type LookupOptions } from 'node:dns';
import { isIP } from 'node:net';
import { type Future, resolved } from '@ouro/runtime/driver';
import { type Endpoint, endpoint } from '../address.ts';
import { invalidAddress } from '../errors.ts';
import { Wait } from '../socket/wait.ts';
import type { Destination, LookupFunction } from './connect-options.ts';

/**
 * The addresses of a destination, in the order to try them: at least one. The families take turns, beginning with that of the
 * first address, each address once, as in Node.
 */
export function lookUp(to: Destination): Future<Endpoint[]> {
  const { host, port, family, hints, lookup, all } = to;
  if (isIP(host) !== 0) return resolved([endpoint(host, port)]);
  const found = new Wait<Endpoint[]>();
  const options = { all: true, hints, ...(family === 0 ? {} : { family }) } as const;
  const asked = lookup === undefined ? dns.lookup(host, options) : called(lookup, host, options);
  asked
    .then((addresses) => {
      const endpoints = alternating(addresses).map(({ address }) => endpoint(address, port));
      found.resolve(all ? endpoints : endpoints.slice(0, 1));
    })
    .catch((error: unknown) => found.reject(error));
  return found;
}

/** Of a function of the program's, which may do what it likes. */
function called(lookup: LookupFunction, host: string, options: LookupOptions): Promise<LookupAddress[]> {
  return new Promise((done, failed) => {
    lookup(host, options, (error, found) => {
      try {
        if (error) failed(error);
        else done(Array.isArray(found) ? found.map((each) => addressOf(each?.address)) : [addressOf(found)]);
      } catch (thrown) {
        failed(thrown); // by a getter
      }
    });
  });
}

/** What somebody's function says is an address: text, or none, whatever else it is. */
function addressOf(address: unknown): LookupAddress {
  return { address: typeof address === 'string' ? address : `${typeof address}`, family: 0 };
}

/** @throws TypeError, as Node, if none is an address */
function alternating(addresses: readonly LookupAddress[]): LookupAddress[] {
  const valid = addresses.filter(({ address }) => isIP(address) !== 0);
  const [first] = valid;
  if (first === undefined) throw invalidAddress(addresses[0]?.address);
  const once = [...new Map(valid.map((each) => [each.address, each])).values()];
  const preferred = isIP(first.address);
  const ones = once.filter(({ address }) => isIP(address) === preferred);
  const others = once.filter(({ address }) => isIP(address) !== preferred);
  const longer = Math.max(ones.length, others.length);
  return Array.from({ length: longer }, (_, i) => [
    ...ones.slice(i, i + 1),
    ...others.slice(i, i + 1),
  ]).flat();
}
