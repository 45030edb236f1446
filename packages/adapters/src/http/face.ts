import http from 'node:http';
import { callable, connectTo, listenOnRing } from '../net/face.ts';
import { prepareHttp } from './prepare.ts';

/** `http.Server`, on the ring. */
class RingServer extends http.Server {}
Object.defineProperty(RingServer.prototype, '_listen2', {
  value: function (this: http.Server, ...args: unknown[]) {
    prepareHttp();
    (listenOnRing as (...args: unknown[]) => void).apply(this, args);
  },
  writable: true,
  configurable: true,
});

/** `http.Agent`, whose connections are on the ring. */
class RingAgent extends http.Agent {}
Object.defineProperty(RingAgent.prototype, 'createConnection', {
  value: connectTo,
  writable: true,
  configurable: true,
});

export const Server: typeof http.Server = callable(RingServer);
export const Agent: typeof http.Agent = callable(RingAgent);

/** `http.createServer`. */
export const createServer: typeof http.createServer = (...args: unknown[]) =>
  new RingServer(...(args as ConstructorParameters<typeof RingServer>)) as never;

let agent: http.Agent | undefined;

/** The agent of requests that name none. */
export function globalAgent(): http.Agent {
  agent ??= new RingAgent({ keepAlive: true, scheduling: 'lifo', timeout: 5000 });
  return agent;
}

/** The options of a request, with our agent where it names none. */
function withAgent(args: readonly unknown[]): unknown[] {
  const given = [...args];
  const url = typeof given[0] === 'string' || given[0] instanceof URL ? [given.shift()] : [];
  const options = typeof given[0] === 'object' && given[0] !== null ? given.shift() : {};
  const { agent: chosen, createConnection } = options as http.RequestOptions;
  const mine = chosen === undefined && createConnection === undefined ? { agent: globalAgent() } : {};
  return [...url, { ...(options as object), ...mine }, ...given];
}

type Request = (...args: unknown[]) => http.ClientRequest;

/** `http.request`. */
export const request: typeof http.request = (...args: unknown[]) =>
  (http.request as Request)(...withAgent(args));

/** `http.get`. */
export const get: typeof http.get = (...args: unknown[]) => (http.get as Request)(...withAgent(args));
