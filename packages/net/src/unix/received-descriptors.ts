import { close, type Future, flow, reactor } from '@ouro/runtime/driver';

/** What is known of descriptors whose owner is gone. */
interface Left {
  fds: number[];
}

const forgotten = new FinalizationRegistry<Left>(({ fds }) => {
  for (const fd of fds) close(fd).catch(() => {}); // nobody asks any more
});

/**
 * The descriptors that came with a message. Each is to be taken; those that nobody takes are closed: by `close` or
 * `await using`, when this object is collected, and with the thread. All are close-on-exec.
 *
 * ```ts
 * const { descriptors } = await stream.receiveDescriptors(buffer);
 * await using _ = descriptors;
 * const connection = descriptors.takeAs(TcpStream.fromFd);
 * ```
 */
export class ReceivedDescriptors implements AsyncDisposable {
  readonly #left: Left;

  /** @internal Owns descriptors that are the thread's. */
  constructor(fds: readonly number[]) {
    this.#left = { fds: [...fds] };
    if (fds.length > 0) forgotten.register(this, this.#left, this);
  }

  /** How many have not been taken. */
  get length(): number {
    return this.#left.fds.length;
  }

  /**
   * The next one, as a number. It is yours from here on, with `fs.close` or as you like: a thread that ends does not close it.
   *
   * @returns undefined if there is none left
   */
  take(): number | undefined {
    const fd = this.#left.fds.shift();
    if (fd !== undefined) {
      reactor().disown(fd);
      this.#taken();
    }
    return fd;
  }

  /** All that are left, as `take`. */
  takeAll(): number[] {
    const fds = this.#left.fds.splice(0);
    for (const fd of fds) reactor().disown(fd);
    this.#taken();
    return fds;
  }

  /**
   * The next one, as a handle that `make` makes of its number and that closes it: `TcpStream.fromFd`, `UnixListener.fromFd`,
   * `File.fromFd`… If `make` throws, it stays here.
   *
   * @throws RangeError if there is none left
   */
  takeAs<T>(make: (fd: number) => T): T {
    const [fd] = this.#left.fds;
    if (fd === undefined) {
      throw Object.assign(new RangeError('No descriptor is left'), { code: 'ERR_OUT_OF_RANGE' });
    }
    const made = make(fd);
    this.#left.fds.shift();
    this.#taken();
    return made;
  }

  #taken(): void {
    if (this.length === 0) forgotten.unregister(this);
  }

  /** Closes those that have not been taken. */
  close(): Future<void> {
    const fds = this.#left.fds.splice(0);
    this.#taken();
    return flow(async () => {
      await Promise.all(fds.map((fd) => close(fd)));
    });
  }

  [Symbol.asyncDispose](): Future<void> {
    return this.close();
  }
}
