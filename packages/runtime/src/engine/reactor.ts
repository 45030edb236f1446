import type { Addon, RingDescription, UringUnavailableError } from '@ouro/native';
import {
  IO_URING_OP_SUPPORTED,
  IORING_ASYNC_CANCEL_ALL,
  IORING_ASYNC_CANCEL_ANY,
  IORING_ASYNC_CANCEL_FD,
  IORING_ASYNC_CANCEL_OP,
  IORING_CQE_F_MORE,
  IORING_OP_ASYNC_CANCEL,
  IORING_OP_CLOSE,
  IORING_OP_LINK_TIMEOUT,
  IORING_OP_POLL_REMOVE,
  IORING_OP_TIMEOUT_REMOVE,
  IOSQE_BUFFER_SELECT,
  IOSQE_FIXED_FILE,
  OPCODE_NAMES,
  OURO_OP_FIRST,
  OURO_OPCODE_NAMES,
} from '@ouro/native/abi';
import {
  ARMED,
  BATCH_CAPACITY,
  BATCH_OFFSET,
  BATCH_POSITION,
  CLOSES_FD,
  CLOSING,
  COMPLETION_WORDS,
  FD_HIGH,
  LENDS_MEMORY,
  LINKED_CLOSES,
  LINKED_CLOSES_OFFSET,
  REFS,
  SLOT_IGNORED,
  SQ_HEAD,
  SQ_TAIL,
  SQE_WORDS,
} from '@ouro/native/layout';
import { systemError, unsupportedError } from '../base/errors.ts';
import type { RingConfig } from '../base/options.ts';
import { withoutOpcodes } from '../base/without.ts';
import { activeResources } from './active-resources.ts';
import { Beside } from './beside.ts';
import { OpCounts } from './counts.ts';
import { type Fallback, fallbackOf, limitWorkers, openEngine } from './engine.ts';
import { type Observer, Observers } from './observer.ts';
import {
  type Completion,
  type ScratchChunk,
  Slots,
  scratchOffset,
  TIMEOUT_AT,
  WIDE_OPERANDS,
} from './slots.ts';
import { placeTimespec } from './timespec.ts';
import { Tracer } from './tracer.ts';

/** Somebody who gathers what one batch brings. */
export interface BatchEnd {
  /** Called once when the batch is over. */
  batchEnded(): void;
}

/** Flags of cancels that name no single op. */
const CANCELS_MANY = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_OP | IORING_ASYNC_CANCEL_ANY;
const TWO_32 = 4_294_967_296;
/** Flags of ops that refer to what is registered with the ring. */
const REGISTERED = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;

/**
 * The heart: writes SQEs straight into the kernel's queue and hands each completion to whoever waits for it. One
 * for each thread. Nothing here calls into native code for an op: the loop hook submits what lies in the queue
 * when Node would sleep, and enters `#dispatch` once for each batch of completions.
 */
export class Reactor {
  readonly addon: Addon;
  readonly ring: RingDescription;
  /** What keeps io_uring from this thread; null where it is there, or was not wanted. */
  readonly denial: UringUnavailableError | null;
  /** Why another engine than the ring runs; null where the ring does. */
  readonly fallback: Fallback | null;
  readonly config: RingConfig;
  readonly slots: Slots;
  /** CQEs whose slot had moved on: messages to an `Inbox` that was closed. Else 0: a slot lives until its last CQE. */
  stale = 0;
  readonly counts: OpCounts = new OpCounts();
  readonly words: Uint32Array;
  readonly counters: Float64Array;
  readonly #sqes: Uint32Array;
  readonly #batch: Int32Array;
  readonly #fds: Uint8Array;
  readonly #linkedCloses: Uint32Array;
  /** The slot of a close that may not be run, between `mayClose` and `push`. */
  #mayClose = -1;
  // Never shortened: setting an array's length costs a call into the runtime, and growing it again an allocation.
  readonly #gathering: (BatchEnd | null)[] = [];
  #gatherers = 0;
  // Null unless somebody traces or measures: looking is all that an op pays for those who do not.
  #observer: Observer | null = null;
  readonly tracer: Tracer = new Tracer();
  readonly #sqEntries: number;
  readonly #sqMask: number;
  readonly #supported: Uint8Array;
  readonly #without: ReadonlySet<number>;
  #beside: Beside | null = null;
  /** Why it could not be put there. */
  #besideErrno = 0;

