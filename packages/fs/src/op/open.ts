import { AT_FDCWD, IORING_OP_OPENAT, O_CLOEXEC } from '@ouro/native/abi';
import { type ErrorDetail, Operation, type OpKind, type OpState, reactor, submit } from '@ouro/runtime/driver';
import { placePath } from '../path.ts';

/** An `open` kind that turns the descriptor into something. */
export function openKind<T>(decode: ((fd: number, path: string | Buffer) => T) | null): OpKind<T> {
  return {
    syscall: 'open',
    resultIsFd: true,
    decode: decode && ((fd: number, op: OpState) => decode(fd, op.detail?.path ?? '')),
    error: null,
    endsWithHandle: false,
  };
}

/**
 * `openat(2)` through the ring (5.6). The result is a descriptor; cancelling an open that has succeeded closes it.
 *
 * @param path checked by `checkPath`
 * @param flags `O_*` bits; `O_CLOEXEC` is added
 */
export function open<T>(kind: OpKind<T>, path: string | Buffer, flags: number, mode: number): Operation<T> {
  const r = reactor();
  const detail: ErrorDetail = { path };
  const op = new Operation<T>(kind, null, detail);
  const slot = r.take(op);
  const placed = placePath(slot, path);
  op.hold = placed.hold;
  return submit(op, slot, IORING_OP_OPENAT, AT_FDCWD, 0, placed.address, mode, flags | O_CLOEXEC);
}

const OPEN_FD: OpKind<number> = openKind(null);

/** Opens to a bare descriptor, which the caller must close. */
export function openFd(path: string | Buffer, flags: number, mode: number): Operation<number> {
  return open(OPEN_FD, path, flags, mode);
}
