import { IORING_OP_READ, IORING_OP_WRITE, MAX_RW_COUNT } from '@ouro/native/abi';
import {
  addressOf,
  awaitFast,
  Bounce,
  type Bytes,
  lengthOf,
  type OpKind,
  reactor,
  Transfer,
  UNSTABLE,
} from '@ouro/runtime/driver';

const READ: OpKind<number> = {
  syscall: 'read',
  resultIsFd: false,
  decode: null,
  error: null,
  endsWithHandle: true,
};

const READ_BOUNCED: OpKind<number> = {
  ...READ,
  decode: (count, op) => (op.hold as Bounce).copyBack(count),
};

const WRITE: OpKind<number> = {
  syscall: 'write',
  resultIsFd: false,
  decode: null,
  error: null,
  endsWithHandle: false,
};

/** The current position of the file, kept by the kernel; also for pipes. */
export const CURRENT = -1;

/**
 * `pread(2)` into `view`: one op for up to 2 GiB (5.6), more beyond that. The kernel itself completes short reads
 * of regular files; a short result is the end of the file or all that a pipe had.
 *
 * The view's memory is the op's until the result is there.
 */
export function read(fd: number, view: Bytes, position: number): Transfer {
  const address = addressOf(view);
  if (address !== UNSTABLE) {
    return new Transfer(READ, 'short', view, IORING_OP_READ, fd, position, address, lengthOf(view)).start();
  }
  const bounce = Bounce.toFill(view);
  return new Transfer(
    READ_BOUNCED,
    'short',
    bounce,
    IORING_OP_READ,
    fd,
    position,
    bounce.address,
    lengthOf(view),
  ).start();
}

/** Bytes that stay where they are, whatever scripts do to the view they came from. */
export interface Pinned {
  readonly address: number;
  readonly length: number;
  /** To be kept alive as long as the address is used. */
  readonly hold: unknown;
}

/**
 * The bytes of a view for the kernel to read: in place where they cannot be taken away, else as a copy.
 * @throws TypeError if the view is detached
 */
export function pinned(view: Bytes): Pinned {
  const address = addressOf(view);
  const length = lengthOf(view);
  if (address !== UNSTABLE) return { address, length, hold: view };
  const bounce = Bounce.filled(view);
  return { address: bounce.address, length, hold: bounce };
}

/** `pwrite(2)` of all of `source`: as many ops as it takes (5.6). */
export function write(fd: number, source: Pinned, position: number): Transfer {
  if (position === CURRENT) return new SequentialWrite(fd, source).start();
  const { address, length, hold } = source;
  return new Transfer(WRITE, 'all', hold, IORING_OP_WRITE, fd, position, address, length).start();
}

/**
 * A write at the current position. Where the kernel cannot write all of it to a regular file (the device is full), it
 * leaves the position as it was (seen on 6.18), so that the rest would be written over the beginning, with success. So
 * the position is put right before anything else happens.
 */
class SequentialWrite extends Transfer {
  readonly #fd: number;
  readonly #length: number;
  /** Where it begins; below zero for a pipe or the like. */
  readonly #from: number;
  #written = 0;

  constructor(fd: number, { address, length, hold }: Pinned) {
    super(WRITE, 'all', hold, IORING_OP_WRITE, fd, CURRENT, address, length);
    this.#fd = fd;
    this.#length = length;
    this.#from = reactor().addon.seek(fd, CURRENT);
  }

  override complete(result: number, flags: number): void {
    if (result > 0) {
      const wanted = Math.min(this.#length - this.#written, MAX_RW_COUNT);
      this.#written += result;
      if (result < wanted && this.#from >= 0) reactor().addon.seek(this.#fd, this.#from + this.#written);
    }
    super.complete(result, flags);
  }
}
awaitFast(SequentialWrite);
