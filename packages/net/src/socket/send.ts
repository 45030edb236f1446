import { ECANCELED, EIO, IORING_OP_SENDMSG, IOV_MAX, MSG_NOSIGNAL, MSG_WAITALL } from '@ouro/native/abi';
import {
  awaitFast,
  type Bytes,
  type Descriptor,
  expire,
  NO_TIMEOUT,
  type Op,
  Operation,
  opKind,
  type Pinned,
  Transfer,
} from '@ouro/runtime/driver';
import { givenUp, socketError } from '../errors.ts';
import { Message } from '../op/msghdr.ts';
import { writing } from '../op/send.ts';
import type { Queued, SendQueue } from './send-queue.ts';

/** A send in its socket's queue. What the kernel did not take is sent again until all is gone. */
export class Send extends Transfer implements Queued {
  readonly #queue: SendQueue;
  /** Bytes that were sent before it. */
  readonly #before: number;
  #unsent: number;

  private constructor(queue: SendQueue, op: Op<number>, all: boolean, before: number) {
    super(op, all ? 'all' : 'short', 'socket');
    this.#queue = queue;
    this.#before = before;
    this.#unsent = op.len;
  }

  /** A send of all of `view`; its future counts `before` bytes that have been sent already. */
  static whole(queue: SendQueue, fd: Descriptor, view: Bytes, before = 0): Send {
    return new Send(queue, writing(fd, view, MSG_WAITALL), true, before);
  }

  /** A send of what the socket takes at once. */
  static part(queue: SendQueue, fd: Descriptor, view: Bytes): Send {
    return new Send(queue, writing(fd, view, 0), false, 0);
  }

  protected override settle(result: number, cqeFlags?: number): void {
    super.settle(result + this.#before, cqeFlags);
  }

  protected override settleFailure(errno: number, bytesTransferred: number): void {
    super.settleFailure(errno, bytesTransferred + this.#before);
  }

  protected override settleExpired(bytesTransferred: number): void {
    super.settleExpired(bytesTransferred + this.#before);
  }

  get length(): number {
    return this.op.len;
  }

  /** Joins the queue. */
  override start(timeout: number = NO_TIMEOUT): this {
    if (this.op.len === 0) this.settle(0);
    else join(this.#queue, this, timeout);
    return this;
  }

  /** @internal It is its turn. */
  override go(timeout: number): this {
    return super.go(timeout);
  }

  override complete(result: number, flags: number): void {
    if (result > 0) {
      this.#unsent -= result;
      this.#queue.moved(result);
    }
    super.complete(result, flags);
    if (this.slot < 0) this.#queue.next(this.#unsent);
  }

  override cancel(reason?: unknown): void {
    if (this.slot < 0 && this.#queue.remove(this)) this.abandon(givenUp(reason, 'write'));
    else super.cancel(reason);
  }

  /** Fails a send that has not begun. */
  drop(): void {
    this.abandon(socketError(ECANCELED, 'write'));
  }
}
awaitFast(Send);

/** A send with a timeout that may have to wait for its turn, which is no op. */
function join(queue: SendQueue, send: Send | SendMany, timeout: number): void {
  if (timeout === NO_TIMEOUT || queue.idle) queue.add(send, timeout);
  else {
    expire(send, timeout);
    queue.add(send, NO_TIMEOUT);
  }
}

const WRITEV = opKind<number>('write', {
  error: (errno) => socketError(errno, 'write'),
  endsWithHandle: true,
});

/** Several stretches of memory as one message of a stream, of which the first bytes may have been sent already. */
class Gather extends Message<number> {
  readonly #pieces: readonly Pinned[];
  readonly total: number;
  #first = 0;
  /** Bytes of the first piece that have been sent. */
  #skipped = 0;

  constructor(pieces: readonly Pinned[]) {
    const hold = pieces.map((piece) => piece.hold);
    super(WRITEV, IORING_OP_SENDMSG, { iovecs: [], hold, total: 0 }, 0, null, MSG_NOSIGNAL | MSG_WAITALL);
    this.#pieces = pieces;
    this.total = pieces.reduce((sum, { length }) => sum + length, 0);
  }

  override place(slot: number): void {
    const pieces = this.#pieces;
    const iovecs: number[] = [];
    let total = 0;
    let skipped = this.#skipped;
    const end = Math.min(pieces.length, this.#first + IOV_MAX);
    for (let i = this.#first; i < end; i++) {
      const { address, length } = pieces[i];
      iovecs.push(address + skipped, length - skipped);
      total += length - skipped;
      skipped = 0;
    }
    this.use({ iovecs, hold: [], total });
    super.place(slot);
  }

  /** Notes that `count` more bytes have been sent: the next `place` begins behind them. */
  advance(count: number): void {
    const pieces = this.#pieces;
    let at = this.#skipped + count;
    while (this.#first < pieces.length && at >= pieces[this.#first].length)
      at -= pieces[this.#first++].length;
    this.#skipped = at;
  }
}

/** A send of several buffers in its socket's queue, in as many ops as it takes. */
export class SendMany extends Operation<number> implements Queued {
  readonly #queue: SendQueue;
  readonly #gather: Gather;
  #sent = 0;

  private constructor(queue: SendQueue, op: Gather) {
    super(op);
    this.#queue = queue;
    this.#gather = op;
  }

  /** A send of all `pieces`, none of which is empty. */
  static of(queue: SendQueue, fd: Descriptor, pieces: readonly Pinned[]): SendMany {
    const op = new Gather(pieces);
    op.on(fd);
    return new SendMany(queue, op);
  }

  get length(): number {
    return this.#gather.total;
  }

  override start(timeout: number = NO_TIMEOUT): this {
    if (this.length === 0) this.settle(0);
    else join(this.#queue, this, timeout);
    return this;
  }

  /** @internal It is its turn. */
  go(timeout: number): this {
    return super.start(timeout);
  }

  override complete(result: number, flags: number): void {
    super.complete(result, flags);
    if (this.slot < 0) this.#queue.next(this.length - this.#sent);
  }

  protected override finish(result: number): void {
    if (result < 0) {
      this.settleFailure(result, this.#sent);
      return;
    }
    this.#sent += result;
    this.#queue.moved(result);
    const sent = this.#sent;
    if (sent === this.length) this.settle(sent);
    // A send that moves nothing would be tried for ever.
    else if (result === 0) this.settleFailure(EIO, sent);
    else if (this.cancelled) this.settleFailure(ECANCELED, sent);
    else this.#again(result);
  }

  #again(moved: number): void {
    this.#gather.advance(moved);
    const left = this.timeLeft;
    if (left === 0) {
      this.settleExpired(this.#sent);
      return;
    }
    try {
      this.go(left);
    } catch (error) {
      // The kernel takes no more ops.
      this.settleFailure((error as { errno?: number }).errno ?? EIO, this.#sent);
    }
  }

  override cancel(reason?: unknown): void {
    if (this.slot < 0 && this.#queue.remove(this)) this.abandon(givenUp(reason, 'write'));
    else super.cancel(reason);
  }

  /** Fails a send that has not begun. */
  drop(): void {
    this.abandon(socketError(ECANCELED, 'write'));
  }
}
awaitFast(SendMany);
