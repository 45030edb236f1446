import type { Duplex } from 'node:stream';
import { checkInteger, type Expired, type Future } from '@ouro/runtime/driver';
import { type SocketAddress, shown } from '../address.ts';
import type { UnixAddress } from '../sockaddr.ts';
import { closed } from './channels.ts';
import { duplexOver, type StreamDuplexOptions } from './duplex.ts';
import { IdleWatch, type Watched } from './idle-watch.ts';
import { WritableHalf } from './writable-half.ts';

/** About 24 days, as for Node's timers. */
const MOST_IDLE = 2 ** 31 - 1;

/**
 * A connection that carries a stream of bytes: what TCP and Unix sockets have in common. Every method that does I/O returns a
 * future.
 *
 * A buffer that is handed in belongs to the op until its future has settled: do not change or read it before.
 */
export abstract class SocketStream extends WritableHalf implements Watched {
  /**
   * Milliseconds after which what waits for bytes to move fails with `ETIMEDOUT` (reads, loops, sends) if none has moved in
   * either direction; 0 for ever. Kept to a quarter more, by one timeout op of the ring that runs only while something waits.
   * The stream stays open. A slow peer who takes what is sent is not idle; on a direct descriptor that is asked for as by `info`, and
   * before Linux 6.8 only known when the kernel has taken all of a send. @default 0
   */
  get idleTimeout(): number {
    return this.idle?.ms ?? 0;
  }

  set idleTimeout(ms: number) {
    checkInteger('idleTimeout', ms, 0, MOST_IDLE);
    this.idle?.stop();
    this.idle = ms === 0 ? null : new IdleWatch(this, ms);
    if (this.waits) this.idle?.start();
  }

  /** @internal */
  get moved(): number {
    return this.bytesRead + this.bytesWritten;
  }

  /** @internal A number that changes when the peer takes bytes that the kernel has: see `Watched`. */
  abstract get taken(): number | Future<number>;

  /** @internal Whether anything waits for bytes to move. */
  get waits(): boolean {
    return !this.descriptor.closed && (!this.descriptor.idle || this.receiver?.awaited === true);
  }

  /** @internal */
  expire(reason: Expired): void {
    this.receiver?.cancel(reason, true);
    this.descriptor.cancel(reason);
  }

  /** @internal */
  protected override get known(): Readonly<Record<string, unknown>> {
    const { bytesRead, bytesWritten, bytesQueued, buffered, idleTimeout } = this;
    const limit = idleTimeout > 0 ? { idleTimeout } : {};
    return {
      local: shown(this.localAddress),
      remote: shown(this.remoteAddress),
      bytesRead,
      bytesWritten,
      bytesQueued,
      buffered,
      ...limit,
    };
  }

  /** Our end. */
  abstract get localAddress(): SocketAddress | UnixAddress | undefined;

  /** The peer's end. */
  abstract get remoteAddress(): SocketAddress | UnixAddress | undefined;

  /**
   * This stream as a Duplex of `node:stream`, for whatever takes one: `pipeline`, `node:tls`, parsers. The stream is the Duplex's from then on:
   * read and write there only. Ending it is `shutdown`, destroying it `close`, and it destroys itself when both
   * directions have ended. It reads no further than its `highWaterMark` and what this stream holds.
   */
  toDuplex(options?: StreamDuplexOptions): Duplex {
    return duplexOver(this, options);
  }

  /**
   * Closes the connection. Ops in flight are cancelled: a loop over the stream ends, a `read` or `write` fails with
   * `ECANCELED`; ops begun from here on fail with `EBADF`. What a finished `writeAll` has handed to the kernel is
   * still sent. Closing twice is one closing.
   */
  override close(): Future<void> {
    const { descriptor } = this;
    if (closed.hasSubscribers && !descriptor.closed)
      descriptor.onceClosed(() => closed.publish({ stream: this }));
    this.dropSends();
    this.idle?.stop();
    return super.close();
  }
}
