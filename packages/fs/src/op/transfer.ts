import { read as readInPool, write as writeInPool } from 'node:fs';
import {
  IORING_OP_READ,
  IORING_OP_READ_FIXED,
  IORING_OP_WRITE,
  IORING_OP_WRITE_FIXED,
  MAX_RW_COUNT,
} from '@ouro/native/abi';
import {
  addressOf,
  asBytes,
  awaitFast,
  Bounce,
  type Bytes,
  fixedIndexOf,
  lengthOf,
  NOT_FIXED,
  Op,
  opKind,
  type Pinned,
  reactor,
  type Target,
  Transfer,
  UNSTABLE,
} from '@ouro/runtime/driver';
import { CURRENT } from '../position.ts';
import { inPoolOn } from './elsewhere.ts';

const READ = opKind<number>('read', { endsWithHandle: true });
const READ_BOUNCED = opKind<number>('read', {
  endsWithHandle: true,
  decode: (count, op) => (op.hold as Bounce).copyBack(count),
});
const WRITE = opKind<number>('write');

/** An op on one stretch of memory. */
class Move extends Op<number> {
  override elsewhere(): Promise<number> | null {
    // Flags of one call are nothing that Node knows.
    if (this.opFlags !== 0) return null;
    const { hold } = this;
    const bytes = hold instanceof Bounce ? hold.bytes : asBytes(hold as Bytes);
    const position = this.off === CURRENT ? null : this.off;
    return inPoolOn(this, (fd, done) => {
      if (this.kind === WRITE) writeInPool(fd, bytes, 0, this.len, position, done);
      else readInPool(fd, bytes, 0, this.len, position, done);
    });
  }
}

/**
 * `pread(2)` into `view` (5.6), into a registered buffer without the kernel looking its pages up (`READ_FIXED`, 5.1).
 * The kernel itself completes short reads of regular files; a short result is the end of the file or all that a pipe
 * had. The view's memory is the op's until the result is there.
 *
 * @param position byte of the file; -1 for the current position
 */
export function read(fd: Target, view: Bytes, position: number): Op<number> {
  const address = addressOf(view);
  const length = lengthOf(view);
  if (address === UNSTABLE) {
    const bounce = Bounce.toFill(view);
    const op = new Move(READ_BOUNCED, IORING_OP_READ, position, bounce.address, length).on(fd);
    op.hold = bounce;
    return op;
  }
  const fixed = fixedIndexOf(view);
  const op = new Move(
    READ,
    fixed === NOT_FIXED ? IORING_OP_READ : IORING_OP_READ_FIXED,
    position,
    address,
    length,
  );
  if (fixed !== NOT_FIXED) op.buf = fixed;
  op.hold = view;
  return op.on(fd);
}

/** `pwrite(2)` from memory that is pinned (5.6), from a registered buffer `WRITE_FIXED` (5.1). May write less. */
export function write(fd: Target, { address, length, hold, fixed }: Pinned, position: number): Op<number> {
  const op = new Move(
    WRITE,
    fixed === NOT_FIXED ? IORING_OP_WRITE : IORING_OP_WRITE_FIXED,
    position,
    address,
    length,
  );
  if (fixed !== NOT_FIXED) op.buf = fixed;
  op.hold = hold;
  return op.on(fd);
}

/** A transfer that writes all of it: as many ops as it takes. */
export function writing(op: Op<number>): Transfer {
  return op.off === CURRENT ? new SequentialWrite(op) : new Transfer(op, 'all', 'file');
}

/**
 * A write at the current position. Where the kernel cannot write all of it to a regular file (the device is full), it
 * leaves the position as it was (seen on 6.18), so that the rest would be written over the beginning, with success. So
 * the position is put right before anything else happens.
 */
class SequentialWrite extends Transfer {
  /** Where it begins; below zero for a pipe or the like. */
  #from = -1;
  #begun = false;
  #written = 0;

  constructor(op: Op<number>) {
    super(op, 'all', 'file');
  }

  override start(timeout?: number): this {
    if (!this.#begun) this.#from = reactor().addon.seek(this.op.fd, CURRENT);
    this.#begun = true;
    return super.start(timeout);
  }

  protected override finish(result: number): void {
    if (result > 0) {
      const wanted = Math.min(this.op.len - this.#written, MAX_RW_COUNT);
      this.#written += result;
      if (result < wanted && this.#from >= 0) reactor().addon.seek(this.op.fd, this.#from + this.#written);
    }
    super.finish(result);
  }
}
awaitFast(SequentialWrite);
