import {
  EAGAIN,
  ECANCELED,
  IORING_OP_SEND,
  IORING_OP_SENDMSG,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_WAITALL,
  SHUT_WR,
} from '@ouro/native/abi';
import { type BatchEnd, type Completion, lengthOf, lent, reactor, scratchOffset } from '@ouro/runtime/driver';
import { flushLater, forgetFlush } from './flush.ts';
import { sendNow } from './send-now.ts';
import { giveStage, MOST_STAGED, type Stage, takeStage, widen } from './stage.ts';
import { callBack, othersWait, rethrow } from './ticks.ts';

/** `struct msghdr` lies at the beginning of a slot's scratch, its iovecs behind it. */
const MSGHDR_IOV = 16;
const IOVECS_AT = 64;
const MOST_IOVECS = 24;
const TWO_32 = 4_294_967_296;

/** A write that somebody waits for, or a stage. */
interface Segment {
  address: number;
  length: number;
  readonly hold: unknown;
  readonly stage: Stage | null;
  /** The bytes as they have been given, which others may take away; null of a stage. */
  readonly bytes: Uint8Array | null;
  /** How many of them have been sent already. */
  sent: number;
  /** Called when all of it, and all before it, has been sent; or with the error. */
  done: ((errno: number) => void) | null;
}

/** In the queue only so that somebody is called in turn. */
const NOTHING: Segment = { address: 0, length: 0, hold: null, stage: null, bytes: null, sent: 0, done: null };
const EMPTY = new Uint8Array(0);

/** What `queue` answers while some of it is still to be sent. */
export const LATER = 1;

/** The bytes of a segment; none where somebody has taken them away meanwhile. */
function bytesOf({ address, length, stage, bytes, sent }: Segment): Uint8Array {
  if (stage !== null) {
    const at = stage.at + (address - stage.address);
    return stage.bytes.subarray(at, at + length);
  }
  if (bytes === null || lengthOf(bytes) < sent + length) return EMPTY;
  return new Uint8Array(bytes.buffer, bytes.byteOffset + sent, length);
}

/** Who is told of what has nobody who waits for it. */
export interface WriteListener {
  /** Bytes that had been taken as written could not be sent. */
  writeFailed(errno: number): void;
}

/**
 * What is sent on one descriptor. Small writes are copied to a stage and are done for whoever wrote them; all stages that one turn
 * has filled become sends together, at its end. Of what is more than a stage holds the kernel gets at once what it takes without
 * waiting, as with libuv: a process or a socket that ends a moment later has sent that. The rest is sent from where it lies, and is
 * done when the kernel has it: that is the back-pressure. One send is in the kernel at a time.
 */
export class Writer implements Completion, BatchEnd {
  readonly resultIsFd = false;
  readonly refed = true;
  readonly #fd: number;
  readonly #listener: WriteListener;
  #stage: Stage | null = null;
  #segments: Segment[] = [];
  /** How many of them are in the send in flight. */
  #flying = 0;
  #slot = -1;
  #unsent = 0;
  #error = 0;
  #failedUnheard = false;
  #finished: (() => void)[] = [];
  #shutdown: ((errno: number) => void) | null = null;
  #closed: (() => void) | null = null;
  #awaiting = false;
  /** Whether it is in the list of those that are to be flushed. */
  dirty = false;

  constructor(fd: number, listener: WriteListener) {
    this.#fd = fd;
    this.#listener = listener;
  }

  /** Bytes that the kernel has not taken. */
  get unsent(): number {
    return this.#unsent;
  }

  /** The errno that has ended writing, below zero; 0 while there is none. */
  get error(): number {
    return this.#error;
  }

  /** Whether `length` bytes may be taken as written before they are. */
  stages(length: number): boolean {
    return this.#unsent + length <= MOST_STAGED;
  }

  /** Room for `length` bytes, to be filled at once and then told to `staged`. Ask `stages` first. */
  room(length: number): Stage {
    let stage = this.#stage;
    if (stage === null) stage = takeStage(length);
    else if (stage.used + length > stage.size) stage = widen(stage, length);
    this.#stage = stage;
    return stage;
  }

  /** Notes that `length` bytes have been put behind what the stage held. */
  staged(stage: Stage, length: number): void {
    stage.used += length;
    this.#unsent += length;
    if (!this.dirty) flushLater(this);
  }

