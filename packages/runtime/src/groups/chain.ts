import {
  ECANCELED,
  IORING_OP_LINK_TIMEOUT,
  IOSQE_IO_HARDLINK,
  IOSQE_IO_LINK,
  OURO_OP_FIRST,
} from '@ouro/native/abi';
import { cancellation, closedError, invalidType } from '../base/errors.ts';
import type { Completion } from '../engine/slots.ts';
import { reactor } from '../engine/thread.ts';
import { placeTimespec } from '../engine/timespec.ts';
import { awaitFast, type Future, rejected, resolved } from '../future/future.ts';
import { isForced } from '../operation/forced.ts';
import { insist } from '../operation/insist.ts';
import { checkOnce } from '../operation/multishot.ts';
import type { Op } from '../operation/op.ts';
import { NO_TIMEOUT, type OpOptions, refusal, timeoutOf } from '../operation/op-options.ts';
import { discardResult, errorOf, gaveUp, HANDLE_CLOSED } from '../operation/operation.ts';
import { bound, sleep } from '../time/time.ts';
import { Group, type Member } from './group.ts';

/** How an op is tied to the next one of its chain. */
export interface LinkOptions {
  /** The next op runs whatever comes of this one: for what has to be done in any case, such as closing. @default false */
  readonly hard?: boolean | undefined;
  /** Milliseconds after which this op is given up (`IORING_OP_LINK_TIMEOUT`). @default none */
  readonly timeout?: number | undefined;
}

/** An op of a chain that is tied to the next in a way of its own. Made by `link`. */
export class Link<T> {
  readonly op: Op<T>;
  readonly hard: boolean;
  readonly timeout: number;

  /** @internal */
  constructor(op: Op<T>, hard: boolean, timeout: number) {
    this.op = op;
    this.hard = hard;
    this.timeout = timeout;
  }
}

/**
 * Says how an op of a chain is tied to the next one.
 * @throws TypeError, RangeError for bad arguments
 */
export function link<T>(op: Op<T>, options: LinkOptions = {}): Link<T> {
  checkOnce('op', op);
  return new Link(op, options.hard === true, timeoutOf({ timeout: options.timeout }));
}

/** What the ops of a chain resolve to. */
export type Results<L extends readonly (Op<unknown> | Link<unknown>)[]> = {
  -readonly [I in keyof L]: L[I] extends Op<infer T> ? T : L[I] extends Link<infer T> ? T : never;
};

/** A chain that has failed: which link, and why. */
export class ChainError extends Error {
  /** The failed op's: `ENOENT` and the like; `ERR_OURO_SHORT` where one moved less than it should, and ended the chain so. */
  readonly code: string;
  readonly errno: number | undefined;
  readonly syscall: string;
  /** Which of the ops, from 0. */
  readonly index: number;
  /** What came of each op. Those behind the failed one were mostly not run: `ECANCELED`. */
  readonly results: readonly PromiseSettledResult<unknown>[];

  /** @internal */
  constructor(
    index: number,
    syscall: string,
    cause: Error,
    results: readonly PromiseSettledResult<unknown>[],
  ) {
    super(`Link ${index} of ${results.length} (${syscall}) failed: ${cause.message}`, { cause });
    this.name = 'ChainError';
    const { code, errno } = cause as { code?: string; errno?: number };
    this.code = code ?? 'ERR_OURO_CHAIN';
    this.errno = errno;
    this.syscall = syscall;
    this.index = index;
    this.results = results;
  }
}

/** The completion of a link's timeout, which alone tells whether it was that which ended the op. */
class LinkTimeout implements Completion {
  readonly resultIsFd = false;
  readonly name = 'link_timeout';
  readonly refed: boolean;
  readonly #member: Member;
  readonly #then: () => void;

  constructor(member: Member, then: () => void) {
    this.refed = member.refed;
    this.#member = member;
    this.#then = then;
  }

  complete(result: number): void {
    if (result !== ECANCELED) this.#member.expired = true;
    this.#then();
  }
}

