import { addon } from '@ouro/native';
import { AF_INET, SOCK_DGRAM, SOCK_STREAM } from '@ouro/native/abi';
import { accept, bind, connect, listen, socket } from '@ouro/net/ops';
import { submit } from '@ouro/runtime';
import { close } from '@ouro/runtime/driver';

/** Bare descriptors, closed at the end of the test. */
export class Fds implements AsyncDisposable {
  readonly #open: number[] = [];

  /** Notes that `fd` has to be closed. */
  own(fd: number): number {
    this.#open.push(fd);
    return fd;
  }

  /** Closes one now. */
  async close(fd: number): Promise<void> {
    this.#open.splice(this.#open.indexOf(fd), 1);
    await close(fd);
  }

  /** A TCP listener on a port of the kernel's choice on 127.0.0.1. */
  async listener(): Promise<{ readonly fd: number; readonly port: number }> {
    const fd = this.own(await submit(socket(AF_INET, SOCK_STREAM)));
    await submit(bind(fd, { address: '127.0.0.1', port: 0 }));
    await submit(listen(fd, 16));
    return { fd, port: portOf(fd) };
  }

  /** Both ends of a TCP connection. */
  async pair(): Promise<readonly [client: number, server: number]> {
    const { fd, port } = await this.listener();
    const client = this.own(await submit(socket(AF_INET, SOCK_STREAM)));
    const [server] = await Promise.all([
      submit(accept(fd)),
      submit(connect(client, { address: '127.0.0.1', port })),
    ]);
    return [client, this.own(server)];
  }

  /** A UDP socket on a port of the kernel's choice on 127.0.0.1. */
  async udp(): Promise<{ readonly fd: number; readonly port: number }> {
    const fd = this.own(await submit(socket(AF_INET, SOCK_DGRAM)));
    await submit(bind(fd, { address: '127.0.0.1', port: 0 }));
    return { fd, port: portOf(fd) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#open.splice(0).map((fd) => close(fd)));
  }
}

/** The port that a socket is bound to. */
export function portOf(fd: number): number {
  const name = addon().getsockname(fd);
  if (typeof name === 'number') throw new Error(`getsockname: ${name}`);
  return name.port;
}