  /**
   * Sends bytes that lie elsewhere.
   *
   * @returns 0 when all have been sent; `LATER` when `done` will be called once they have; or the errno that has ended writing
   */
  queue(pieces: readonly Uint8Array[], done: (errno: number) => void): number {
    let sent = this.#slot < 0 && this.#segments.length === 0 ? this.#sendAtOnce(pieces) : 0;
    if (sent < 0) {
      // Whoever writes this is told.
      this.#refused(sent);
      return sent;
    }
    this.#closeStage();
    const segments = this.#segments;
    const before = segments.length;
    for (const bytes of pieces) {
      const size = lengthOf(bytes);
      // Nothing is to be sent of what is empty, detached memory among it.
      if (sent >= size) {
        sent -= size;
        continue;
      }
      const { address, hold } = lent(bytes);
      const length = size - sent;
      segments.push({ address: address + sent, length, hold, stage: null, bytes, sent, done: null });
      this.#unsent += length;
      sent = 0;
    }
    if (segments.length === 0) return 0;
    if (segments.length === before) segments.push({ ...NOTHING });
    segments[segments.length - 1].done = done;
    if (!this.dirty) flushLater(this);
    return LATER;
  }

  /** Sends the stage and then bytes that lie elsewhere, and returns how many of those the kernel has taken, or an errno. */
  #sendAtOnce(pieces: readonly Uint8Array[]): number {
    const stage = this.#stage;
    const sent = sendNow(this.#fd, stage === null ? pieces : [stage.filled, ...pieces]);
    if (stage === null || sent <= 0) return sent;
    const ofStage = Math.min(sent, stage.used);
    this.#closeStage();
    this.#flying = 1;
    this.#sent(ofStage);
    this.#flying = 0;
    return sent - ofStage;
  }

  /**
   * Sends the stage at once, as far as the kernel takes it, unless something else comes first.
   *
   * @returns 0, or the errno that has ended writing. Whoever is to know must be told of it: the kernel says once why a connection has
   * ended, and neither an op nor the receive would hear it again
   */
  #sendStage(): number {
    if (this.#stage === null || this.#segments.length > 0) return 0;
    const sent = this.#sendAtOnce([]);
    if (sent >= 0) return 0;
    this.#refused(sent);
    return sent;
  }

  /** Nothing can be sent any more; what had been taken as written goes with it. */
  #refused(errno: number): void {
    if (this.#stage !== null) giveStage(this.#stage);
    this.#stage = null;
    this.#unsent = 0;
    this.#error = errno;
  }

