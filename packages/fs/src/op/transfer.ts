import { IORING_OP_READ, IORING_OP_WRITE } from '@ouro/native/abi';
import { addressOf, Bounce, type Bytes, type OpKind, Transfer, UNSTABLE } from '@ouro/runtime/driver';

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
    return new Transfer(READ, 'short', view, IORING_OP_READ, fd, position, address, view.byteLength).start();
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
    view.byteLength,
  ).start();
}

/** `pwrite(2)` of all of `view`: as many ops as it takes (5.6). The view's memory is the op's until then. */
export function write(fd: number, view: Bytes, position: number): Transfer {
  const stable = addressOf(view);
  const bounce = stable === UNSTABLE ? Bounce.filled(view) : null;
  const address = bounce?.address ?? stable;
  return new Transfer(
    WRITE,
    'all',
    bounce ?? view,
    IORING_OP_WRITE,
    fd,
    position,
    address,
    view.byteLength,
  ).start();
}
