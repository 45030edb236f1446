import { reactor } from '@ouro/runtime/driver';
import { tally } from '../stats.ts';
import { Accepts } from './accepts.ts';
import { Connecting } from './connecting.ts';
import { type Request, StreamHandle } from './stream-handle.ts';

const accepted = tally('net', 'accept');

/** What TCP and Unix sockets have in common before they are streams: they listen, or they connect. */
export abstract class EndpointHandle extends StreamHandle {
  #accepts: Accepts | null = null;
  #connecting: Connecting | null = null;

  /** A handle over a connection that has been accepted. */
  protected abstract over(fd: number): StreamHandle;

  /** Listens on a descriptor, and hands on what comes. */
  protected listenOn(fd: number, backlog: number): number {
    const failed = reactor().addon.listen(fd, backlog);
    if (failed < 0) return failed;
    this.#accepts ??= new Accepts(
      fd,
      this.refed,
      (client) => this.#accepted(client),
      (errno) => this.onconnection !== undefined && this.scope.run(this.onconnection, this, errno),
    );
    return 0;
  }

  #accepted(fd: number): void {
    accepted.ours++;
    const { onconnection } = this;
    if (onconnection === undefined) {
      reactor().discard(fd);
      return;
    }
    this.connected(onconnection, this.over(fd));
  }

  /** Connects a descriptor to a `struct sockaddr`. */
  protected connectTo(request: Request, fd: number, address: Uint8Array): number {
    this.#connecting = new Connecting(fd, address, (status) => {
      this.#connecting = null;
      this.connectEnded(request, status);
    });
    return 0;
  }

  protected connectEnded(request: Request, status: number): void {
    this.finish(request, status, request, true, true);
  }

  open(fd: number): number {
    this.use(fd);
    return 0;
  }

  override ref(): void {
    super.ref();
    this.#accepts?.setRef(true);
  }

  override unref(): void {
    super.unref();
    this.#accepts?.setRef(false);
  }

  protected override letGo(then: () => void): void {
    if (this.#accepts !== null) this.#accepts.close(this.shared, then);
    else if (this.#connecting !== null) this.#connecting.close(then);
    else then();
  }
}
