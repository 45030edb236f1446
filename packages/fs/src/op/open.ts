import { constants } from 'node:fs';
import { AT_FDCWD, IORING_OP_OPENAT, IOSQE_ASYNC, O_CLOEXEC } from '@ouro/native/abi';
import { awaitFast, Operation, type OpKind, type OpState, reactor, submit } from '@ouro/runtime/driver';
import { placePath } from '../path.ts';

const { O_NONBLOCK } = constants;
const ENXIO = -6;
const ECANCELED = -125;

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

class Open<T> extends Operation<T> {
  readonly #path: string | Buffer;
  readonly #flags: number;
  readonly #mode: number;
  #mayWait = false;

  constructor(kind: OpKind<T>, path: string | Buffer, flags: number, mode: number) {
    super(kind, null, { path });
    this.#path = path;
    this.#flags = flags;
    this.#mode = mode;
  }

  start(head: number): this {
    const slot = reactor().take(this);
    const placed = placePath(slot, this.#path);
    this.hold = placed.hold;
    return submit(this, slot, head, AT_FDCWD, 0, placed.address, this.#mode, this.#flags | O_CLOEXEC);
  }

  override complete(result: number, cqeFlags: number): void {
    if (result === ENXIO && !this.#mayWait && (this.#flags & O_NONBLOCK) === 0) {
      // The kernel tries first with O_NONBLOCK of its own, so that opening a pipe for writing that nobody reads fails
      // instead of waiting for a reader. In a thread of its own it waits.
      this.#mayWait = true;
      if (this.cancelled) super.complete(ECANCELED, cqeFlags);
      else this.start(IORING_OP_OPENAT | (IOSQE_ASYNC << 8));
    } else super.complete(result, cqeFlags);
  }
}
awaitFast(Open);

/**
 * `openat(2)` through the ring (5.6). The result is a descriptor; cancelling an open that has succeeded closes it.
 *
 * @param path checked by `checkPath`
 * @param flags `O_*` bits; `O_CLOEXEC` is added
 */
export function open<T>(kind: OpKind<T>, path: string | Buffer, flags: number, mode: number): Operation<T> {
  return new Open<T>(kind, path, flags, mode).start(IORING_OP_OPENAT);
}

const OPEN_FD: OpKind<number> = openKind(null);

/** Opens to a bare descriptor, which the caller must close. */
export function openFd(path: string | Buffer, flags: number, mode: number): Operation<number> {
  return open(OPEN_FD, path, flags, mode);
}
