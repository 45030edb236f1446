import { ECANCELED } from '@ouro/native/abi';
import {
  closedError,
  type Descriptor,
  type Future,
  flow,
  inspectable,
  type Opened,
  OpenedDescriptor,
  type OpenedKind,
  type OpOptions,
  placeOfOpening,
  refusal,
  rejected,
} from '@ouro/runtime/driver';
import { type SocketAddress, shown } from '../address.ts';
import { socketError } from '../errors.ts';
import type { UnixAddress } from '../sockaddr.ts';
import { type Accepted, type AcceptLimits, Acceptor, drop, UNLIMITED } from './acceptor.ts';
import { accepted } from './channels.ts';
import { openedSocket } from './opened-socket.ts';

/** What a listener hands out. */
export interface Connection {
  readonly descriptor: Descriptor;
}

/** What a listener is, and its connections are, where one is reported that nobody has closed. */
export interface Listening {
  readonly kind: OpenedKind;
  readonly connection: OpenedKind;
  /** Where it was asked for (`placeOfOpening`). */
  readonly place: string | null;
  /** Lets go of what else is lost with it. */
  readonly lost?: (() => void) | undefined;
}

/** Drops connections that nobody has taken. (A function of its own: what is made in the constructor would refer to all that is there.) */
function dropping(waiting: Accepted[], then: (() => void) | undefined): () => void {
  return () => {
    for (const each of waiting.splice(0)) drop(each);
    then?.();
  };
}

/** A listening socket: an async iterable of connections. What TCP and Unix sockets have in common. */
export abstract class SocketListener<S extends Connection> implements AsyncDisposable, AsyncIterable<S> {
  static {
    inspectable(SocketListener, ({ address, connections }) => ({ address: shown(address), connections }));
  }

  readonly #acceptor: Acceptor;
  /** One for all connections. */
  readonly #released: () => void;
  /** What connections are; the same object for all of them whose place is not recorded. */
  readonly #connection: Opened;
  /** What ops refer to. */
  readonly descriptor: Descriptor;

  /** Takes the descriptor of a listening socket over. */
  protected constructor(
    fd: number,
    { kind, connection, place, lost }: Listening,
    limits: AcceptLimits = UNLIMITED,
  ) {
    const waiting: Accepted[] = [];
    this.descriptor = openedSocket(fd, kind, place, dropping(waiting, lost));
    const acceptor = new Acceptor(this.descriptor, limits, waiting);
    this.#acceptor = acceptor;
    this.#released = () => acceptor.released();
    this.#connection = { kind: connection, place: null, lost: this.#released };
  }

  /** Makes a connection a stream. It gets a direct descriptor only where the limits have a table for them. */
  protected abstract adopt(connection: Descriptor): S;

  #hand(connection: Accepted, place: string | null): S {
    const opened = place === null ? this.#connection : { ...this.#connection, place };
    const descriptor = typeof connection === 'number' ? new OpenedDescriptor(connection, opened) : connection;
    const stream = this.adopt(descriptor);
    stream.descriptor.onceClosed(this.#released);
    if (accepted.hasSubscribers) accepted.publish({ listener: this, stream });
    return stream;
  }

  /** Connections handed out that have not been closed. */
  get connections(): number {
    return this.#acceptor.open;
  }

  /** The descriptor; -1 once closed. It stays this listener's: do not close it. */
  get fd(): number {
    return this.descriptor.fd;
  }

  /**
   * The next connection. A shortage of descriptors or memory (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`) is waited out:
   * connections stay in the kernel's backlog meanwhile.
   *
   * @throws `ECANCELED` when the listener is closed meanwhile, `EBADF` if it was before
   */
  accept(options?: OpOptions): Future<S> {
    if (this.descriptor.closed) return rejected(closedError('accept'));
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    const place = placeOfOpening(this.accept);
    return flow(
      async (steps) => {
        const connection = await steps.step(this.#acceptor.next());
        if (connection === null) throw socketError(ECANCELED, 'accept');
        return this.#hand(connection, place);
      },
      options,
      this.#acceptor.refed,
    );
  }

  /** Connections until the listener is closed. Leaving the loop early leaves it listening, and accepting no more for now. */
  [Symbol.asyncIterator](): AsyncIterator<S, undefined> {
    const begun = !this.descriptor.closed;
    const loop: AsyncIterator<S, undefined> = {
      next: async (): Promise<IteratorResult<S, undefined>> => {
        if (!begun) throw closedError('accept');
        const place = placeOfOpening(loop.next);
        const connection = this.descriptor.closed ? null : await this.#acceptor.next();
        return connection === null
          ? { done: true, value: undefined }
          : { done: false, value: this.#hand(connection, place) };
      },
      return: async (): Promise<IteratorResult<S, undefined>> => {
        this.#acceptor.pause();
        return { done: true, value: undefined };
      },
    };
    return loop;
  }

  /** Lets the listener keep the process alive: the default. */
  ref(): this {
    this.#acceptor.setRef(true);
    return this;
  }

  /** Lets the process end although the listener waits for connections. */
  unref(): this {
    this.#acceptor.setRef(false);
    return this;
  }

  /** Stops listening; loops over the listener end. Connections already taken go on. Closing twice is one closing. */
  close(): Future<void> {
    return this.descriptor.close(() => new Promise<void>((stopped) => this.#acceptor.close(stopped)));
  }

  /** Where it listens, a name or port chosen by the kernel included. */
  abstract readonly address: SocketAddress | UnixAddress;

  [Symbol.asyncDispose](): Future<void> {
    return this.close();
  }
}
