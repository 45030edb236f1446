import { ECANCELED, IORING_OP_READ, IORING_OP_READ_FIXED, MAX_RW_COUNT } from '@ouro/native/abi';
import {
  addressOf,
  awaitFast,
  type Bytes,
  type Completion,
  cancellation,
  type Descriptor,
  Future,
  fixedIndexOf,
  gaveUp,
  type Listed,
  lengthOf,
  NOT_FIXED,
  reactor,
  systemError,
  UNSTABLE,
} from '@ouro/runtime/driver';

/** The reason of a read whose file is being closed. */
const CLOSED: unique symbol = Symbol('closed');

/**
 * One read of an open file without options, which is most of them: an op and its future in one object, with no more fields
 * than that takes. Random reads of 4 KiB, 32 at a time, take 1.0 µs of CPU time so beside the kernel's work and the await,
 * 1.3 by way of `Op` and `Transfer`.
 */
export class QuickRead extends Future<number> implements Completion, Listed {
  refed: boolean;
  next: Listed | null = null;
  previous: Listed | null = null;
  /** The caller's memory, until the kernel has let go of it. */
  hold: Bytes | null;
  readonly #descriptor: Descriptor;
  #slot = -1;
  #reason: unknown = undefined;
  #cancelled = false;

  private constructor(descriptor: Descriptor, view: Bytes) {
    super();
    this.#descriptor = descriptor;
    this.hold = view;
    this.refed = descriptor.refed;
  }

  get resultIsFd(): boolean {
    return false;
  }

  get name(): string {
    return 'read';
  }

  /**
   * Begins a read; null where it takes more than this: memory that may move, more than the kernel reads at once, a closed
   * file, a ring that has not been made or knows no such op.
   *
   * @param position byte of the file, -1 for its current position
   */
  static begin(descriptor: Descriptor, view: Bytes, position: number): QuickRead | null {
    const address = addressOf(view);
    const length = lengthOf(view);
    const { fd } = descriptor;
    if (address === UNSTABLE || fd < 0 || length > MAX_RW_COUNT || descriptor.direct) return null;
    const r = reactor();
    const fixed = fixedIndexOf(view);
    const opcode = fixed === NOT_FIXED ? IORING_OP_READ : IORING_OP_READ_FIXED;
    if (!r.supports(opcode)) return null;
    const read = new QuickRead(descriptor, view);
    const slot = r.take(read);
    r.push(slot, opcode, fd, position, address, length, 0, fixed === NOT_FIXED ? 0 : fixed, 0);
    read.#slot = slot;
    descriptor.add(read);
    return read;
  }

  complete(result: number): void {
    this.#slot = -1;
    this.hold = null;
    if (result >= 0) this.fulfil(result);
    else this.failFromKernel(this.#error(result));
    this.#descriptor.delete(this);
  }

  #error(errno: number): Error {
    if (!this.#cancelled || !gaveUp(errno)) return systemError(errno, 'read');
    return this.#reason === CLOSED ? systemError(ECANCELED, 'read') : cancellation(this.#reason);
  }

  setRef(refed: boolean): void {
    this.refed = refed;
    if (this.#slot >= 0) reactor().setRef(this.#slot, refed);
  }

  /** @internal The file is being closed. */
  close(): void {
    this.cancel(CLOSED);
  }

  override cancel(reason?: unknown): void {
    if (this.#slot < 0 || this.#cancelled) return;
    this.#cancelled = true;
    this.#reason = reason;
    reactor().cancel(this.#slot);
  }
}
awaitFast(QuickRead);
