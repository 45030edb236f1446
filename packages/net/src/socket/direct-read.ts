import { awaitFast, type Bytes, type Descriptor, lengthOf, Transfer } from '@ouro/runtime/driver';
import { unexpectedEnd } from '../errors.ts';
import { recvAt } from '../op/recv.ts';

/** Who counts the bytes of a read. */
export interface Counting {
  /** Bytes have arrived. */
  received(count: number): void;
}

/** A receive straight into a caller's buffer: of what has arrived, or until it is full. */
export class DirectRead extends Transfer {
  readonly #full: boolean;
  readonly #counting: Counting;
  #received = 0;

  constructor(fd: Descriptor, view: Bytes, address: number, full: boolean, counting: Counting) {
    // (Not MSG_WAITALL: an error behind the first bytes would be lost with it.)
    super(recvAt(fd, view, address), full ? 'all' : 'short', 'socket');
    this.#full = full;
    this.#counting = counting;
  }

  protected override finish(result: number): void {
    if (result > 0) {
      this.#received += result;
      this.#counting.received(result);
    } else if (result === 0 && this.#full) {
      const all = lengthOf(this.op.hold as Bytes);
      this.abandon(unexpectedEnd(`${this.#received} of ${all} bytes had arrived`, this.#received));
      return;
    }
    super.finish(result);
  }
}
awaitFast(DirectRead);
