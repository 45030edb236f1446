import { ECANCELED, IORING_OP_READ, IORING_OP_READ_FIXED, MAX_RW_COUNT } from '@ouro/native/abi';
import {
  bound,
  cancellation,
  closedError,
  type Descriptor,
  type Future,
  limitsOf,
  NOT_FIXED,
  type OpOptions,
  reactor,
  refusal,
  rejected,
  resolved,
  systemError,
} from '@ouro/runtime/driver';
import type { Alignment } from '../op/direct-align.ts';
import { CURRENT } from '../position.ts';
import { checkAlignedPieces, unalignedPosition } from './aligned.ts';
import type { Memory, MemorySource } from './chunk-memory.ts';
import { type Filled, Piece, settle, Waiter } from './piece.ts';

/** What is to be read, checked. */
export interface Stretch {
  /** First byte; `CURRENT` for where the file stands. */
  readonly start: number;
  /** The byte behind the last one; `Infinity` for all there is. */
  readonly end: number;
  /** Reads in flight at most. */
  readonly ahead: number;
  /** Of a file that is open for direct I/O. */
  readonly alignment?: Alignment | null;
}

/** Bytes that are asked for where the file is thought to end. */
const PROBE = 4096;

/**
 * A stretch of a file in pieces, in order. Of a regular file several reads are in flight, each at its position; of whatever
 * else (pipes, terminals, sockets, what is in /proc) one, and only while somebody waits for it, so that no byte is taken that
 * nobody gets. Nothing is read before the first `next`.
 *
 * Its end is final: what lies behind a failure, a cancellation or `stop` is for another one to read. Without a start the
 * file's current position moves on with each piece that is handed out, as if there were no reading ahead.
 */
export class ReadAhead {
  readonly #descriptor: Descriptor;
  readonly #source: MemorySource;
  readonly stretch: Stretch;
  readonly #options: OpOptions | undefined;
  /** In order: those that have been filled and nobody has taken, and those in flight. */
  readonly #pieces: Piece[] = [];
  #inFlight = 0;
  readonly #waiters: Waiter<unknown>[] = [];
  /** Whether reads have positions of their own, and the file's own follows what is handed out. */
  #positioned = false;
  #follows = false;
  /** Where the next read begins; without positions: bytes read so far. */
  #at = CURRENT;
  /** Bytes of the file, as far as known; -1 if they are not. */
  #size = -1;
  #begun = false;
  #attached = false;
  #over = false;
  /** Given up, waiting for what is in flight. Its error is told to the first who waits, if there is one. */
  #ending: { readonly error: Error | null } | null = null;
  /** An error that nobody has been told yet. */
  #untold: Error | null = null;
  readonly #stopped: (() => void)[] = [];

