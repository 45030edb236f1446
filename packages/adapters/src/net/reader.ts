import {
  ECANCELED,
  ENOBUFS,
  IORING_CQE_F_MORE,
  IORING_OP_RECV,
  IORING_RECV_MULTISHOT,
  IOSQE_BUFFER_SELECT,
} from '@ouro/native/abi';
import {
  allocateRecycled,
  type BatchEnd,
  BufferRing,
  type Completion,
  reactor,
  receiveBuffers,
} from '@ouro/runtime/driver';
import { callBack, othersWait, rethrow } from './ticks.ts';

const HEAD = IORING_OP_RECV | (IOSQE_BUFFER_SELECT << 8) | (IORING_RECV_MULTISHOT << 16);
/** Bytes that wait for a socket that does not read before no more are taken from the kernel. */
const HIGH_WATER = 131_072;
/** The most that is delivered at a time, as in libuv. */
const MOST_CHUNK = 65_536;
/** What one turn brings of a socket that is better received straight into the memory that it is handed on in. */
const MUCH = 32_768;
/** A receive of less than that is copied out of such memory, and so many in a row end it. */
const LITTLE = 16_384;
const LITTLE_ONES = 8;
/** Bytes of one receive where the kernel gives no provided buffers. */
const OWN_BYTES = 65_536;

/** Who gets what arrives. */
export interface ReadListener {
  /** Bytes in memory that is lent until this returns. May throw what the program throws. */
  data(source: Uint8Array, at: number, length: number): void;
  /** The same of bytes in memory of their own, which are the listener's from here on. */
  owned(bytes: Buffer): void;
  /** 0 is the end of the stream, an errno below zero an error. */
  ended(errno: number): void;
}

/**
 * What arrives on one descriptor: a multishot receive into the thread's provided buffers, whose bytes are handed over once for each
 * turn. While the socket does not read a little is kept; then the receive is given up, so that TCP's flow control sees it.
 */
export class Reader implements Completion, BatchEnd {
  readonly resultIsFd = false;
  readonly #fd: number;
  readonly #listener: ReadListener;
  readonly #buffers: BufferRing | null = receiveBuffers();
  #own: Buffer | null = null;
  #pieceAt = 0;
  #pieceLength = 0;
  #pieceBuffer = -1;
  #morePieces: number[] | null = null;
  #gathered = 0;
  #kept: Buffer[] | null = null;
  #keptBytes = 0;
  #inBatch = false;
  /** Whether what has been kept is about to be delivered. */
  #waiting = false;
  #slot = -1;
  #stopping = false;
  #wanted = false;
  #ref = true;
  #ended = false;
  /** Whether the end has not been told yet. */
  #endPending = false;
  #endErrno = 0;
  #closed: (() => void) | null = null;
  #held = false;
  /** Whether much comes at a time: then each receive has memory of its own, and nothing is copied. */
  #large = false;
  #littleOnes = 0;
  #becomesLarge = false;
  /** Where the receive in flight puts what comes, if that is so. */
  #target: Buffer | null = null;
  /** What it has brought. */
  #direct: Buffer | null = null;
  #stopped: (() => void) | null = null;

  constructor(fd: number, listener: ReadListener) {
    this.#fd = fd;
    this.#listener = listener;
  }

  get refed(): boolean {
    return this.#ref && this.#wanted;
  }

  start(): void {
    if (this.#closed !== null) return;
    this.#wanted = true;
    if (this.#keptBytes > 0 || this.#endPending) this.#later();
    else this.#arm();
    this.#updateRef();
  }

  stop(): void {
    this.#wanted = false;
    this.#updateRef();
  }

  setRef(refed: boolean): void {
    this.#ref = refed;
    this.#updateRef();
  }

  #updateRef(): void {
    if (this.#slot >= 0) reactor().setRef(this.#slot, this.refed);
  }

  /** Delivers what has been kept, and then the end, when those before us have been called back. */
  #later(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    callBack(() => {
      this.#waiting = false;
      const had = this.#keptBytes > 0;
      try {
        this.#deliverKept();
      } finally {
        // What the program has put off until the next tick (the answer to a request, say) comes before the end.
        if (had && this.#keptBytes === 0 && this.#endPending) this.#later();
        else this.#goOn();
      }
    });
  }