  constructor(native: Addon, config: RingConfig) {
    const without = withoutOpcodes();
    this.#without = without;
    this.addon = native;
    this.config = config;
    const [ring, denial] = openEngine(native, config, (count) => this.#dispatch(count));
    this.ring = ring;
    this.denial = denial;
    this.fallback = ring.driver === 'uring' ? null : fallbackOf(denial);
    this.words = new Uint32Array(ring.shared);
    this.counters = new Float64Array(ring.shared);
    this.#batch = new Int32Array(ring.shared, BATCH_OFFSET, BATCH_CAPACITY * COMPLETION_WORDS);
    this.#sqes = new Uint32Array(ring.sqes);
    this.#fds = new Uint8Array(ring.fds);
    this.#linkedCloses = new Uint32Array(ring.shared, LINKED_CLOSES_OFFSET, LINKED_CLOSES * 4);
    this.#sqEntries = ring.sqEntries;
    this.#sqMask = ring.sqEntries - 1;
    this.slots = new Slots(native);
    limitWorkers(native, config);
    this.#supported = ring.opcodes.map((flags, opcode) =>
      (flags & IO_URING_OP_SUPPORTED) !== 0 && !without.has(opcode) ? 1 : 0,
    );
    activeResources(this.slots);
    if (process.env.OURO_TRACE === '1') {
      this.tracer.users++;
      this.observe(this.tracer);
    }
  }

  /** Whether the engine knows an opcode, and `OURO_WITHOUT` does not forbid it. */
  supports(opcode: number): boolean {
    return this.#supported[opcode] === 1;
  }