  /**
   * @param options those of the whole: `timeout` holds for each wait
   * @throws TypeError, RangeError for options that make no sense
   */
  constructor(descriptor: Descriptor, source: MemorySource, stretch: Stretch, options?: OpOptions) {
    this.#options = limitsOf(options);
    refusal(this.#options); // what has been cancelled already is told by `next`
    const { alignment, start, end } = stretch;
    if (alignment) checkAlignedPieces(alignment, source.most, start, end);
    this.#descriptor = descriptor;
    this.#source = source;
    this.stretch = stretch;
  }

  /**
   * What `take` makes of the next piece, whose memory is the taker's, to be kept or given back; or of null at the end.
   * What it throws is what the future rejects with.
   */
  next<T>(take: (filled: Filled | null) => T): Future<T> {
    if (!this.#over && this.#ending === null) this.#begin();
    const filled = this.#waiters.length === 0 ? this.#take() : undefined;
    if (filled === undefined && !this.#over) return this.#wait(take);
    const error = this.#untold;
    this.#untold = null;
    if (error !== null) return rejected(error);
    try {
      return resolved(take(filled ?? null));
    } catch (error) {
      return rejected(error);
    } finally {
      this.#fill(); // with memory that `take` may have given back
    }
  }

  #wait<T>(take: (filled: Filled | null) => T): Future<T> {
    const waiter = new Waiter(this, take);
    this.#waiters.push(waiter);
    this.#attach();
    bound(waiter, this.#options, this.#descriptor.refed);
    this.#fill();
    return waiter;
  }

  /** The next piece if it is there already. */
  ready(): Filled | undefined {
    const filled = this.#take();
    if (filled !== undefined) this.#fill();
    return filled;
  }

  /** Takes memory back that `next` or `ready` has given. */
  giveBack(memory: Memory): void {
    if (!this.#over || memory.lease !== null) this.#source.giveBack(memory);
  }

  #take(): Filled | undefined {
    const [head] = this.#pieces;
    if (head === undefined || !head.done || this.#ending !== null) return undefined;
    this.#pieces.shift();
    const { result, memory, position } = head;
    if (result <= 0) {
      this.giveBack(memory);
      if (result === 0 && this.#hasGrown(position)) return undefined;
      this.#end(result === 0 ? null : systemError(result, 'read'));
      return undefined;
    }
    if (this.#positioned) {
      const behind = position + result;
      // A file that ends here, or is being changed, or lies about its size: what was read further on does not follow.
      if (result < head.length) this.#goOnAt(this.#block === 1 ? behind : Number.POSITIVE_INFINITY);
      if (this.#follows && !this.#descriptor.closed) reactor().addon.seek(this.#descriptor.fd, behind);
    } else this.#at += result;
    return { memory, length: result };
  }

  /** What positions and lengths are multiples of. What is less than asked for is the end then: there is no reading on from it. */
  get #block(): number {
    return this.stretch.alignment?.offset ?? 1;
  }

  /** Whether the file has grown since a read, perhaps long ago, found its end here: then that is read on from. */
  #hasGrown(end: number): boolean {
    if (!this.#positioned || this.#size < 0 || this.#descriptor.closed) return false;
    const size = reactor().addon.sizeHint(this.#descriptor.fd);
    // (Some sizes in /sys are always more than there is.)
    if (size <= this.#size || size <= end) return false;
    this.#size = size;
    this.#goOnAt(end);
    return true;
  }

  #goOnAt(position: number): void {
    this.#dropAll();
    this.#at = position;
  }

  #dropAll(): void {
    for (const piece of this.#pieces.splice(0)) {
      if (piece.done) this.giveBack(piece.memory);
      else {
        piece.dropped = true;
        piece.giveUp();
      }
    }
  }

  #begin(): void {
    const { closed, fd } = this.#descriptor;
    const refused = closed ? closedError('read') : refusal(this.#options);
    if (refused !== undefined) {
      this.#end(refused);
      return;
    }
    if (this.#begun) return;
    this.#begun = true;
    const r = reactor();
    const { addon } = r;
    const { start } = this.stretch;
    if (!r.serves({ opcode: IORING_OP_READ, flags: 0 })) {
      this.#end(r.unsupported(IORING_OP_READ, 'read'));
      return;
    }
    const here = addon.seek(fd, CURRENT);
    this.#size = addon.sizeHint(fd);
    if (start !== CURRENT && here < 0) {
      this.#end(systemError(here, 'read'));
      return;
    }
    this.#follows = start === CURRENT && here >= 0 && this.#size > 0;
    this.#positioned = start !== CURRENT || this.#follows;
    this.#at = start === CURRENT ? Math.max(here, 0) : start;
    const { alignment } = this.stretch;
    if (alignment && this.#at % alignment.offset !== 0) this.#end(unalignedPosition(alignment, this.#at));
  }

  /** Queues reads, as many as may be in flight. */
  #fill(): void {
    try {
      while (this.#ending === null && !this.#over && this.#mayRead()) {
        const length = this.#lengthOfNext();
        const memory = this.#source.take(length);
        if (memory === null) {
          this.#source.whenFree(() => this.#fill());
          return;
        }
        this.#read(memory, Math.min(length, memory.bytes.length));
      }
    } catch (error) {
      // No memory, or the kernel takes no more ops.
      this.#end(error as Error);
    }
  }

  #mayRead(): boolean {
    if (this.#descriptor.closed) return false;
    const pieces = this.#pieces;
    if (this.#at >= this.stretch.end) {
      if (pieces.length === 0 && this.#inFlight === 0) this.#end(null);
      return false;
    }
    if (!this.#positioned) return this.#inFlight === 0 && this.#waiters.length > 0;
    const { ahead } = this.stretch;
    if (pieces.length >= ahead || this.#inFlight >= ahead) return false;
    // Where the file ends one read looks whether it does.
    return pieces.length === 0 || pieces[pieces.length - 1].position < this.#size;
  }

  #lengthOfNext(): number {
    const at = this.#at;
    const { most } = this.#source;
    const wanted = Math.min(most, this.stretch.end - at, MAX_RW_COUNT);
    if (!this.#positioned || this.#size < 0) return wanted;
    if (at >= this.#size) this.#size = Math.max(this.#size, reactor().addon.sizeHint(this.#descriptor.fd));
    const left = this.#size - at;
    const block = this.#block;
    return Math.min(wanted, left > 0 ? Math.ceil(left / block) * block : Math.max(PROBE, block));
  }

  #read(memory: Memory, length: number): void {
    const { fd, refed } = this.#descriptor;
    const at = this.#at;
    const { address, fixed } = memory;
    const piece = new Piece(this, memory, at, length, refed);
    const r = reactor();
    const slot = r.take(piece);
    const position = this.#positioned ? at : CURRENT;
    try {
      if (fixed === NOT_FIXED || !r.supports(IORING_OP_READ_FIXED))
        r.push(slot, IORING_OP_READ, fd, position, address, length, 0, 0, 0);
      else r.push(slot, IORING_OP_READ_FIXED, fd, position, address, length, 0, fixed, 0);
    } catch (error) {
      this.giveBack(memory);
      throw error;
    }
    piece.slot = slot;
    this.#inFlight++;
    this.#pieces.push(piece);
    if (this.#positioned) this.#at = at + length;
    this.#attach();
  }

  /** @internal A read has ended. */
  completed(piece: Piece): void {
    this.#inFlight--;
    if (piece.dropped) {
      this.giveBack(piece.memory);
      // Who waits may have been waiting for just that: for its place, or for the end, which is not told while something is in flight.
      if (this.#waiters.length > 0) this.#fill();
    } else if (piece === this.#pieces[0]) this.#deliver();
    if (this.#ending !== null && this.#inFlight === 0) this.#ended();
    this.#detach();
  }

  #deliver(): void {
    const waiters = this.#waiters;
    while (waiters.length > 0) {
      const filled = this.#take();
      if (filled === undefined) break;
      settle(waiters.shift(), filled);
    }
    if (waiters.length > 0) this.#fill();
  }

  /**
   * Gives everything up; settled when nothing is in flight. A read without a position that was quicker than its
   * cancellation is still handed out: those bytes are nowhere else.
   */
  #end(error: Error | null): void {
    if (this.#ending !== null || this.#over) return;
    const last = this.#positioned ? undefined : this.#pieces.find(({ done }) => !done);
    if (last !== undefined) last.giveUp();
    else this.#dropAll();
    this.#ending = { error };
    if (this.#inFlight === 0) this.#ended();
  }

  #ended(): void {
    if (this.#over) return;
    const error = this.#ending?.error ?? null;
    const waiters = this.#waiters.splice(0);
    const [last] = this.#pieces.splice(0);
    if (last !== undefined) {
      const { result, memory } = last;
      const waiter = result > 0 ? waiters.shift() : undefined;
      if (waiter === undefined) this.giveBack(memory);
      else settle(waiter, { memory, length: result });
    }
    this.#over = true;
    this.#source.close();
    if (error !== null) {
      const first = waiters.shift();
      if (first === undefined) this.#untold = error;
      else first.reject(error);
    }
    for (const waiter of waiters) settle(waiter, null);
    for (const then of this.#stopped.splice(0)) then();
    this.#detach();
  }

  /** Ends it: what is in flight is cancelled. Resolves when the kernel has let go. */
  async stop(): Promise<void> {
    this.#end(null);
    if (!this.#over) await new Promise<void>((stopped) => this.#stopped.push(stopped));
    this.#untold = null;
  }

  #attach(): void {
    if (this.#attached) return;
    this.#attached = true;
    this.#descriptor.attach(this);
  }

  #detach(): void {
    if (!this.#attached || this.#inFlight > 0 || this.#waiters.length > 0) return;
    this.#attached = false;
    this.#descriptor.detach(this);
  }

  /** Ends it with an `AbortError`, or with bytes that were quicker. */
  cancel(reason?: unknown): void {
    this.#end(cancellation(reason));
  }

  /** @internal The file is being closed. That must not look like its end. */
  close(): void {
    this.#end(systemError(ECANCELED, 'read'));
  }

  /** @internal */
  setRef(refed: boolean): void {
    for (const piece of this.#pieces) {
      piece.refed = refed;
      if (piece.slot >= 0) reactor().setRef(piece.slot, refed);
    }
  }
}
