import { ECANCELED } from '@ouro/native/abi';
import { cancellation, closedError, invalidType } from '../base/errors.ts';
import type { Reactor } from '../engine/reactor.ts';
import { reactor } from '../engine/thread.ts';
import { awaitFast, type Future, rejected, resolved } from '../future/future.ts';
import { checkOnce } from '../operation/multishot.ts';
import type { Op } from '../operation/op.ts';
import { type OpOptions, refusal } from '../operation/op-options.ts';
import { discardResult, errorOf, gaveUp, HANDLE_CLOSED } from '../operation/operation.ts';
import { bound } from '../time/time.ts';
import { Group, type Member } from './group.ts';

/** How a batch is run. */
export interface BatchOptions extends OpOptions {
  /**
   * Let each op succeed or fail for itself, as with `Promise.allSettled`. Otherwise the first failure cancels the others,
   * and the batch rejects with it once all have ended. @default false
   */
  readonly settle?: boolean | undefined;
}

/** What the ops of a batch resolve to. */
export type Values<O extends readonly Op<unknown>[]> = {
  -readonly [I in keyof O]: O[I] extends Op<infer T> ? T : never;
};

/** The same where each settles for itself. */
export type Settled<O extends readonly Op<unknown>[]> = {
  -readonly [I in keyof O]: O[I] extends Op<infer T> ? PromiseSettledResult<T> : never;
};

/** Some failure, in the place of the kernel's result: the error says which. */
const REFUSED = -1;

class Batch extends Group<unknown[]> {
  readonly #settle: boolean;
  readonly #errors: (Error | undefined)[] = [];
  #first: Error | null = null;

  constructor(ops: readonly Op<unknown>[], settle: boolean) {
    super();
    this.#settle = settle;
    for (const op of ops) this.addMember(op);
  }

  start(): this {
    const { members } = this;
    const r = reactor();
    this.expect(members.length);
    for (const member of members) {
      try {
        member.attach();
        this.#begin(r, member);
      } catch (error) {
        this.#refuse(member, error); // the kernel takes no more ops
      }
    }
    return this;
  }

  #begin(r: Reactor, member: Member): void {
    const { op } = member;
    const { opcode, kind } = op;
    if (op.refersToClosed) throw closedError(kind.syscall);
    const elsewhere = r.supports(opcode) ? null : op.elsewhere();
    if (elsewhere === null) {
      if (!r.serves(op)) throw r.unsupported(opcode, kind.syscall);
      member.push(r, r.take(member), 0);
      return;
    }
    r.counts.elsewhere[opcode]++;
    elsewhere.then(
      (result) => member.finish(result, 0),
      (error: unknown) => this.#refuse(member, error),
    );
  }

  /** Ends an op that was not begun, later, as all of them end. */
  #refuse(member: Member, error: unknown): void {
    queueMicrotask(() => {
      this.#errors[this.members.indexOf(member)] = error as Error;
      member.finish(REFUSED, 0);
    });
  }

  protected memberFailed(index: number, thrown: unknown): void {
    const error = (thrown as Error | null) ?? this.#errors[index] ?? this.members[index].error();
    if (error === null) return;
    this.#errors[index] = error;
    if (this.#settle || this.#first !== null || this.cancelled) return;
    this.#first = Object.assign(error, { index });
    this.cancelPending();
  }

  protected cancelPending(): void {
    for (const member of this.members) member.giveUp();
  }

  protected finished(): void {
    const failed = this.#first !== null || (this.cancelled && !this.#settle && !this.tooLate);
    if (failed) {
      // What has moved is told, what has been opened is closed.
      const results = this.members.map((_member, index) => this.#settled(index, () => this.values[index]));
      this.members.forEach(({ op, result }, index) => {
        if (result >= 0) discardResult(op, result, -1, this.values[index]);
      });
      this.fail(Object.assign(this.#first ?? this.#cancellation(), { results }));
      return;
    }
    this.fulfil(
      this.members.map((_member, index) =>
        this.#settle ? this.#settled(index, () => this.outcome(index)) : this.outcome(index),
      ),
    );
  }

  #cancellation(): Error {
    if (this.reason !== HANDLE_CLOSED) return cancellation(this.reason);
    const index = this.members.findIndex(({ result }) => result < 0);
    return this.#errors[index] ?? errorOf(this.members[Math.max(index, 0)].op, ECANCELED);
  }

  #settled(index: number, value: () => unknown): PromiseSettledResult<unknown> {
    const error = this.#errors[index];
    if (error === undefined) return { status: 'fulfilled', value: value() };
    const given = this.cancelled && this.reason !== HANDLE_CLOSED && gaveUp(this.members[index].result);
    return { status: 'rejected', reason: given ? cancellation(this.reason) : error };
  }
}
awaitFast(Batch);

/**
 * Runs many ops at once, as one future: cheaper than a future for each. They reach the kernel in one system call, as far
 * as the submission queue has entries for them (`RunOptions.entries`); they run in any order.
 *
 * @returns what each op resolves to
 * @throws TypeError for what is no op, or a multishot one (see `stream`); the first failure (as a rejection), with the op's `index`
 */
export function batch<const O extends readonly Op<unknown>[]>(
  ops: O,
  options: BatchOptions & { readonly settle: true },
): Future<Settled<O>>;
export function batch<const O extends readonly Op<unknown>[]>(
  ops: O,
  options?: BatchOptions,
): Future<Values<O>>;
export function batch(ops: readonly Op<unknown>[], options?: BatchOptions): Future<unknown> {
  if (!Array.isArray(ops)) throw invalidType('ops', 'an instance of Array', ops);
  // A copy: what has been checked is what is run, holes too.
  const checked = [...(ops as readonly unknown[])].map((op, index) => {
    checkOnce(`ops[${index}]`, op as Op<unknown>);
    return op as Op<unknown>;
  });
  const refused = refusal(options);
  if (refused !== undefined) return rejected(refused);
  if (checked.length === 0) return resolved([]);
  return bound(new Batch(checked, options?.settle === true).start(), options);
}
