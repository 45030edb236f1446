import { cancellation, closedError, invalidType, unsupportedError } from './errors.ts';
import { awaitFast, type Future, rejected, resolved } from './future.ts';
import { Group } from './group.ts';
import { Op } from './op.ts';
import { type OpOptions, refusal } from './op-options.ts';
import { discardResult, gaveUp } from './operation.ts';
import { reactor } from './reactor.ts';
import { bound } from './time.ts';

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
    for (const member of members) member.attach();
    for (const member of members) {
      const { op } = member;
      if (op.refersToClosed) {
        this.#refuse(member, closedError(op.kind.syscall));
      } else if (!r.supports(op.opcode)) {
        const elsewhere = op.elsewhere();
        if (elsewhere === null) this.#refuse(member, unsupportedError(op.opcode, op.kind.syscall));
        else {
          r.counts.elsewhere[op.opcode]++;
          elsewhere.then((result) => member.finish(result, 0));
        }
      } else {
        try {
          member.push(r, 0);
        } catch (error) {
          this.#refuse(member, error as Error); // the kernel takes no more ops
        }
      }
    }
    return this;
  }

  /** Ends an op that was not begun, later, as all of them end. */
  #refuse(member: { finish(result: number, cqeFlags: number): void }, error: Error): void {
    const index = this.members.indexOf(member as (typeof this.members)[number]);
    queueMicrotask(() => {
      this.#errors[index] = error;
      member.finish(-1, 0);
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
    const failed = this.#first !== null || (this.cancelled && !this.#settle);
    if (failed) {
      for (const { op, result } of this.members) if (result >= 0) discardResult(op, result);
      this.fail(this.#first ?? cancellation(this.reason));
      return;
    }
    this.fulfil(
      this.members.map((_member, index) => (this.#settle ? this.#settled(index) : this.outcome(index))),
    );
  }

  #settled(index: number): PromiseSettledResult<unknown> {
    const error = this.#errors[index];
    if (error === undefined) return { status: 'fulfilled', value: this.outcome(index) };
    const given = this.cancelled && gaveUp(this.members[index].result);
    return { status: 'rejected', reason: given ? cancellation(this.reason) : error };
  }
}
awaitFast(Batch);

/**
 * Runs many ops at once, as one future: cheaper than a future for each. They reach the kernel in one system call, as far
 * as the submission queue has entries for them (`RunOptions.entries`); they run in any order.
 *
 * @returns what each op resolves to
 * @throws TypeError for what is no op; the first failure (as a rejection), with the op's `index`
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
  ops.forEach((op: unknown, index) => {
    if (!(op instanceof Op)) throw invalidType(`ops[${index}]`, 'an instance of Op', op);
  });
  const refused = refusal(options);
  if (refused !== undefined) return rejected(refused);
  if (ops.length === 0) return resolved([]);
  return bound(new Batch(ops, options?.settle === true).start(), options);
}
