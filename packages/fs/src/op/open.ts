import { constants } from 'node:fs';
import { AT_FDCWD, ECANCELED, ENXIO, IORING_OP_OPENAT, IOSQE_ASYNC, O_CLOEXEC } from '@ouro/native/abi';
import { awaitFast, begin, Op, Operation, type OpKind, type OpOptions, opKind } from '@ouro/runtime/driver';
import { placePath } from '../path.ts';

const { O_NONBLOCK } = constants;

/** An `open` kind that turns the descriptor into something. */
export function openKind<T>(decode: ((fd: number, path: string | Buffer) => T) | null): OpKind<T> {
  return opKind<T>('open', {
    resultIsFd: true,
    decode: decode && ((fd, op) => decode(fd, op.detail?.path ?? '')),
  });
}

/** `openat(2)` through the ring (5.6). */
class OpenAt<T> extends Op<T> {
  readonly #path: string | Buffer;

  constructor(kind: OpKind<T>, path: string | Buffer, flags: number, mode: number) {
    super(kind, IORING_OP_OPENAT, 0, 0, mode, flags | O_CLOEXEC);
    this.fd = AT_FDCWD;
    this.#path = path;
    this.detail = { path };
  }

  override place(slot: number): void {
    const placed = placePath(slot, this.#path);
    this.hold = placed.hold;
    this.addr = placed.address;
  }
}

/** An open that waits where the system call would. */
class Open<T> extends Operation<T> {
  protected override finish(result: number, cqeFlags: number): void {
    const { op } = this;
    if (result === ENXIO && (op.flags & IOSQE_ASYNC) === 0 && (op.opFlags & O_NONBLOCK) === 0) {
      // The kernel tries first with O_NONBLOCK of its own, so that opening a pipe for writing that nobody reads fails
      // instead of waiting for a reader. In a thread of its own it waits.
      op.flags |= IOSQE_ASYNC;
      if (this.cancelled) super.finish(ECANCELED, cqeFlags);
      else this.restart();
    } else super.finish(result, cqeFlags);
  }
}
awaitFast(Open);

/**
 * `openat(2)` as a future of what `kind` makes of the descriptor. Cancelling an open that has succeeded closes it.
 *
 * @param path checked by `checkPath`
 * @param flags `O_*` bits; `O_CLOEXEC` is added
 */
export function open<T>(
  kind: OpKind<T>,
  path: string | Buffer,
  flags: number,
  mode: number,
  options?: OpOptions,
): Operation<T> {
  return begin(new Open(new OpenAt(kind, path, flags, mode)), options);
}

const OPEN_FD: OpKind<number> = openKind(null);

/** Opens to a bare descriptor, which the caller must close. */
export function openFd(path: string | Buffer, flags: number, mode: number): Operation<number> {
  return open(OPEN_FD, path, flags, mode);
}
