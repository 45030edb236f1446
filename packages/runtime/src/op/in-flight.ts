import { invalidType } from '../base/errors.ts';
import { scratchOffset, WIDE_OPERANDS } from '../engine/slots.ts';
import { reactor } from '../engine/thread.ts';
import type { Future } from '../future/future.ts';
import { Op, type OpKind } from '../operation/op.ts';
import { Operation } from '../operation/operation.ts';
import { Stream } from '../operation/stream.ts';

/** What an op can name to have it cancelled or changed: what `submit` or `stream` returned. */
export type InFlight = Future<unknown> | Stream<unknown>;

/** Where the memory behind the 64-bit operands begins in an op's scratch: see `WIDE_OPERANDS`. */
export const BEHIND_OPERANDS = 16;

/** A slot that no op ever has. */
const NOBODY = 0xffff_fff0;

/** Writes the 64-bit operands of the op in `slot`, which has `WIDE_OPERANDS`. */
export function placeOperands(
  slot: number,
  offLow: number,
  offHigh: number,
  addrLow: number,
  addrHigh: number,
): void {
  const { words } = reactor().scratch(slot);
  const at = scratchOffset(slot) >> 2;
  words[at] = offLow;
  words[at + 1] = offHigh;
  words[at + 2] = addrLow;
  words[at + 3] = addrHigh;
}

/**
 * An op that names another one by its `user_data`, in `addr`. If that one has ended meanwhile the kernel finds nothing
 * (ENOENT): a slot that has been given on has another generation.
 */
export class NamingOp<T> extends Op<T> {
  readonly #named: Operation<unknown> | Stream<unknown>;

  /**
   * @throws TypeError if `target` is not what `submit` or `stream` returned; an error with `code: 'ERR_INVALID_STATE'` if
   *   it has settled or has not begun
   */
  constructor(kind: OpKind<T>, opcode: number, target: InFlight, len = 0, opFlags = 0) {
    super(kind, opcode, 0, 0, len, opFlags);
    if (!(target instanceof Operation || target instanceof Stream)) {
      throw invalidType('target', 'a future of submit or a Stream', target);
    }
    if (target.slot < 0) {
      throw Object.assign(new Error('The op that "target" names is not in flight'), {
        code: 'ERR_INVALID_STATE',
      });
    }
    this.flags |= WIDE_OPERANDS;
    this.#named = target;
  }

  override place(slot: number): void {
    this.placeNamed(slot, 0);
  }

  /** Places the name, and an `off` beside it. */
  protected placeNamed(slot: number, off: number): void {
    const { slot: named } = this.#named;
    const { completions, generations } = reactor().slots;
    // While its result is decoded it still has its slot's number, and the slot may be somebody else's.
    const there = named >= 0 && completions[named] === this.#named;
    const low = there ? named : NOBODY;
    const high = there ? generations[named] : 0;
    placeOperands(slot, off, off / 4_294_967_296, low, high);
  }
}
