import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import { type Beside, start } from '../../testing/beside.ts';
import { root } from '../../testing/program.ts';

/** The command of an example. */
export const command = (name: string, ...args: string[]): string[] => [
  process.execPath,
  join(root, 'examples/dist', `${name}.js`),
  ...args,
];

/** An example that serves, and the port where it listens. */
export interface Served extends AsyncDisposable {
  readonly beside: Beside;
  readonly port: number;
}

/** Starts an example on a port of the kernel's choice. */
export async function startServer(name: string, ...args: string[]): Promise<Served> {
  const beside = start(command(name, ...args));
  const line = await beside.line();
  const port = /^listening on 127\.0\.0\.1:(\d+)$/.exec(line)?.[1];
  if (port === undefined) throw new Error(`It said: ${line}`);
  return {
    beside,
    port: Number(port),
    [Symbol.asyncDispose]: () => beside[Symbol.asyncDispose]() as Promise<void>,
  };
}

/** A client of node:net. */
export async function connect(port: number): Promise<net.Socket> {
  const socket = net.connect({ host: '127.0.0.1', port });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** Whether a program of the system is there to be a peer. */
export const installed = (program: string): boolean =>
  spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;

/** Collects what a socket receives, and tells when there is enough of it. */
export class Inbox {
  readonly socket: net.Socket;
  #text = '';
  #ended = false;
  #wake: () => void = () => {};

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (data: string) => {
      this.#text += data;
      this.#wake();
    });
    socket.on('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** What has arrived and was not taken. */
  get text(): string {
    return this.#text;
  }

  /** Takes everything up to the end of `until`, waiting for it. */
  async take(until: string): Promise<string> {
    for (;;) {
      const at = this.#text.indexOf(until);
      if (at >= 0) return this.#cut(at + until.length);
      await this.#more(`'${until}'`);
    }
  }

  /** Takes so many characters. */
  async count(length: number): Promise<string> {
    while (this.#text.length < length) await this.#more(`${length} bytes`);
    return this.#cut(length);
  }

  /** Takes all that is left when the peer has closed. */
  async end(): Promise<string> {
    while (!this.#ended) await this.#arrived();
    return this.#cut(this.#text.length);
  }

  #cut(length: number): string {
    const taken = this.#text.slice(0, length);
    this.#text = this.#text.slice(length);
    return taken;
  }

  async #more(what: string): Promise<void> {
    if (this.#ended) throw new Error(`The peer has closed before ${what}; there was: ${this.#text}`);
    await this.#arrived();
  }

  #arrived(): Promise<void> {
    return new Promise((wake) => {
      this.#wake = wake;
    });
  }
}