class Chain extends Group<unknown[]> {
  readonly #hard: boolean[] = [];
  #thrown: { readonly index: number; readonly error: Error } | null = null;

  constructor(links: readonly Link<unknown>[]) {
    super();
    for (const { op, hard, timeout } of links) {
      this.addMember(op, timeout);
      this.#hard.push(hard);
    }
  }

  /** Queues all of it in one piece. @throws RangeError if the queue has not so many entries */
  start(): this {
    const { members } = this;
    const r = reactor();
    const timers = members.filter(({ op, timeout }) => timeout !== NO_TIMEOUT && !isForced(op));
    r.reserve(members.length + timers.length);
    const slots: number[] = [];
    const timerSlots: number[] = [];
    const timerEnded = (): void => this.completed();
    // First all that can fail: half a chain would drag along what is queued behind it.
    try {
      for (const member of members) {
        member.attach();
        slots.push(r.take(member));
      }
      for (const member of timers) timerSlots.push(r.take(new LinkTimeout(member, timerEnded)));
    } catch (error) {
      for (const slot of [...slots, ...timerSlots]) r.abandon(slot);
      for (const member of members.slice(0, slots.length + 1)) member.detach();
      throw error;
    }
    this.expect(members.length + timers.length);
    members.forEach((member, index) => {
      const last = index === members.length - 1;
      const tie = last ? 0 : this.#hard[index] ? IOSQE_IO_HARDLINK : IOSQE_IO_LINK;
      if (!timers.includes(member)) {
        member.push(r, slots[index], tie, index > 0);
        return;
      }
      member.push(r, slots[index], last ? IOSQE_IO_LINK : tie, index > 0);
      const slot = timerSlots[timers.indexOf(member)];
      const timespec = placeTimespec(r, slot, member.timeout);
      const head = IORING_OP_LINK_TIMEOUT | (last ? 0 : IOSQE_IO_LINK << 8);
      r.push(slot, head, -1, 0, timespec, 1, 0, 0, 0);
    });
    this.#runs(0);
    return this;
  }

  /** Starts the timeout of a link that now begins, where the kernel would not. */
  #runs(index: number): void {
    const member = this.members[index];
    if (member === undefined || member.timeout === NO_TIMEOUT || !isForced(member.op)) return;
    const timer = sleep(member.timeout, { ref: false });
    member.ended = () => timer.cancel();
    timer.then(
      () => {
        if (member.giveUp()) member.expired = true;
      },
      () => {},
    );
  }

  override ended(index: number, slot: number, cqeFlags: number): void {
    this.#runs(index + 1);
    super.ended(index, slot, cqeFlags);
  }

  protected memberFailed(index: number, error: unknown): void {
    if (error !== null) this.#thrown ??= { index, error: error as Error };
  }

  /** The kernel can only find the op that runs: what is linked behind it is given up with it, or comes next. */
  protected cancelPending(): void {
    const member = this.members.find(({ done }) => !done);
    if (member?.giveUp() && member !== this.members[0]) insist(() => member.giveUpAgain());
  }

  protected finished(): void {
    const { members } = this;
    let failed = members.findIndex(({ result }) => result < 0);
    if (failed < 0 && this.#thrown === null && (!this.cancelled || this.tooLate)) {
      try {
        this.fulfil(members.map((_member, index) => this.outcome(index)));
      } catch (error) {
        this.fail(error);
      }
      return;
    }
    const { values } = this;
    const results = members.map((member, index): PromiseSettledResult<unknown> => {
      const error = member.error();
      if (error !== null) return { status: 'rejected', reason: error };
      if (this.#thrown?.index === index) return { status: 'rejected', reason: this.#thrown.error };
      return { status: 'fulfilled', value: values[index] };
    });
    this.#closeOpened();
    const byHandle = this.reason === HANDLE_CLOSED;
    if (this.cancelled && !byHandle && (failed < 0 || gaveUp(members[failed].result))) {
      this.fail(Object.assign(cancellation(this.reason), { results }));
      return;
    }
    let cause: Error | null = null;
    if (this.#thrown !== null && (failed < 0 || this.#thrown.index < failed)) {
      failed = this.#thrown.index;
      cause = this.#thrown.error;
    } else if (failed < 0) {
      // All was done when the handle was closed, and what had been opened is not given to anybody.
      failed = members.length - 1;
      cause = errorOf(members[failed].op, ECANCELED);
    } else if (!this.cancelled && this.#brokenByShort(failed)) {
      failed--;
      cause = shortError(members[failed]);
    } else cause = members[failed].error();
    const { syscall } = members[failed].op.kind;
    this.fail(new ChainError(failed, syscall, cause ?? new Error('unknown'), results));
  }

  /** Whether an op was not run because the one before it moved less than it should. */
  #brokenByShort(index: number): boolean {
    const { members } = this;
    if (index === 0 || this.#hard[index - 1]) return false;
    const { result, expired } = members[index];
    const before = members[index - 1];
    return result === ECANCELED && !expired && !before.passed && before.result !== before.op.len;
  }

  /** Nobody gets what a failed chain has opened. */
  #closeOpened(): void {
    const { members, values } = this;
    members.forEach(({ op, result }, index) => {
      const place = op.opens;
      const closed = members.some(
        (later, at) => at > index && later.op.closes === place && later.result >= 0,
      );
      if (result >= 0 && (place === null || !closed)) discardResult(op, result, -1, values[index]);
    });
  }
}
awaitFast(Chain);

