import {
  ECANCELED,
  ENFILE,
  IORING_CQE_F_MORE,
  IORING_CQE_F_NOTIF,
  IORING_NOTIF_USAGE_ZC_COPIED,
  IORING_OP_CLOSE,
} from '@ouro/native/abi';
import { Expired } from '../base/errors.ts';
import type { Reactor } from '../engine/reactor.ts';
import type { Completion } from '../engine/slots.ts';
import { reactor } from '../engine/thread.ts';
import { Future } from '../future/future.ts';
import type { Attached, Descriptor } from '../operation/descriptor.ts';
import type { Op, Rare } from '../operation/op.ts';
import { NO_TIMEOUT } from '../operation/op-options.ts';
import { discardResult, errorOf, gaveUp, HANDLE_CLOSED, timeoutErrorOf } from '../operation/operation.ts';

/** One op of a chain or a batch. No promise of its own: the whole has one. */
export class Member implements Completion, Attached {
  readonly op: Op<unknown>;
  /** In milliseconds, `NO_TIMEOUT` for none. */
  readonly timeout: number;
  readonly #group: Group<unknown>;
  readonly #index: number;
  refed = true;
  slot = -1;
  /** Called when it has ended. */
  ended: (() => void) | null = null;
  /** Whether a timeout of its own has ended it. */
  expired = false;
  /** The kernel's result; what the chain's failure left undone ends with ECANCELED. */
  result = 0;
  /** It ended with what is success for its kind although it is below zero. */
  passed = false;
  done = false;
  #cancelled = false;
  #early = 0;
  /** Memory that the op's `place` has made: see `Operation.start`. */
  hold: unknown = null;
  readonly #descriptor: Descriptor | null;
  readonly #refers: Rare;

  constructor(group: Group<unknown>, index: number, op: Op<unknown>, timeout: number) {
    this.#group = group;
    this.#index = index;
    this.op = op;
    // The op may be made one on other handles while this flight lasts.
    this.#descriptor = op.descriptor;
    this.#refers = op.rare;
    this.timeout = timeout;
  }

  get resultIsFd(): boolean {
    return this.op.kind.resultIsFd;
  }

  get name(): string {
    return this.op.kind.syscall;
  }

  /**
   * Queues it in a slot that it has taken, with more `IOSQE_*` bits, those of a link, than the op has itself.
   *
   * @param behind whether it is linked behind another op
   */
  push(r: Reactor, slot: number, link: number, behind = false): void {
    const { op } = this;
    op.place(slot);
    this.hold = op.hold;
    if (op.opcode === IORING_OP_CLOSE && op.file === 0) {
      if (behind) r.mayClose(slot);
      else r.closes(slot);
    }
    const head = op.head | (link << 8);
    r.push(slot, head, op.fd, op.off, op.addr, op.len, op.opFlags, op.buf, op.file, op.addr3);
    this.slot = slot;
  }

  /**
   * Notes that it is about to be queued: its handle waits for it from here on.
   *
   * @throws `ENFILE` where all places of the kernel's choice are set aside for others
   */
  attach(): void {
    const descriptor = this.#descriptor;
    const { opens, closes, also } = this.#refers;
    const full = opens?.full === true;
    opens?.beginOpening(this);
    closes?.beginEmptying();
    descriptor?.attach(this);
    also?.attach(this);
    if (descriptor?.refed === false) this.refed = false;
    if (full) throw errorOf(this.op, ENFILE);
  }

