import { ECANCELED, EIO, MAX_RW_COUNT } from '@ouro/native/abi';
import { reactor } from '../engine/thread.ts';
import { awaitFast } from '../future/future.ts';
import type { Op } from '../operation/op.ts';
import { NO_TIMEOUT } from '../operation/op-options.ts';
import { Operation } from '../operation/operation.ts';

/** When a transfer goes on after the kernel moved fewer bytes than asked. */
export type Until =
  /** Until all is moved: for writing and sending. */
  | 'all'
  /** Only when the kernel's own limit for one call cut it: a short read is the end of the file, or all there is. */
  | 'short';

/** Where the bytes of a transfer come from or go to. */
export type At =
  /** In a file, at the op's `off`; at -1 the current position. */
  | 'file'
  /** On a socket, which knows no positions: the field is another one there and must be 0. */
  | 'socket';

/**
 * Moves bytes between the kernel and one stretch of memory, in as many ops as it takes, as one future of their
 * number. A failure or cancellation on the way says how many bytes had moved (`bytesTransferred`).
 */
export class Transfer extends Operation<number> {
  readonly #until: Until;
  readonly #at: At;
  #moved = 0;

  /** @param op its `off`, `addr` and `len` say what to move */
  constructor(op: Op<number>, until: Until, at: At) {
    super(op);
    this.#until = until;
    this.#at = at;
  }

  override start(timeout: number = NO_TIMEOUT): this {
    return this.go(timeout);
  }

  /** Queues what is left to move. */
  protected go(timeout: number): this {
    const { op } = this;
    const moved = this.#moved;
    const off = op.off >= 0 && this.#at === 'file' ? op.off + moved : op.off;
    const len = Math.min(op.len - moved, MAX_RW_COUNT);
    return this.enqueue(reactor().take(this), off, op.addr + moved, len, timeout);
  }

  protected override finish(result: number): void {
    if (result < 0) {
      this.settleFailure(result, this.#moved);
      return;
    }
    const moved = this.#moved + result;
    this.#moved = moved;
    if (moved === this.op.len || (this.#until === 'short' && result !== MAX_RW_COUNT)) this.settle(moved);
    // A write that moves nothing would be tried for ever.
    else if (result === 0) this.settleFailure(EIO, moved);
    else if (this.cancelled) this.settleFailure(ECANCELED, moved);
    else this.#again(moved);
  }

  #again(moved: number): void {
    const left = this.timeLeft;
    if (left === 0) {
      this.settleExpired(moved);
      return;
    }
    try {
      this.go(left);
    } catch (error) {
      // The kernel takes no more ops.
      this.settleFailure((error as { errno?: number }).errno ?? EIO, moved);
    }
  }
}
awaitFast(Transfer);
