import { type Descriptor, type Future, inspectable } from '@ouro/runtime/driver';

/** What receives by itself for a handle, beside the ops that the descriptor knows of. */
export interface Receives {
  /** Whether the kernel holds nothing of it. */
  readonly idle: boolean;
  setRef(refed: boolean): void;
  /** Gives up those who wait for single things: loops go on. */
  cancel(reason: unknown, loops: boolean): void;
  /** Ends everything. `then` is called when the kernel has let go. */
  close(then: () => void): void;
}

/** A socket that is not one that listens: what streams, datagrams and messages have in common. */
export abstract class SocketHandle implements AsyncDisposable {
  static {
    inspectable(SocketHandle, (handle) => handle.known);
  }

  /** What ops, chains and batches refer to. */
  readonly descriptor: Descriptor;

  /** Takes the descriptor of a socket over. */
  protected constructor(descriptor: Descriptor) {
    this.descriptor = descriptor;
  }

  /** @internal What receives beside single ops, if anything does. */
  get receiver(): Receives | null {
    return null;
  }

  /** The descriptor; -1 once closed. It stays this handle's: do not close it. */
  get fd(): number {
    return this.descriptor.fd;
  }

  /** Whether it has been closed, or is being closed. */
  get closed(): boolean {
    return this.descriptor.closed;
  }

  /** @internal Whether ops keep the process alive. */
  get refed(): boolean {
    return this.descriptor.refed;
  }

  /** Cancels all reads and writes in flight; the handle stays open, and a loop over it goes on. */
  cancel(reason?: unknown): void {
    this.receiver?.cancel(reason, false);
    this.descriptor.cancel(reason);
  }

  /** Lets ops of this handle keep the process alive: the default. */
  ref(): this {
    return this.#setRef(true);
  }

  /** Lets the process end although ops of this handle are in flight. */
  unref(): this {
    return this.#setRef(false);
  }

  #setRef(refed: boolean): this {
    this.descriptor.setRef(refed);
    this.receiver?.setRef(refed);
    return this;
  }

  /**
   * Closes the socket. Ops in flight are cancelled: a loop over it ends, what reads or writes fails with `ECANCELED`; ops begun from
   * here on fail with `EBADF`. Leases that are out stay valid. Closing twice is one closing.
   */
  close(): Future<void> {
    const { descriptor, receiver } = this;
    if (receiver === null || receiver.idle) {
      receiver?.close(() => {});
      return descriptor.close();
    }
    return descriptor.close(() => new Promise<void>((stopped) => receiver.close(stopped)));
  }

  /** @internal What is shown of it, beside whether it is open. */
  protected abstract get known(): Readonly<Record<string, unknown>>;

  [Symbol.asyncDispose](): Future<void> {
    return this.close();
  }
}