  #closeStage(): void {
    const stage = this.#stage;
    if (stage === null) return;
    this.#stage = null;
    const { address, used } = stage;
    this.#segments.push({ address, length: used, hold: null, stage, bytes: null, sent: 0, done: null });
  }

  /**
   * Hands what there is to the kernel, unless a send is in flight.
   *
   * @param alone whether nobody else has something in this turn: one system call then costs less than an op and its completion
   */
  flush(alone = false): void {
    if (this.#slot >= 0) return;
    const refused = alone && this.#closed === null ? this.#sendStage() : 0;
    if (refused < 0) {
      this.#listener.writeFailed(refused);
      return;
    }
    this.#closeStage();
    const segments = this.#segments;
    if (segments.length === 0) {
      // Closing ends the stream as well, and nobody is left who waits for more than that.
      if (this.#closed !== null) this.#finish();
      else if (this.#shutdown !== null) this.#shutDownNow(this.#shutdown);
      return;
    }
    const r = reactor();
    const slot = r.take(this);
    const flags = MSG_NOSIGNAL | (this.#closed === null ? MSG_WAITALL : MSG_DONTWAIT);
    if (segments.length === 1) {
      const { address, length } = segments[0];
      this.#flying = 1;
      this.#slot = slot;
      r.push(slot, IORING_OP_SEND, this.#fd, 0, address, length, flags, 0, 0);
      return;
    }
    const count = Math.min(segments.length, MOST_IOVECS);
    const { bytes, words } = r.scratch(slot);
    const at = scratchOffset(slot);
    const base = r.scratchAddress(slot);
    bytes.fill(0, at, at + IOVECS_AT);
    put(words, (at + MSGHDR_IOV) >> 2, base + IOVECS_AT);
    put(words, ((at + MSGHDR_IOV) >> 2) + 2, count);
    for (let i = 0, word = (at + IOVECS_AT) >> 2; i < count; i++, word += 4) {
      put(words, word, segments[i].address);
      put(words, word + 2, segments[i].length);
    }
    this.#flying = count;
    this.#slot = slot;
    r.push(slot, IORING_OP_SENDMSG, this.#fd, 0, base, 1, flags, 0, 0);
  }

  complete(result: number): void {
    this.#slot = -1;
    if (result < 0) {
      // Whatever could not be sent at once when the socket was closed is dropped, as libuv does.
      this.#fail(this.#closed !== null && result === EAGAIN ? ECANCELED : result);
    } else {
      this.#sent(result);
      if (this.#closed !== null && this.#segments.length > 0 && this.#flying > 0) this.#fail(ECANCELED);
    }
    if (this.#segments.length > 0 || this.#stage !== null || this.#shutdown !== null || this.#closed !== null)
      this.flush();
  }

  #sent(count: number): void {
    this.#unsent -= count;
    const segments = this.#segments;
    let left = count;
    let whole = 0;
    while (whole < this.#flying && segments[whole].length <= left) {
      const segment = segments[whole];
      left -= segment.length;
      whole++;
      if (segment.stage !== null) giveStage(segment.stage);
      if (segment.done !== null) this.#tell(segment.done, 0);
    }
    // (One is the usual case, and shortening an array a call into the runtime.)
    if (whole === 1 && segments.length === 1) segments.pop();
    else if (whole === segments.length) segments.length = 0;
    else segments.splice(0, whole);
    this.#flying -= whole;
    if (left > 0) {
      segments[0].address += left;
      segments[0].length -= left;
      segments[0].sent += left;
    }
  }

  #tell(done: (errno: number) => void, errno: number): void {
    this.#finished.push(() => done(errno));
    this.#awaitEnd();
  }

  #awaitEnd(): void {
    if (this.#awaiting) return;
    this.#awaiting = true;
    reactor().afterBatch(this);
  }

  #fail(errno: number): void {
    this.#closeStage();
    if (this.#error === 0) this.#error = errno;
    this.#unsent = 0;
    let heard = false;
    for (const { stage, done } of this.#segments.splice(0)) {
      if (stage !== null) giveStage(stage);
      if (done === null) continue;
      heard = true;
      this.#tell(done, errno);
    }
    this.#flying = 0;
    if (heard || this.#closed !== null) return;
    this.#failedUnheard = true;
    this.#awaitEnd();
  }

  batchEnded(): void {
    this.#awaiting = false;
    for (const each of this.#finished.splice(0)) {
      if (this.#error !== 0 || this.#closed !== null || othersWait()) {
        callBack(each);
        continue;
      }
      // The usual case, which must not cost a visit to libuv for each large write.
      try {
        each();
      } catch (error) {
        rethrow(error);
      }
    }
    if (!this.#failedUnheard) return;
    this.#failedUnheard = false;
    if (this.#closed !== null) return;
    callBack(() => {
      if (this.#closed === null) this.#listener.writeFailed(this.#error);
    });
  }

  /** Ends the stream behind all that has been written. */
  shutdown(done: (errno: number) => void): void {
    this.#shutdown = done;
    if (this.#slot >= 0) return;
    // What fits the socket's buffer, so that the end goes out right behind it.
    const refused = this.#sendStage();
    if (refused === 0) {
      this.flush();
      return;
    }
    this.#shutdown = null;
    process.nextTick(() => {
      if (this.#closed === null) this.#listener.writeFailed(refused);
      done(refused);
    });
  }

  // With a system call, because nothing is queued before it: the ring's op wakes a thread of the kernel for it.
  #shutDownNow(done: (errno: number) => void): void {
    this.#shutdown = null;
    const errno = reactor().addon.shutdown(this.#fd, SHUT_WR);
    callBack(() => done(errno));
  }

  /**
   * Sends what the kernel takes without waiting, drops the rest, and calls `then` when no send is in flight. Whoever waits is told
   * ECANCELED.
   */
  close(then: () => void): void {
    this.#closed = then;
    if (this.dirty) forgetFlush(this);
    if (this.#slot >= 0) {
      // Behind the send in the queue: it has had its chance before this is looked at.
      reactor().cancel(this.#slot);
      return;
    }
    this.flush();
  }

  #finish(): void {
    const then = this.#closed;
    if (then === null) return;
    if (this.#shutdown !== null) this.#tell(this.#shutdown, ECANCELED);
    this.#shutdown = null;
    then();
  }

  /** At the end of the process: sends without the ring what still waits for its turn, as far as the kernel takes it at once. */
  flushNow(): void {
    if (this.#slot >= 0) return;
    this.#closeStage();
    const pieces: Uint8Array[] = [];
    for (const segment of this.#segments.splice(0)) {
      const bytes = bytesOf(segment);
      if (bytes.length < segment.length) break;
      pieces.push(bytes);
    }
    sendNow(this.#fd, pieces);
  }
}

/** Writes a 64-bit number as two words. */
function put(words: Uint32Array, at: number, value: number): void {
  words[at] = value;
  words[at + 1] = value / TWO_32;
}