  /** The error of an op that is not supported, and that nothing can stand in for. */
  unsupported(opcode: number, syscall: string): Error {
    if (opcode >= OURO_OP_FIRST && this.#besideErrno !== 0 && this.#beside === null) {
      return systemError(this.#besideErrno, 'epoll_create1');
    }
    return unsupportedError(this.ring.driver, opcode, syscall);
  }

  /**
   * Whether an op is done: by the ring or by the poll engine beside it, which does our own ops and, with the driver `'fusion'`,
   * those that the kernel lacks. That one knows nothing of what is registered with the ring: direct descriptors, provided and
   * fixed buffers.
   */
  serves({ opcode, flags }: { readonly opcode: number; readonly flags: number }): boolean {
    if (this.supports(opcode)) return true;
    if (this.ring.driver !== 'uring' || (flags & REGISTERED) !== 0) return false;
    if (!this.#mayDoBeside(opcode)) return false;
    if (this.#beside === null) {
      const opened = Beside.open(this.addon);
      if (typeof opened === 'number') {
        this.#besideErrno = opened;
        return false;
      }
      this.#beside = opened;
    }
    return this.#beside.supports(opcode);
  }

  /** Whether the poll engine may do an op that the ring does not. */
  #mayDoBeside(opcode: number): boolean {
    if (opcode < OPCODE_NAMES.length) return this.config.wanted === 'fusion';
    return OURO_OPCODE_NAMES[opcode - OURO_OP_FIRST] !== undefined && !this.#without.has(opcode);
  }

  /**
   * First half of an op: takes a slot. Fill its scratch, then `push`; if that is not to be, `abandon` it.
   */
  take(completion: Completion): number {
    return this.slots.take(completion);
  }

  abandon(slot: number): void {
    this.slots.release(slot);
  }

  /** The scratch memory of a slot: see `Slots`. */
  scratch(slot: number): ScratchChunk {
    return this.slots.scratch(slot);
  }

  /** The address of a slot's scratch, as the kernel is to get it. */
  scratchAddress(slot: number): number {
    return this.slots.scratch(slot).address + scratchOffset(slot);
  }

  /**
   * Second half of an op: writes its SQE (`struct io_uring_sqe`, 64 bytes). From here on the kernel may use all
   * that it refers to until the last CQE.
   *
   * @param head opcode, `IOSQE_*` flags and `WIDE_OPERANDS` << 8, ioprio << 16
   * @param offset `off`/`addr2`; -1 is the all-ones of "current position"
   * @param address `addr`, -1 is all ones too
   * @param length `len`
   * @param opFlags `rw_flags` and its siblings
   * @param buffer `buf_index`/`buf_group`, personality << 16
   * @param file `file_index`/`splice_fd_in`
   * @param addr3 `addr3`/`optval`
   */
  push(
    slot: number,
    head: number,
    fd: number,
    offset: number,
    address: number,
    length: number,
    opFlags: number,
    buffer: number,
    file: number,
    addr3 = 0,
  ): void {
    const words = this.words;
    if ((words[SQ_TAIL] - words[SQ_HEAD]) >>> 0 >= this.#sqEntries) this.#flushFor(slot);
    const tail = words[SQ_TAIL];
    const at = (tail & this.#sqMask) * SQE_WORDS;
    const sqes = this.#sqes;
    sqes[at] = head;
    sqes[at + 1] = fd;
    sqes[at + 2] = offset;
    sqes[at + 3] = Math.floor(offset / TWO_32);
    sqes[at + 4] = address;
    // Rounded down, not towards zero: the `splice_off_in` of a pipe is all ones too.
    sqes[at + 5] = Math.floor(address / TWO_32);
    sqes[at + 6] = length;
    sqes[at + 7] = opFlags;
    sqes[at + 8] = slot;
    const slots = this.slots;
    sqes[at + 9] = slots.generations[slot];
    sqes[at + 10] = buffer;
    sqes[at + 11] = file;
    sqes[at + 12] = addr3;
    sqes[at + 13] = addr3 / TWO_32;
    sqes[at + 14] = 0;
    sqes[at + 15] = 0;
    slots.opcodes[slot] = head;
    this.counts.submitted[head & 0xff]++;
    if ((head & (WIDE_OPERANDS << 8)) !== 0) this.#widen(at, head, slot);
    const completion = slots.completions[slot];
    if (this.#observer !== null && completion !== null) this.#observer.queued(slot, head, fd, completion);
    if (completion?.refed === true) {
      slots.refed[slot] = 1;
      words[REFS]++;
    }
    const forRing =
      this.#supported[head & 0xff] === 1 && (this.#beside === null || this.#isForRing(at, head));
    // No call from here to the last store: a worker may be terminated between any two calls, and what the tail covers
    // will be run. A descriptor is the thread's to close or the SQE's, never both and never nobody's.
    if ((slots.generations[slot] & CLOSES_FD) !== 0) {
      this.#fds[fd] = 0;
      words[CLOSING]++;
    } else if (this.#mayClose === slot) {
      this.#mayClose = -1;
      if (this.#fds[fd] === 1) {
        const closes = this.#linkedCloses;
        const entry = (slot % LINKED_CLOSES) * 4;
        closes[entry] = slot;
        closes[entry + 1] = slots.generations[slot];
        closes[entry + 2] = fd + 1;
        this.#fds[fd] = 0;
      }
    }
    if (forRing) words[SQ_TAIL] = tail + 1;
    else this.#pushBeside(at, head);
    if (words[ARMED] === 0 && words[REFS] !== 0) this.addon.arm();
  }

  /** Whether an SQE is for the ring and not for the ops beside it, which it may name. */
  #isForRing(at: number, head: number): boolean {
    const sqes = this.#sqes;
    const opcode = head & 0xff;
    const names = opcode === IORING_OP_POLL_REMOVE || opcode === IORING_OP_TIMEOUT_REMOVE;
    if (!names && opcode !== IORING_OP_ASYNC_CANCEL) return true;
    const flags = names ? 0 : sqes[at + 7];
    if ((flags & CANCELS_MANY) === 0) return this.supports(this.slots.opcodes[sqes[at + 4]]);
    if ((flags & IORING_ASYNC_CANCEL_OP) !== 0) return this.supports(sqes[at + 6]);
    if ((flags & (IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY)) !== 0) {
      // For both. The ring's answer is the one that counts.
      const slot = sqes[at + 8];
      sqes[at + 8] = SLOT_IGNORED;
      this.#beside?.push(sqes, at);
      sqes[at + 8] = slot;
    }
    return true;
  }

  #pushBeside(at: number, head: number): void {
    if ((head & 0xff) < OURO_OP_FIRST) this.counts.elsewhere[head & 0xff]++;
    this.#beside?.push(this.#sqes, at);
  }

  #widen(at: number, head: number, slot: number): void {
    const { words } = this.slots.scratch(slot);
    const from = scratchOffset(slot) >> 2;
    const sqes = this.#sqes;
    sqes[at] = head & ~(WIDE_OPERANDS << 8);
    for (let word = 0; word < 4; word++) sqes[at + 2 + word] = words[from + word];
  }

  /**
   * Makes room for `count` SQEs that must reach the kernel in one submission, because they are linked. What is pushed
   * from here on, up to that many, is not torn apart.
   *
   * @throws RangeError if the queue has not so many entries
   */
  reserve(count: number): void {
    const entries = this.#sqEntries;
    if (count > entries) {
      throw Object.assign(
        new RangeError(
          `${count} linked ops do not fit the submission queue, which has ${entries} entries: see RunOptions.entries`,
        ),
        { code: 'ERR_OUT_OF_RANGE' },
      );
    }
    const words = this.words;
    if (((words[SQ_TAIL] - words[SQ_HEAD]) >>> 0) + count > entries) this.flush();
  }

  /** `reserve`, giving up `slot` if there is no room to be had. */
  reserveFor(slot: number, count: number): void {
    try {
      this.reserve(count);
    } catch (error) {
      this.abandon(slot);
      throw error;
    }
  }

  /**
   * Queues the timeout of the SQE pushed last, which must have had a link flag (`IORING_OP_LINK_TIMEOUT`, 5.5). When
   * the time has run out the kernel cancels that op, which ends with ECANCELED, or EINTR if a kernel thread was at it.
   *
   * @param slot the op's, whose scratch takes the timespec
   * @param flags `IOSQE_*` bits of a chain that goes on
   */
  pushLinkTimeout(slot: number, ms: number, flags: number): void {
    const address = placeTimespec(this, slot, ms, TIMEOUT_AT);
    const at = this.#nextIgnored(IORING_OP_LINK_TIMEOUT | (flags << 8), 0);
    this.#sqes[at + 4] = address;
    this.#sqes[at + 5] = address / TWO_32;
    this.#sqes[at + 6] = 1;
    this.words[SQ_TAIL]++;
  }

  /**
   * Asks the kernel to give up the op in `slot`. Its own completion, ECANCELED or not, still comes.
   *
   * @param generation of that op, where the slot may have another one by now. @default that of the op it has
   */
  cancel(slot: number, generation: number = this.slots.generations[slot]): void {
    this.#roomForOne();
    const at = this.#nextIgnored(IORING_OP_ASYNC_CANCEL, 0);
    this.#sqes[at + 4] = slot;
    this.#sqes[at + 5] = generation;
    if (this.supports(this.slots.opcodes[slot])) this.words[SQ_TAIL]++;
    else this.#beside?.push(this.#sqes, at);
  }

  /**
   * Takes over two descriptors that the kernel has written to memory of `Addon.allocateForFds`: they are the thread's from
   * here on, to be closed by an op or at teardown, and no longer the memory's.
   */
  adoptPair(written: Int32Array, at: number): void {
    const { words } = this;
    const fds = this.#fds;
    // No call between these stores: a worker that is terminated here must own each descriptor exactly once.
    const first = written[at];
    const second = written[at + 1];
    fds[first] = 1;
    fds[second] = 1;
    if (words[FD_HIGH] <= first) words[FD_HIGH] = first + 1;
    if (words[FD_HIGH] <= second) words[FD_HIGH] = second + 1;
    written[at] = 0;
    written[at + 1] = 0;
  }

  /**
   * Takes over `count` descriptors that the kernel has written, as parts of control messages, to memory of
   * `Addon.allocateForControl`.
   */
  adoptPassed(written: Int32Array, at: number, count: number): void {
    const { words } = this;
    const fds = this.#fds;
    for (let i = at; i < at + count; i++) {
      // No call between these stores either.
      const fd = written[i];
      fds[fd] = 1;
      if (words[FD_HIGH] <= fd) words[FD_HIGH] = fd + 1;
      written[i] = -1;
    }
  }

  /** Gives a descriptor away: it is no longer this thread's to close at teardown. */
  disown(fd: number): void {
    this.#fds[fd] = 0;
  }

  /** Closes a descriptor after every SQE that is already queued, without anybody waiting for it. */
  discard(fd: number): void {
    this.#roomForOne();
    const { words } = this;
    const at = this.#nextIgnored(IORING_OP_CLOSE, CLOSES_FD);
    // Nothing but stores from here on: see push.
    this.#sqes[at + 1] = fd;
    this.#fds[fd] = 0;
    words[CLOSING]++;
    words[SQ_TAIL]++;
  }

  /** Empties a place in the table of direct descriptors, as `discard`. */
  discardDirect(index: number): void {
    this.#roomForOne();
    const at = this.#nextIgnored(IORING_OP_CLOSE, 0);
    this.#sqes[at + 1] = 0;
    this.#sqes[at + 11] = index + 1;
    this.words[SQ_TAIL]++;
  }

  #roomForOne(): void {
    const words = this.words;
    if ((words[SQ_TAIL] - words[SQ_HEAD]) >>> 0 >= this.#sqEntries) this.flush();
  }

  /** Prepares the next SQE as one whose completion nobody sees, and returns its first word. */
  #nextIgnored(head: number, high: number): number {
    const at = (this.words[SQ_TAIL] & this.#sqMask) * SQE_WORDS;
    const sqes = this.#sqes;
    this.counts.unseen[head & 0xff]++;
    sqes.fill(0, at, at + SQE_WORDS);
    sqes[at] = head;
    sqes[at + 1] = -1;
    sqes[at + 8] = SLOT_IGNORED;
    sqes[at + 9] = high;
    return at;
  }

  /** Hands the queue to the kernel now. The loop hook does so once a turn; only a full queue needs it sooner. */
  flush(): void {
    this.#submit(false);
  }

  /**
   * The same, and the kernel does what it has put off until we wait: what is cancelled, and closed behind that, has been let go of
   * when this returns. (Not with SQPOLL, whose thread takes its time.)
   */
  settle(): void {
    this.#submit(true);
  }

  #submit(settle: boolean): void {
    const result = this.addon.submit(settle);
    if (result !== 0) throw systemError(result, 'io_uring_enter');
  }

