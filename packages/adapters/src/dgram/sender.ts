import {
  EAGAIN,
  EMSGSIZE,
  ENOMEM,
  IORING_OP_SEND,
  IORING_OP_SENDMSG,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
} from '@ouro/native/abi';
import { INLINE_AT, MOST_DATAGRAM, MOST_INLINE, placeToSend } from '@ouro/net/driver';
import {
  asBytes,
  type BatchEnd,
  type Bytes,
  type Completion,
  existingReactor,
  reactor,
  scratchOffset,
} from '@ouro/runtime/driver';
import { giveStage, type Stage, takeStage } from '../net/stage.ts';
import { rethrow } from '../net/ticks.ts';

/** Told how a send has ended: an errno below zero or 0, and the bytes of the datagram. */
export type Sent = (status: number, bytes: number) => void;

/**
 * How much of this thread may wait for the end of its turn: who sends without end in one turn has the rest sent by system calls, as
 * libuv does all, and does not fill the memory.
 */
const MOST_WAITING = 1024;
const MOST_BYTES_WAITING = 4 << 20;

let waiting = 0;
let bytesWaiting = 0;
let exiting = false;
let watching = false;

/** Hands what is queued to the kernel, which sends it then and there. */
export function sendQueued(): void {
  if (waiting > 0) existingReactor()?.flush();
}

/** What was sent before `process.exit` was called is sent, as with libuv, and so is what listeners of `exit` send. */
function watchExit(): void {
  watching = true;
  process.once('exit', () => {
    exiting = true;
    sendQueued();
  });
}

const EMPTY = new Uint8Array(0);

/** The bytes of a view; none where its memory has been taken away, between `send` and the end of the look-up say. */
function bytesOf(part: Bytes): Uint8Array {
  try {
    return asBytes(part);
  } catch {
    return EMPTY;
  }
}

/** Copies a datagram's bytes to where they are sent from. */
function gather(parts: readonly Uint8Array[], target: Buffer, at: number): void {
  let next = at;
  for (const bytes of parts) {
    target.set(bytes, next);
    next += bytes.length;
  }
}

/** A datagram on its way. */
class Sending implements Completion {
  readonly name = 'sendmsg';
  readonly resultIsFd = false;
  readonly refed = true;
  readonly length: number;
  readonly stage: Stage | null;
  readonly done: Sent | null;
  /** Where its sender has it. */
  index = -1;
  slot = -1;
  status = 0;
  readonly #sender: Sender;

  constructor(sender: Sender, length: number, stage: Stage | null, done: Sent | null) {
    this.#sender = sender;
    this.length = length;
    this.stage = stage;
    this.done = done;
  }

  complete(result: number): void {
    this.status = Math.min(result, 0);
    if (this.stage !== null) giveStage(this.stage);
    this.#sender.ended(this);
  }
}

/**
 * What is sent on one socket. A datagram is copied, at most 64 KiB, as nobody could tell from a send of libuv's that the kernel has
 * not had it yet; a short one lies beside its own header. All that one turn sends goes to the kernel together.
 */
export class Sender implements BatchEnd {
  readonly #fd: number;
  #flying: Sending[] = [];
  #finished: Sending[] = [];
  #bytes = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Bytes, and datagrams, that the kernel has not been seen to take. */
  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#flying.length;
  }

  /**
   * Sends a datagram.
   *
   * @param to a `struct sockaddr`; null on a connected socket
   * @returns as the binding of Node has it: bytes and 1 if it has been sent, 0 if `done` is to be told, an errno below zero
   */
  send(list: readonly Bytes[], to: Uint8Array | null, done: Sent | null): number {
    const parts = list.map(bytesOf);
    let length = 0;
    for (const part of parts) length += part.length;
    if (length > MOST_DATAGRAM) return EMSGSIZE;
    if (exiting || waiting >= MOST_WAITING || bytesWaiting + length > MOST_BYTES_WAITING) {
      const result = this.#sendNow(parts, length, to);
      if (result !== EAGAIN) return result;
    }
    return this.#queue(parts, length, to, done);
  }

  #queue(parts: readonly Uint8Array[], length: number, to: Uint8Array | null, done: Sent | null): number {
    const stage = length > MOST_INLINE ? takeStage(length) : null;
    const sending = new Sending(this, length, stage, done);
    try {
      sending.slot = this.#push(sending, parts, to);
    } catch (error) {
      // The kernel takes no more ops, or there is no memory for them.
      if (stage !== null) giveStage(stage);
      return (error as NodeJS.ErrnoException).errno ?? ENOMEM;
    }
    sending.index = this.#flying.push(sending) - 1;
    this.#bytes += length;
    waiting++;
    bytesWaiting += length;
    if (!watching) watchExit();
    return 0;
  }

  /** Puts a datagram into the queue, and answers the slot of its op. */
  #push(sending: Sending, parts: readonly Uint8Array[], to: Uint8Array | null): number {
    const { length, stage } = sending;
    const r = reactor();
    const slot = r.take(sending);
    let address: number;
    if (stage === null) {
      gather(parts, r.scratch(slot).bytes, scratchOffset(slot) + INLINE_AT);
      address = r.scratchAddress(slot) + INLINE_AT;
    } else {
      gather(parts, stage.bytes, stage.at);
      ({ address } = stage);
    }
    if (to === null) r.push(slot, IORING_OP_SEND, this.#fd, 0, address, length, MSG_NOSIGNAL, 0, 0);
    else {
      const message = placeToSend(slot, to, [address, length], 0);
      r.push(slot, IORING_OP_SENDMSG, this.#fd, 0, message, 1, MSG_NOSIGNAL, 0, 0);
    }
    return slot;
  }

  #sendNow(parts: readonly Uint8Array[], length: number, to: Uint8Array | null): number {
    sendQueued();
    const stage = takeStage(length);
    gather(parts, stage.bytes, stage.at);
    const bytes = stage.bytes.subarray(stage.at, stage.at + length);
    const flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    const { addon } = reactor();
    const sent = to === null ? addon.send(this.#fd, bytes, flags) : addon.send(this.#fd, bytes, flags, to);
    giveStage(stage);
    return sent < 0 ? sent : sent + 1;
  }

  /** @internal */
  ended(sending: Sending): void {
    waiting--;
    bytesWaiting -= sending.length;
    this.#bytes -= sending.length;
    const flying = this.#flying;
    const last = flying.pop() as Sending;
    if (last !== sending) {
      flying[sending.index] = last;
      last.index = sending.index;
    }
    if (sending.done === null) return;
    if (this.#finished.push(sending) === 1) reactor().afterBatch(this);
  }

  batchEnded(): void {
    const finished = this.#finished;
    this.#finished = [];
    for (const { done, status, length } of finished) {
      try {
        done?.(status, length);
      } catch (error) {
        rethrow(error);
      }
    }
  }

  /** Has what the kernel does not take at once dropped, as libuv does: whoever waits for it is told ECANCELED. */
  close(): void {
    const r = reactor();
    // Behind the sends in the queue: they have had their chance before this is looked at.
    for (const { slot } of this.#flying) r.cancel(slot);
  }
}