function shortError({ op, result }: Member): Error {
  const error = new Error(`${op.kind.syscall} moved ${result} of ${op.len} bytes`);
  return Object.assign(error, { code: 'ERR_OURO_SHORT' });
}

/**
 * Runs ops one after the other in the kernel, in one submission (`IOSQE_IO_LINK`, 5.3): each begins when the one before
 * has succeeded, without a way back to JavaScript in between. A failure, or a transfer that moved less than asked
 * (`ERR_OURO_SHORT`), ends the chain: the ops behind it are not run, unless the tie is `hard` (see `link`). What a failed chain has opened is closed.
 *
 * An op can use what an earlier one of the same chain opens only through a direct descriptor: see `files()`.
 *
 * @param options `timeout` is for the whole; `link` gives one to an op
 * @returns what each op resolves to
 * @throws RangeError if there are more ops than the submission queue has entries, TypeError for what is no op, or a multishot one;
 *   `ChainError` (as a rejection) that says which op failed and why
 */
export function chain<const L extends readonly (Op<unknown> | Link<unknown>)[]>(
  links: L,
  options?: OpOptions,
): Future<Results<L>> {
  if (!Array.isArray(links)) throw invalidType('links', 'an instance of Array', links);
  const checked = [...(links as readonly unknown[])].map((each, index) => {
    if (each instanceof Link) return each as Link<unknown>;
    checkOnce(`links[${index}]`, each as Op<unknown>);
    return new Link(each as Op<unknown>, false, NO_TIMEOUT);
  });
  const future = startChain(checked, options);
  return future as Future<Results<L>>;
}

function startChain(links: readonly Link<unknown>[], options: OpOptions | undefined): Future<unknown[]> {
  const refused = refusal(options);
  if (refused !== undefined) return rejected(refused);
  if (links.length === 0) return resolved([]);
  const r = reactor();
  for (const { op } of links) {
    const { opcode, kind } = op;
    // (The poll engine could link its own, but a program must not find out there what the ring refuses.)
    if (opcode >= OURO_OP_FIRST || !r.supports(opcode)) {
      return rejected(r.unsupported(opcode, kind.syscall));
    }
    if (op.refersToClosed) return rejected(closedError(kind.syscall));
  }
  const whole = new Chain(links);
  try {
    whole.start();
  } catch (error) {
    if (error instanceof RangeError) throw error;
    return rejected(error); // the kernel takes no more ops
  }
  return bound(whole, options);
}