  #flushFor(slot: number): void {
    try {
      this.flush();
    } catch (error) {
      this.abandon(slot);
      throw error;
    }
  }

  /** Lets the op in `slot` keep the process alive, or no longer. */
  setRef(slot: number, refed: boolean): void {
    const slots = this.slots;
    if ((slots.refed[slot] === 1) === refed) return;
    slots.refed[slot] = refed ? 1 : 0;
    this.words[REFS] += refed ? 1 : -1;
    if (refed && this.words[ARMED] === 0) this.addon.arm();
  }

  /** Notes that the op in `slot`, which has been taken and not pushed, closes a descriptor. */
  closes(slot: number): void {
    this.slots.generations[slot] |= CLOSES_FD;
  }

  /**
   * The same of one that is linked behind another op, and may never be run: teardown does not wait for it, and its
   * descriptor is ours again if it was and the close is cancelled. To be followed by its `push`.
   */
  mayClose(slot: number): void {
    this.#mayClose = slot;
  }

  /** Notes that the op in `slot`, which has been taken and not pushed, is a zero-copy send. */
  lends(slot: number): void {
    this.slots.generations[slot] |= LENDS_MEMORY;
  }

  /** Asks for `batchEnded` after the batch that is being handed out. To be called from `complete` only. */
  afterBatch(gatherer: BatchEnd): void {
    this.#gathering[this.#gatherers++] = gatherer;
  }

  #dispatch(count: number): void {
    const { words, slots } = this;
    const batch = this.#batch;
    const fds = this.#fds;
    for (let i = 0, at = 0; i < count; i++, at += COMPLETION_WORDS) {
      const slot = batch[at];
      const generation = batch[at + 1];
      const result = batch[at + 2];
      const flags = batch[at + 3];
      if (generation < 0 && result >= 0) {
        // No call between these stores: a worker that is terminated here must own the descriptor exactly once.
        fds[result] = 1;
        if (words[FD_HIGH] <= result) words[FD_HIGH] = result + 1;
        words[BATCH_POSITION] = i + 1;
      } else {
        words[BATCH_POSITION] = i + 1;
      }
      const completion = slots.completions[slot];
      if (completion === null || slots.generations[slot] !== generation) {
        this.stale++;
        continue;
      }
      if (result < 0) this.counts.failure(slots.opcodes[slot], result, flags);
      if ((flags & IORING_CQE_F_MORE) === 0) {
        if (slots.refed[slot] === 1) {
          slots.refed[slot] = 0;
          words[REFS]--;
        }
        slots.release(slot);
      } else this.counts.shots[slots.opcodes[slot]]++;
      if (this.#observer !== null) this.#observer.completed(slot, result, flags);
      try {
        completion.complete(result, flags);
      } catch (error) {
        defect(error);
      }
    }
    const gathering = this.#gathering;
    for (let i = 0; i < this.#gatherers; i++) {
      const gatherer = gathering[i];
      gathering[i] = null;
      try {
        gatherer?.batchEnded();
      } catch (error) {
        defect(error);
      }
    }
    this.#gatherers = 0;
    if (this.#observer !== null) this.#observer.batchEnded();
  }

  /** Has an observer told of all ops from now on. */
  observe(observer: Observer): void {
    this.#observer = Observers.with(this.#observer, observer);
  }

  /** Tells an observer no more. */
  unobserve(observer: Observer): void {
    this.#observer = Observers.without(this.#observer, observer);
  }
}

/** Tells of an error that is our own: loud, and without losing the rest of the batch. */
function defect(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}