  complete(result: number, cqeFlags: number): void {
    if ((cqeFlags & IORING_CQE_F_MORE) !== 0) {
      // (Of a multishot op, which is for `stream`, what has been opened is nobody's.)
      if (result < 0 || !discardResult(this.op, result, this.slot)) this.#early = result;
      // What is awaited now is the peer or the network. The descriptor can be closed meanwhile.
      this.#descriptor?.detach(this);
      return;
    }
    if ((cqeFlags & IORING_CQE_F_NOTIF) === 0) this.finish(result, cqeFlags);
    else this.finish(this.#early, cqeFlags | (result & IORING_NOTIF_USAGE_ZC_COPIED)); // see Operation
  }

  /** Ends it with the kernel's result. */
  finish(result: number, cqeFlags: number): void {
    const { slot } = this;
    this.slot = -1;
    this.done = true;
    this.ended?.();
    this.hold = null;
    this.passed = result < 0 && result === this.op.kind.passes;
    this.result = this.passed ? 0 : result;
    this.#group.ended(this.#index, slot, cqeFlags);
    this.detach();
  }

  detach(): void {
    const { opens, closes, also } = this.#refers;
    // (A place of the kernel's choice counts as taken when somebody has got it, or when it is to be emptied.)
    if (opens?.any) this.#group.atEnd(() => opens.endOpening(this));
    else opens?.endOpening(this);
    closes?.endEmptying();
    this.#descriptor?.detach(this);
    also?.detach(this);
  }

  /** Asks the kernel to give it up, once. False if it cannot be or has been asked to. */
  giveUp(): boolean {
    if (this.slot < 0 || this.#cancelled || this.op.opcode === IORING_OP_CLOSE) return false;
    this.#cancelled = true;
    this.giveUpAgain();
    return true;
  }

  /** Asks once more. False if it has ended. */
  giveUpAgain(): boolean {
    if (this.slot < 0) return false;
    reactor().cancel(this.slot);
    return true;
  }

  /** Its handle is cancelled. */
  cancel(reason?: unknown): void {
    this.#group.cancel(reason);
  }

  /** Its handle is closed. */
  close(): void {
    if (this.op.kind.endsWithHandle) this.#group.cancel(HANDLE_CLOSED);
  }

  setRef(refed: boolean): void {
    this.refed = refed;
    if (this.slot >= 0) reactor().setRef(this.slot, refed);
  }

  /** Why it failed; null if it did not. */
  error(): Error | null {
    if (this.result >= 0) return null;
    if (!gaveUp(this.result)) return errorOf(this.op, this.result);
    if (this.expired) return timeoutErrorOf(this.op, new Expired(this.timeout));
    return errorOf(this.op, this.#cancelled ? ECANCELED : this.result);
  }
}

/** Several ops as one future, which settles at the last completion of the last of them. */
export abstract class Group<T> extends Future<T> {
  protected readonly members: Member[] = [];
  protected readonly values: unknown[] = [];
  #pending = 0;
  #cancelled = false;
  #reason: unknown;
  #atEnd: (() => void)[] | null = null;

  protected addMember(op: Op<unknown>, timeout: number = NO_TIMEOUT): Member {
    const member = new Member(this, this.members.length, op, timeout);
    this.members.push(member);
    return member;
  }

  protected get cancelled(): boolean {
    return this.#cancelled;
  }

  protected get reason(): unknown {
    return this.#reason;
  }

  /** Notes how many completions there will be. */
  protected expect(count: number): void {
    this.#pending = count;
  }

  /** @internal */
  ended(index: number, slot: number, cqeFlags: number): void {
    const { op, result, passed } = this.members[index];
    const { kind } = op;
    const told = passed ? kind.passes : result;
    // What has been opened is made into a value at the end, when it is sure that somebody gets it.
    if (result >= 0 && !kind.resultIsFd && !kind.resultIsDirect) {
      try {
        this.values[index] = kind.decode === null ? result : kind.decode(told, op, slot, cqeFlags);
      } catch (error) {
        this.memberFailed(index, error);
      }
    } else if (result < 0) this.memberFailed(index, null);
    this.completed();
    if (this.#pending > 0 && this.#cancelled) this.cancelPending();
  }

  /** Notes one of the completions that were expected. */
  protected completed(): void {
    this.#pending--;
    if (this.#pending > 0) return;
    this.finished();
    const waiting = this.#atEnd;
    this.#atEnd = null;
    if (waiting !== null) for (const then of waiting) then();
  }

  /** @internal Calls `then` when the whole has settled. */
  atEnd(then: () => void): void {
    if (this.#pending > 0) {
      this.#atEnd ??= [];
      this.#atEnd.push(then);
    } else then();
  }

  /** Whether a cancellation came too late for all of it: then there is a result after all, unless nobody would close it. */
  protected get tooLate(): boolean {
    return this.members.every(
      ({ op, result }) => result >= 0 && !op.kind.resultIsFd && !op.kind.resultIsDirect,
    );
  }

  /** One has failed; `error` only where that is not the kernel's result. */
  protected abstract memberFailed(index: number, error: unknown): void;
  /** Asks the kernel to give up what is to be given up. */
  protected abstract cancelPending(): void;
  /** All have ended. */
  protected abstract finished(): void;

  /** The value of a member that succeeded. */
  protected outcome(index: number): unknown {
    const { op, result } = this.members[index];
    const { kind } = op;
    if (!kind.resultIsFd && !kind.resultIsDirect) return this.values[index];
    return kind.decode === null ? result : kind.decode(result, op, -1, 0);
  }

  override cancel(reason?: unknown): void {
    if (this.#cancelled || this.#pending === 0) return;
    this.#cancelled = true;
    this.#reason = reason;
    this.cancelPending();
  }
}