  #goOn(): void {
    if (this.#closed !== null || !this.#wanted) return;
    if (this.#keptBytes > 0) this.#later();
    else if (this.#endPending) {
      this.#endPending = false;
      this.#listener.ended(this.#endErrno);
    } else this.#arm();
  }

  #arm(): void {
    if (this.#slot >= 0 || this.#ended || this.#held || this.#closed !== null) return;
    const r = reactor();
    const slot = r.take(this);
    const buffers = this.#buffers;
    if (this.#large) {
      this.#target ??= allocateRecycled(OWN_BYTES);
      r.push(slot, IORING_OP_RECV, this.#fd, 0, r.addon.addressOf(this.#target), OWN_BYTES, 0, 0, 0);
    } else if (buffers !== null) r.push(slot, HEAD, this.#fd, 0, 0, 0, 0, buffers.group, 0);
    else {
      this.#own ??= Buffer.allocUnsafeSlow(OWN_BYTES);
      r.push(slot, IORING_OP_RECV, this.#fd, 0, r.addon.addressOf(this.#own), OWN_BYTES, 0, 0, 0);
    }
    this.#slot = slot;
    this.#stopping = false;
  }

  complete(result: number, flags: number): void {
    const more = (flags & IORING_CQE_F_MORE) !== 0;
    const slot = this.#slot;
    const large = this.#large;
    if (!more) {
      this.#slot = -1;
      if (this.#becomesLarge) {
        this.#becomesLarge = false;
        this.#large = true;
      }
    }
    const buffers = this.#buffers;
    if (result > 0) {
      if (large && this.#target !== null) this.#filled(this.#target, result);
      else if (buffers === null) this.#arrived(0, result, -1);
      else this.#arrived(buffers.take(flags, result), result, BufferRing.bufferOf(flags));
    } else if (result === 0) this.#end(0);
    else if (result === ENOBUFS && buffers !== null) buffers.starve();
    else if (!(result === ECANCELED && this.#stopping)) this.#end(result);
    if (more) {
      if (!this.#wanted && this.#keptBytes + this.#gathered >= HIGH_WATER) this.#cancel(slot);
      return;
    }
    if (this.#closed !== null) this.#finish(this.#closed);
    else this.#awaitEnd();
  }

  /** The receive in flight makes way for one into memory of its own. */
  #receiveLarge(): void {
    if (this.#large || this.#slot < 0) return;
    this.#cancel(this.#slot);
    this.#becomesLarge = true;
  }

  /** Takes what has come into memory of its own. */
  #filled(target: Buffer, length: number): void {
    if (this.#closed !== null) return;
    if (length >= LITTLE) {
      this.#direct = target.subarray(0, length);
      this.#target = null;
      this.#littleOnes = 0;
    } else {
      this.#direct = Buffer.allocUnsafeSlow(length);
      target.copy(this.#direct, 0, 0, length);
      if (++this.#littleOnes === LITTLE_ONES) {
        this.#large = false;
        this.#target = null;
        this.#littleOnes = 0;
      }
    }
    this.#awaitEnd();
  }

  /** What a receive into memory of its own has brought goes behind what has been kept. */
  #keepDirect(): void {
    const bytes = this.#direct;
    if (bytes === null) return;
    this.#direct = null;
    this.#kept ??= [];
    this.#kept.push(bytes);
    this.#keptBytes += bytes.length;
  }

  #arrived(at: number, length: number, buffer: number): void {
    if (this.#closed !== null) {
      if (buffer >= 0) this.#buffers?.release(buffer);
      return;
    }
    if (this.#gathered === 0) {
      this.#pieceAt = at;
      this.#pieceLength = length;
      this.#pieceBuffer = buffer;
    } else {
      this.#morePieces ??= [];
      this.#morePieces.push(at, length, buffer);
    }
    this.#gathered += length;
    this.#awaitEnd();
  }

  #end(errno: number): void {
    if (this.#ended || this.#closed !== null) return;
    this.#ended = true;
    this.#endPending = true;
    this.#endErrno = errno;
    this.#awaitEnd();
  }

  #awaitEnd(): void {
    if (this.#inBatch) return;
    this.#inBatch = true;
    reactor().afterBatch(this);
  }

  batchEnded(): void {
    this.#inBatch = false;
    if (this.#closed !== null) return;
    if (!this.#wanted || this.#keptBytes > 0 || this.#waiting || othersWait()) {
      this.#keepDirect();
      if (this.#gathered > 0) this.#keep();
      if (this.#slot < 0 && this.#stopped !== null) this.#stopped();
      if (this.#wanted) this.#later();
      return;
    }
    try {
      if (this.#direct !== null) {
        const bytes = this.#direct;
        this.#direct = null;
        this.#listener.owned(bytes);
      } else if (this.#gathered > 0) {
        if (this.#gathered >= MUCH && this.#buffers !== null) this.#receiveLarge();
        this.#deliverGathered();
      }
    } catch (error) {
      rethrow(error);
    }
    if (this.#closed !== null || !this.#wanted) return;
    if (this.#keptBytes > 0 || this.#endPending) this.#later();
    else this.#arm();
  }

  #source(): Uint8Array {
    return this.#buffers?.bytes ?? (this.#own as Buffer);
  }

  #deliverGathered(): void {
    if (this.#morePieces === null && this.#gathered <= MOST_CHUNK) {
      const buffer = this.#pieceBuffer;
      const length = this.#gathered;
      this.#gathered = 0;
      try {
        this.#listener.data(this.#source(), this.#pieceAt, length);
      } finally {
        if (buffer >= 0) this.#buffers?.release(buffer);
      }
      return;
    }
    this.#keep();
    this.#deliverKept();
  }

  /** Copies what the batch has brought, so that the buffers can go back. */
  #keep(): void {
    const pieces = [this.#pieceAt, this.#pieceLength, this.#pieceBuffer, ...(this.#morePieces ?? [])];
    this.#morePieces = null;
    const source = this.#source();
    this.#kept ??= [];
    let left = this.#gathered;
    this.#keptBytes += left;
    this.#gathered = 0;
    let chunk = allocateRecycled(Math.min(left, MOST_CHUNK));
    let filled = 0;
    for (let i = 0; i < pieces.length; i += 3) {
      let at = pieces[i];
      let length = pieces[i + 1];
      while (length > 0) {
        if (filled === chunk.length) {
          this.#kept.push(chunk);
          left -= filled;
          chunk = allocateRecycled(Math.min(left, MOST_CHUNK));
          filled = 0;
        }
        const part = Math.min(length, chunk.length - filled);
        chunk.set(source.subarray(at, at + part), filled);
        filled += part;
        at += part;
        length -= part;
      }
      if (pieces[i + 2] >= 0) this.#buffers?.release(pieces[i + 2]);
    }
    this.#kept.push(chunk);
  }

  #deliverKept(): void {
    const kept = this.#kept;
    while (kept !== null && kept.length > 0 && this.#wanted && this.#closed === null) {
      const chunk = kept.shift() as Buffer;
      this.#keptBytes -= chunk.length;
      this.#listener.owned(chunk);
    }
  }

  /** Puts bytes in front of what has been kept: a listener with a buffer of its own could not take them. */
  putBack(bytes: Buffer): void {
    this.#kept ??= [];
    this.#kept.unshift(bytes);
    this.#keptBytes += bytes.length;
  }

  #cancel(slot: number): void {
    if (this.#stopping) return;
    this.#stopping = true;
    reactor().cancel(slot);
  }

  /** Does not begin before `release`: somebody else takes what is there. */
  hold(): void {
    this.#held = true;
  }

  /** Begins, with what somebody else had got already; `ended` says that the end, or an errno, is behind that. */
  release(chunks: readonly Buffer[], ended: boolean, errno: number): void {
    this.#held = false;
    for (const chunk of chunks) {
      if (chunk.length === 0) continue;
      this.#kept ??= [];
      this.#kept.push(chunk);
      this.#keptBytes += chunk.length;
    }
    if (ended) {
      this.#ended = this.#endPending = true;
      this.#endErrno = errno;
    }
    if (this.#wanted) this.start();
  }

  /** Gives up, and hands over what has been kept, as soon as the kernel has let go. */
  takeKept(): Promise<Buffer[]> {
    this.stop();
    const taken = (): Buffer[] => {
      const kept = this.#kept ?? [];
      this.#kept = null;
      this.#keptBytes = 0;
      return kept;
    };
    if (this.#slot < 0) return Promise.resolve(taken());
    this.#cancel(this.#slot);
    return new Promise((resolve) => {
      this.#stopped = () => resolve(taken());
    });
  }

  /** Takes no more for now. */
  giveUp(): void {
    this.stop();
    if (this.#slot >= 0) this.#cancel(this.#slot);
  }

  /** Takes no more, and drops what has been kept. `then` is called when the kernel has let go. */
  close(then: () => void): void {
    this.#wanted = false;
    this.#closed = then;
    if (this.#gathered > 0 && this.#pieceBuffer >= 0) {
      this.#buffers?.release(this.#pieceBuffer);
      const more = this.#morePieces ?? [];
      for (let i = 2; i < more.length; i += 3) this.#buffers?.release(more[i]);
    }
    this.#gathered = 0;
    this.#morePieces = null;
    this.#kept = this.#direct = null;
    this.#keptBytes = 0;
    if (this.#slot < 0) this.#finish(then);
    else {
      reactor().setRef(this.#slot, true);
      this.#cancel(this.#slot);
    }
  }

  #finish(then: () => void): void {
    then();
  }
}
