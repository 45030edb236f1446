import {
  bound,
  closedError,
  type Future,
  type OpOptions,
  refusal,
  rejected,
  resolved,
} from '@ouro/runtime/driver';
import type { DatagramReceiver } from './datagram-receiver.ts';
import { END, type Result, type Take } from './takes.ts';

/** How datagrams are iterated. `signal`, `scope` and `timeout` limit each wait, not the loop. */
export interface UdpReceiveOptions extends OpOptions {
  /**
   * Lend the memory that datagrams arrived in instead of copying them. Each must be disposed of: while three quarters of the buffers are
   * lent, what comes is copied all the same. @default false
   */
  readonly lease?: boolean | undefined;
}

/** What arrives, one after the other or by turns of the loop. An error ends no iteration: `next` can be called again. */
export class DatagramIterator<T> implements AsyncIterableIterator<T, undefined> {
  readonly #receiver: () => DatagramReceiver | null;
  readonly #take: Take<Result<T>>;
  readonly #options: OpOptions | undefined;
  readonly #begun: boolean;
  #left = false;

  /** @param receiver null once the socket is closed */
  constructor(
    receiver: () => DatagramReceiver | null,
    take: Take<Result<T>>,
    options: OpOptions | undefined,
  ) {
    this.#receiver = receiver;
    this.#take = take;
    this.#options = options;
    this.#begun = receiver() !== null;
  }

  next(): Future<Result<T>> {
    if (!this.#begun) return rejected(closedError('recvmsg'));
    const receiver = this.#left ? null : this.#receiver();
    if (receiver === null) return resolved(END);
    const options = this.#options;
    if (options === undefined) return receiver.wait(this.#take, true);
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    return bound(receiver.wait(this.#take, true), options, receiver.refed);
  }

  /** Leaves it: what has arrived stays for the next one, and the kernel is asked for no more. */
  async return(): Promise<Result<T>> {
    this.#left = true;
    const receiver = this.#receiver();
    if (receiver !== null) await new Promise<void>((stopped) => receiver.stop(stopped));
    return END;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
