import { spawnSync } from 'node:child_process';
import { promises as dns } from 'node:dns';
import net, { isIP } from 'node:net';
import { AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM } from '@ouro/native/abi';
import { type BindOptions, TcpListener, type TcpStream } from '@ouro/net';
import { reactor } from '@ouro/runtime/driver';
import { expect, vi } from 'vitest';
import { dial, type Pair, type Told, told } from './support.ts';

/** Listeners that put connections into descriptors of the process, and into the ring's own table. */
export const BOTH: [what: string, options: BindOptions][] = [
  ['ordinary descriptors', {}],
  ['direct descriptors', { direct: true }],
];

/** A connection, both of whose ends are ours, accepted as `options` say. */
export async function pairBy(options: BindOptions): Promise<Pair> {
  await using listener = await TcpListener.bind({ host: '127.0.0.1', ...options });
  const [server, client] = await Promise.all([listener.accept(), dial(listener)]);
  return {
    client,
    server,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([client.close(), server.close()]);
    },
  };
}

/** Has the look-up of any name bring these addresses. Undone by `vi.restoreAllMocks`. */
export function lookUp(...addresses: string[]): { readonly asked: unknown[] } {
  const asked: unknown[] = [];
  vi.spyOn(dns, 'lookup').mockImplementation((async (_host: string, options: unknown) => {
    asked.push(options);
    return addresses.map((address) => ({ address, family: isIP(address) }));
  }) as unknown as typeof dns.lookup);
  return { asked };
}

/** A port that is taken and where nobody listens. */
export function deafPort(host = '127.0.0.1'): { readonly port: number } & Disposable {
  const { addon } = reactor();
  const family = isIP(host) === 6 ? AF_INET6 : AF_INET;
  const fd = addon.socket(family, SOCK_STREAM, IPPROTO_TCP);
  const address = new Uint8Array(28);
  const length = addon.sockaddr(host, 0, address);
  expect(addon.bind(fd, address.subarray(0, length))).toBe(0);
  const name = addon.getsockname(fd);
  if (typeof name === 'number') throw new Error(`getsockname: ${name}`);
  return { port: name.port, [Symbol.dispose]: () => reactor().discard(fd) };
}

/** A listener whose queue is full, so that whoever connects now gets no answer to his SYN. */
export async function fullListener(host = '127.0.0.1', port = 0): Promise<Full> {
  const listener = await TcpListener.bind({ host, port, backlog: 0 });
  const queued = await dialTo(host, listener.address.port);
  return {
    listener,
    port: listener.address.port,
    [Symbol.asyncDispose]: async () => {
      queued.destroy();
      await listener.close();
    },
  };
}

/** See `fullListener`. */
export interface Full extends AsyncDisposable {
  readonly listener: TcpListener;
  readonly port: number;
}

/** A connection of node:net. */
export function dialTo(host: string, port: number): Promise<net.Socket> {
  return new Promise((done, failed) => {
    const socket = net.connect({ host, port, allowHalfOpen: true });
    socket.once('connect', () => done(socket));
    socket.once('error', failed);
    socket.on('error', () => {});
  });
}

/** How node:net fails to connect. */
export function nodeFailure(options: net.TcpNetConnectOpts): Promise<Told> {
  return new Promise((failed) => {
    net.connect(options).once('error', (error) => failed(told(error)));
  });
}

/** All connections of a listener, until it is closed. */
export function collect(listener: TcpListener): TcpStream[] {
  const streams: TcpStream[] = [];
  void (async () => {
    for await (const stream of listener) streams.push(stream);
  })();
  return streams;
}

/** Whether a command succeeds in a network namespace of its own, where the process is root. */
export function namespaceCan(command: string): boolean {
  return spawnSync('unshare', ['-rn', 'sh', '-c', command], { stdio: 'ignore' }).status === 0;
}

/** What runs a program in a network namespace that `setup` has prepared: for `ProgramOptions.under`. */
export function inNamespace(setup: string): string[] {
  return ['unshare', '-rn', 'sh', '-c', `${setup}; exec "$@"`, 'sh'];
}
