import { EAGAIN, EINVAL, EIO, EOPNOTSUPP, MSG_WAITALL, POLLIN, POLLOUT, POLLRDHUP } from '@ouro/native/abi';
import { addressOf, awaitFast, type Bytes, type Descriptor, nopOp, reactor } from '@ouro/runtime/driver';
import { pollAdd } from '@ouro/runtime/ops';
import { socketError } from '../errors.ts';
import { recvAt } from '../op/recv.ts';
import { writing } from '../op/send.ts';
import type { Arrived } from '../socket/receiver.ts';
import { type Pipe, takePipe } from './pipes.ts';
import { isOurs, Sending, type Way } from './sending.ts';

/** Bytes that are moved by one call. */
const PIECE = 262_144;
/** Bytes that are copied at a time: with more the kernel moves them; and where it cannot. */
const COPIED = 4096;
const MOST_COPIED = 65_536;
/** Bytes that arrive at a time, as long as which they are spliced. */
const BULK = 16_384;
/** Bytes after which the loop's other work has its turn. */
const TURN = 1 << 20;

/** Where a relay takes from. */
export interface Origin {
  readonly descriptor: Descriptor;
  /** Ends the stream's own receiving, and hands over what it has brought. */
  takeOver(): Promise<Arrived>;
  /** Counts bytes that have been received. */
  received(count: number): void;
}

/** One direction of a proxy: all that arrives on one socket, sent to another, until its end. */
export class Relay extends Sending {
  readonly #from: Origin;
  #memory: Buffer = bufferOf(COPIED);
  #pipe: Pipe | null = null;
  #inTurn = 0;

  constructor(from: Origin, to: Way) {
    super(to, [from.descriptor]);
    this.#from = from;
  }

  /** Bytes so far. */
  get count(): number {
    return this.moved;
  }

  protected override async work(): Promise<void> {
    const { descriptor } = this.#from;
    const arrived = await this.#from.takeOver();
    for (const chunk of arrived.chunks) await this.#write(chunk);
    if (arrived.error !== null) throw arrived.error;
    if (arrived.ended) return;
    const splices = isOurs(descriptor) && isOurs(this.socket);
    for (;;) {
      // Most messages are small, and two ops by way of memory cost less for them than a poll and two splices.
      const count = await this.#copy();
      if (count === 0) return;
      if (count < this.#memory.length) continue;
      if (!splices) this.#memory = bufferOf(MOST_COPIED);
      else if (await this.#splice()) return;
    }
  }

  /** Passes on what has arrived, or else arrives next, as far as it has room in memory. 0 at the end. */
  async #copy(): Promise<number> {
    const { descriptor } = this.#from;
    const memory = this.#memory;
    const count = await this.step(recvAt(descriptor, memory, addressOf(memory)));
    this.#from.received(count);
    if (count > 0) await this.#write(memory.subarray(0, count));
    return count;
  }

  #write(bytes: Bytes): Promise<number> {
    return this.send(writing(this.socket, bytes, MSG_WAITALL));
  }

  /** Through a pipe, as long as much arrives at a time. True at the end. */
  async #splice(): Promise<boolean> {
    const { addon } = reactor();
    const from = this.#from.descriptor;
    for (let last = PIECE; ; ) {
      this.check();
      this.#pipe ??= takePipe();
      const pipe = this.#pipe;
      if (pipe === null) return false;
      const held = addon.splice(from.fd, pipe.writeEnd, PIECE, 0, from.fd);
      if (held === 0) return true;
      if (held === EOPNOTSUPP || held === EINVAL) return false;
      if (held > 0) {
        last = held;
        this.#from.received(held);
        await this.#drain(pipe, held);
      } else if (held !== EAGAIN) throw socketError(held, 'read');
      else {
        this.end();
        if (last < BULK) return false;
        this.#inTurn = 0;
        await this.step(pollAdd(from, POLLIN | POLLRDHUP));
      }
    }
  }

  async #drain(pipe: Pipe, held: number): Promise<void> {
    const { addon } = reactor();
    pipe.clean = false;
    for (let left = held; left > 0; ) {
      this.check();
      const count = addon.splice(pipe.readEnd, this.socket.fd, left, 0, this.socket.fd);
      if (count > 0) {
        left -= count;
        this.took(count);
      } else if (count === EAGAIN) {
        this.#inTurn = 0;
        await this.step(pollAdd(this.socket, POLLOUT));
      } else throw socketError(count === 0 ? EIO : count, 'write');
    }
    pipe.clean = true;
    this.#inTurn += held;
    if (this.#inTurn < TURN) return;
    this.#inTurn = 0;
    await this.step(nopOp());
  }

  protected override end(): void {
    this.#pipe?.release();
    this.#pipe = null;
  }
}
awaitFast(Relay);

/** Memory that nobody else sees. */
const bufferOf = (size: number): Buffer => Buffer.allocUnsafeSlow(size);
