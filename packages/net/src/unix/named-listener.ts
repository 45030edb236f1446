import type { Future, OpenedKind } from '@ouro/runtime/driver';
import type { UnixAddress } from '../sockaddr.ts';
import { UNIX_LISTENER } from '../socket/opened-socket.ts';
import { type Connection, SocketListener } from '../socket/socket-listener.ts';
import type { BoundSocket } from './bind-socket.ts';
import { type BoundFile, removeAtEnd } from './bound-file.ts';
import { unixNameOf } from './unix-path.ts';

/** A listening Unix socket, which has a name and perhaps a file. */
export abstract class NamedListener<S extends Connection> extends SocketListener<S> {
  /** Where it listens, a name chosen by the kernel included. */
  override readonly address: UnixAddress;
  #file: BoundFile | undefined;

  /** Takes a listening socket over, and its file if it is this listener's to remove. */
  protected constructor({ fd, file }: BoundSocket, connection: OpenedKind, place: string | null) {
    super(fd, { kind: UNIX_LISTENER, connection, place, lost: () => removeAtEnd(file) });
    this.address = unixNameOf(fd, false) ?? { path: '' };
    this.#file = file;
  }

  /**
   * Stops listening, and removes the socket file if it is still its own that lies there; loops over the listener end. Connections
   * already taken go on. Closing twice is one closing.
   */
  override close(): Future<void> {
    // While the socket is still open: until then nobody takes the file for a dead one's.
    removeAtEnd(this.#file);
    this.#file = undefined;
    return super.close();
  }
}
