import { readdirSync, readlinkSync } from 'node:fs';
import net from 'node:net';
import { TcpListener, TcpStream } from '@ouro/net';
import { type Future, metrics } from '@ouro/runtime';
import { nop } from '@ouro/runtime/driver';
import { expect } from 'vitest';

/** Sockets that this process has open. */
export function sockets(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:');
    } catch {
      return false; // the descriptor that lists them
    }
  }).length;
}

/** Runs `body`, and expects it to leave as many sockets and as many ops in flight as it found. */
export async function leavesNothing(body: () => Promise<void>): Promise<void> {
  await nop(); // behind all that earlier tests have queued
  const before = { sockets: sockets(), pending: metrics().pending };
  await body();
  await expect.poll(() => ({ sockets: sockets(), pending: metrics().pending }), POLL).toEqual(before);
  expect(metrics().stale).toBe(0);
}

/** How long something may take that only has to come about. */
export const POLL: { readonly timeout: number; readonly interval: number } = { timeout: 15_000, interval: 5 };

/** A listener on 127.0.0.1. */
export function listen(): Promise<TcpListener> {
  return TcpListener.bind({ host: '127.0.0.1' });
}

/** A connection of ours to `listener`. */
export function dial(listener: TcpListener): Future<TcpStream> {
  return TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
}

/** Both ends of a connection. */
export interface Pair extends AsyncDisposable {
  readonly client: TcpStream;
  readonly server: TcpStream;
}

/** A connection, both of whose ends are ours. */
export async function pair(): Promise<Pair> {
  await using listener = await listen();
  const [server, client] = await Promise.all([listener.accept(), dial(listener)]);
  return {
    client,
    server,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([client.close(), server.close()]);
    },
  };
}

/** A connection with one end of ours. */
export interface Mixed extends AsyncDisposable {
  readonly stream: TcpStream;
  /** The end of node:net, paused and with a listener for errors. */
  readonly socket: net.Socket;
}

/** A connection that our listener accepted from node:net. */
export async function mixed(): Promise<Mixed> {
  await using listener = await listen();
  const socket = net.connect({ host: '127.0.0.1', port: listener.address.port, allowHalfOpen: true });
  socket.on('error', () => {});
  const stream = await listener.accept();
  return {
    stream,
    socket,
    [Symbol.asyncDispose]: async () => {
      socket.destroy();
      await stream.close();
    },
  };
}

/** A server of node:net on 127.0.0.1. */
export async function nodeServer(onConnection: (socket: net.Socket) => void): Promise<NodeServer> {
  const open = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
    onConnection(socket);
  });
  const port = await new Promise<number>((listening, failed) => {
    server.once('error', failed);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      if (typeof address === 'object' && address !== null) listening(address.port);
    });
  });
  return {
    port,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((closed) => {
        server.close(() => closed());
        for (const socket of open) socket.destroy();
      }),
  };
}

export interface NodeServer extends AsyncDisposable {
  readonly port: number;
}

/** A server of ours that gives each connection to `handle`, and closes it afterwards. */
export async function serve(handle: (stream: TcpStream) => Promise<void>): Promise<Server> {
  const listener = await listen();
  const open = new Set<TcpStream>();
  const failures: unknown[] = [];
  const tasks: Promise<void>[] = [];
  const loop = (async () => {
    for await (const stream of listener) {
      open.add(stream);
      tasks.push(
        handle(stream)
          .catch((error: unknown) => void failures.push(error))
          .finally(async () => {
            open.delete(stream);
            await stream.close();
          }),
      );
    }
  })();
  return {
    listener,
    port: listener.address.port,
    failures,
    [Symbol.asyncDispose]: async () => {
      await listener.close();
      await loop;
      await Promise.all([...open].map((stream) => stream.close()));
      await Promise.all(tasks);
    },
  };
}

export interface Server extends AsyncDisposable {
  readonly listener: TcpListener;
  readonly port: number;
  /** What handlers have thrown. */
  readonly failures: readonly unknown[];
}

/** Sends back what comes. */
export async function echo(stream: TcpStream): Promise<void> {
  for await (const chunk of stream) await stream.writeAll(chunk);
}

/** All that arrives until the end. */
export async function readAll(stream: TcpStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Exactly `length` bytes by `read`. */
export async function readExactly(stream: TcpStream, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const count = await stream.read(buffer.subarray(filled));
    if (count === 0) break;
    filled += count;
  }
  return buffer.subarray(0, filled);
}

/** All that a socket of node:net receives until the end. */
export async function socketReadAll(socket: net.Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Sends to `stream`, whose peer does not read, until nothing more goes in; the rest of the last send waits. */
export async function fill(
  stream: TcpStream,
): Promise<{ readonly waiting: Promise<number>; readonly size: number }> {
  const data = bytes(16 << 20, 1);
  const waiting = stream.writeAll(data);
  waiting.catch(() => {});
  return { waiting, size: data.length };
}

/** Makes the kernel work on all that is queued while nobody hears of it: its queue has 256 entries. */
export function flush(): void {
  for (let i = 0; i < 300; i++) nop();
}

/** What an error says. */
export interface Told {
  readonly message: string;
  readonly code?: string;
  readonly bytesTransferred?: number;
}

/** An error's message, and all that it carries. */
export function told(error: unknown): Told {
  if (!(error instanceof Error)) throw new TypeError(`Not an error: ${String(error)}`);
  return { ...error, message: error.message };
}

/** The error that `promise` rejects with. */
export async function failure(promise: PromiseLike<unknown>): Promise<Told> {
  try {
    await promise;
  } catch (error) {
    return told(error);
  }
  throw new Error('It did not fail');
}

/** Numbers that look random and are the same for the same seed (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** From 0 to 1, 1 excluded. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** An integer from `lowest` to `highest`, both included. */
  integer(lowest: number, highest: number): number {
    return lowest + Math.floor(this.next() * (highest - lowest + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }
}

/** Bytes without a period that a shift of the stream could hide behind. */
export function bytes(length: number, seed: number): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = (seed * 2_654_435_761) | 1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return Buffer.from(words.buffer, 0, length);
}
