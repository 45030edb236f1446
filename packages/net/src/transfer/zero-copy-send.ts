import {
  EIO,
  ENOBUFS,
  ENOMEM,
  EOPNOTSUPP,
  EPIPE,
  IORING_CQE_F_MORE,
  IORING_OP_SEND_ZC,
  IORING_RECVSEND_FIXED_BUF,
  MAX_RW_COUNT,
  MSG_NOSIGNAL,
  MSG_WAITALL,
} from '@ouro/native/abi';
import {
  asBytes,
  awaitFast,
  type Bytes,
  checkBytes,
  closedError,
  Deferred,
  type Future,
  NOT_FIXED,
  Op,
  Operation,
  type OpOptions,
  opKind,
  type Pinned,
  pinned,
  reactor,
  refusal,
  rejected,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import { writingRest } from '../op/send.ts';
import { Sending, type Way } from './sending.ts';

const SEND_ZC = opKind<number>('write', {
  error: (errno) => socketError(errno, 'write'),
  endsWithHandle: true,
});

/** What the kernel says where it cannot lend so much memory at the moment, or this socket nothing at all: it can copy. */
const NOT_NOW: ReadonlySet<number> = new Set([ENOBUFS, ENOMEM, EOPNOTSUPP]);

class SendZc extends Op<number> {
  constructor({ address, hold, fixed }: Pinned, from: number, length: number) {
    super(SEND_ZC, IORING_OP_SEND_ZC, 0, address + from, length, MSG_WAITALL | MSG_NOSIGNAL);
    if (fixed !== NOT_FIXED) {
      this.ioprio = IORING_RECVSEND_FIXED_BUF;
      this.buf = fixed;
    }
    this.hold = hold;
  }

  override place(slot: number): void {
    reactor().lends(slot);
  }
}

/** A zero-copy send has two ends: all is in the socket's queue, where what comes behind it may follow, and the memory is free again. */
class Lending extends Operation<number> {
  /** Resolves at the first of both to the bytes that were sent. Never rejects: the operation says what went wrong. */
  readonly queued: Deferred<number> = new Deferred();

  override complete(result: number, cqeFlags: number): void {
    super.complete(result, cqeFlags);
    this.queued.resolve((cqeFlags & IORING_CQE_F_MORE) !== 0 ? result : -1);
  }

  override abandon(error: unknown): void {
    super.abandon(error);
    this.queued.resolve(-1);
  }
}
awaitFast(Lending);

/** A write that lends its memory to the network instead of having it copied. */
export class ZeroCopySend extends Sending {
  readonly #memory: Pinned;
  /** Sends whose memory the kernel still has. */
  readonly #lent: Promise<unknown>[] = [];

  constructor(way: Way, memory: Pinned) {
    super(way);
    this.#memory = memory;
  }

  override get length(): number {
    return this.#memory.length;
  }

  protected override async work(): Promise<void> {
    const { length } = this;
    if (!reactor().supports(IORING_OP_SEND_ZC)) return await this.#copy();
    while (this.moved < length) {
      const rest = Math.min(length - this.moved, MAX_RW_COUNT);
      const lending = new Lending(new SendZc(this.#memory, this.moved, rest).on(this.socket));
      const settled = this.perform(lending);
      const queued = await lending.queued;
      if (queued > 0) {
        this.took(queued);
        this.#lent.push(settled);
        continue;
      }
      try {
        const sent = await settled;
        if (sent === 0) throw socketError(EIO, 'write');
        this.took(sent);
      } catch (error) {
        if (!NOT_NOW.has((error as { errno?: number }).errno ?? 0)) throw error;
        await this.#copy();
      }
    }
  }

  async #copy(): Promise<void> {
    if (this.moved < this.#memory.length) {
      await this.send(writingRest(this.socket, this.#memory, this.moved, MSG_WAITALL));
    }
  }

  protected override afterwards(): Promise<unknown> | null {
    return this.#lent.length === 0 ? null : Promise.allSettled(this.#lent);
  }
}
awaitFast(ZeroCopySend);

/** Begins to write all of `data` without copying, in its turn among the sends of a socket. */
export function writeZeroCopy(way: Way, data: Bytes | string, options: OpOptions): Future<number> {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  checkBytes('data', bytes);
  asBytes(bytes); // throws if detached
  const { signal, scope, timeout } = options;
  const limits = { signal, scope, timeout };
  const refused = refusal(limits);
  if (refused !== undefined) return rejected(refused);
  if (way.descriptor.closed) return rejected(closedError('write'));
  if (way.sends.ended) return rejected(socketError(EPIPE, 'write'));
  return new ZeroCopySend(way, pinned(bytes)).join(limits);
}
