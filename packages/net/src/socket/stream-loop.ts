import {
  bound,
  closedError,
  type Future,
  limitsOf,
  type OpOptions,
  refusal,
  rejected,
  resolved,
} from '@ouro/runtime/driver';
import { OF_CONNECTIONS, refuseMisplaced } from './misplaced.ts';
import type { Receiver } from './receiver.ts';
import type { Want } from './want.ts';

/** What a loop goes by of its stream. */
export interface Looped {
  readonly closed: boolean;
  readonly refed: boolean;
  /** What has received so far; null if nothing has. */
  readonly receiver: Receiver | null;
  /** What arrives. @throws Error if a read with a buffer of its own is in the way, or there is no memory */
  receive(): Receiver;
}

/**
 * A loop over what arrives. Leaving it leaves the stream open, with nothing lost: a read or another loop goes on there.
 */
export class StreamLoop<T> implements AsyncIterableIterator<T, undefined>, AsyncDisposable {
  protected readonly stream: Looped;
  readonly #want: Want<IteratorResult<T, undefined>>;
  readonly #options: OpOptions | undefined;
  readonly #begun: boolean;
  #left = false;

  /** @throws TypeError, RangeError for options that make no sense */
  constructor(stream: Looped, want: Want<IteratorResult<T, undefined>>, options?: OpOptions) {
    this.stream = stream;
    this.#want = want;
    this.#options = limitsOf(options);
    if (options !== undefined) {
      refuseMisplaced(options, OF_CONNECTIONS);
      refusal(this.#options); // that it has been cancelled already is told by `next`
    }
    this.#begun = !stream.closed;
  }

  /** Whether it is over because it was left. */
  protected get left(): boolean {
    return this.#left;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const { stream } = this;
    if (!this.#begun) return rejected(closedError('read'));
    if (stream.closed || this.#left) return resolved({ done: true, value: undefined });
    try {
      if (this.#options === undefined) return stream.receive().wait(this.#want);
      const refused = refusal(this.#options);
      if (refused !== undefined) throw refused;
      return this.#bound(stream.receive().wait(this.#want));
    } catch (error) {
      return rejected(error); // no memory for the buffers, say
    }
  }

  /** A loop that has been given up is over, and holds nothing. */
  async #bound(next: Future<IteratorResult<T, undefined>>): Promise<IteratorResult<T, undefined>> {
    try {
      return await bound(next, this.#options, this.stream.refed);
    } catch (error) {
      await this.return();
      throw error;
    }
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.#left = true;
    await stop(this.stream);
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}

/** Takes no more from the kernel; what has arrived can still be read. */
export async function stop({ closed, receiver }: Looped): Promise<void> {
  if (!closed && receiver !== null) await new Promise<void>((stopped) => receiver.stop(stopped));
}
