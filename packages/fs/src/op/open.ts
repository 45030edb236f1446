import { constants, open as openInPool } from 'node:fs';
import {
  ECANCELED,
  ENXIO,
  IORING_OP_OPENAT,
  IORING_OP_OPENAT2,
  IOSQE_ASYNC,
  O_CLOEXEC,
  O_TMPFILE,
} from '@ouro/native/abi';
import {
  awaitFast,
  begin,
  checkInteger,
  type DirectDescriptor,
  directKind,
  type Into,
  type Op,
  Operation,
  type OpKind,
  type OpOptions,
  openInto,
  opKind,
  reactor,
  scratchOffset,
  type Target,
} from '@ouro/runtime/driver';
import { fileMode, type OpenFlags, openFlags } from '../flags.ts';
import { INLINE_PATH, keptPath, type PathLike } from '../path.ts';
import { inPool } from './elsewhere.ts';
import { type AtOptions, PathOp } from './path-op.ts';

const { O_CREAT, O_NONBLOCK } = constants;

/** An `open` kind that turns the descriptor into something. */
export function openKind<T>(decode: ((fd: number, path: string | Buffer) => T) | null): OpKind<T> {
  return opKind<T>('open', {
    resultIsFd: true,
    decode: decode && ((fd, op) => decode(fd, op.detail?.path ?? '')),
  });
}

/** `openat(2)` through the ring (5.6). */
class OpenAt<T> extends PathOp<T> {
  constructor(
    kind: OpKind<T>,
    path: string | Buffer,
    dirfd: Target | undefined,
    flags: number,
    mode: number,
  ) {
    // The kernel refuses O_CLOEXEC for a direct descriptor, which no other program could get anyway.
    super(
      kind,
      IORING_OP_OPENAT,
      path,
      dirfd,
      mode,
      kind.resultIsFd ? flags | O_CLOEXEC : flags & ~O_CLOEXEC,
    );
  }

  override elsewhere(): Promise<number> | null {
    if (!this.plain || !this.kind.resultIsFd) return null;
    return openElsewhere(this.path, this.opFlags, this.len);
  }
}

/** Opens in Node's thread pool, to a descriptor that is closed with the thread. */
async function openElsewhere(path: string | Buffer, flags: number, mode: number): Promise<number> {
  const result = await inPool((done) => openInPool(path, flags, mode, done));
  if (result >= 0) reactor().addon.own(result);
  return result;
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
  { dirfd, resolve }: From = {},
): Operation<T> {
  const op =
    resolve === undefined
      ? new OpenAt(kind, path, dirfd, flags, mode)
      : new OpenAt2(kind, path, dirfd, flags, (flags & MAKES) === 0 ? 0 : mode, resolve);
  return begin(new Open(op), options);
}

/** Where something is opened, and what may lead there. */
export interface From extends AtOptions {
  /** `RESOLVE_*` bits. */
  readonly resolve?: number | undefined;
}

/** Flags that make a file: `openat2` refuses a mode without them. */
const MAKES = O_CREAT | (O_TMPFILE & ~constants.O_DIRECTORY);

const OPEN_FD: OpKind<number> = openKind(null);
const OPEN_DIRECT: OpKind<DirectDescriptor> = directKind(OPEN_FD);
const OPEN2_FD: OpKind<number> = opKind('openat2', { resultIsFd: true });
const OPEN2_DIRECT: OpKind<DirectDescriptor> = directKind(OPEN2_FD);

/** Opens to a bare descriptor, which the caller must close. */
export function openFd(path: string | Buffer, flags: number, mode: number, from?: From): Operation<number> {
  return open(OPEN_FD, path, flags, mode, undefined, from);
}

/** Where a file is opened from, and into what. */
export interface OpenAtOptions extends AtOptions {
  /** A direct descriptor instead of an ordinary one (5.15): a place that was allocated, or any. */
  readonly into?: Into | undefined;
}

/**
 * `openat(2)` (5.6), as `File.open` does it. Its result is a descriptor, which is yours to close with the `close` op: it is
 * closed for you only if the op was cancelled, or with its thread. `{ into }` makes it a direct descriptor.
 *
 * Opening a pipe for writing that nobody reads fails with `ENXIO`, unless the flags create or truncate (`'w'`); set `IOSQE_ASYNC` in
 * the op's `flags` to wait for a reader.
 *
 * @param flags as in `node:fs`, or `O_*` bits; `O_CLOEXEC` is added
 * @param mode permissions of a file that is created, before the umask
 * @throws `ENOENT`, `EACCES`, `EEXIST`, `EMFILE`…, with `path`
 */
export function openat(
  path: PathLike,
  flags: OpenFlags | number | undefined,
  mode: number | string | undefined,
  options: OpenAtOptions & { readonly into: Into },
): Op<DirectDescriptor>;
export function openat(
  path: PathLike,
  flags?: OpenFlags | number,
  mode?: number | string,
  options?: AtOptions & { readonly into?: undefined },
): Op<number>;
export function openat(
  path: PathLike,
  flags: OpenFlags | number = 'r',
  mode: number | string = 0o666,
  { dirfd, into }: OpenAtOptions = {},
): Op<number> | Op<DirectDescriptor> {
  const kept = keptPath(path);
  const bits = openFlags(flags);
  const permissions = fileMode(mode);
  if (into === undefined) return new OpenAt(OPEN_FD, kept, dirfd, bits, permissions);
  return openInto(new OpenAt(OPEN_DIRECT, kept, dirfd, bits, permissions), into);
}

/** How `openat2` opens: `struct open_how`. */
export interface OpenHow {
  /** As in `node:fs`, or `O_*` bits; `O_CLOEXEC` is added. @default 'r' */
  readonly flags?: OpenFlags | number | undefined;
  /** Of a file that is created; refused without `O_CREAT` or `O_TMPFILE`. @default 0o666 where a file is created */
  readonly mode?: number | string | undefined;
  /** `RESOLVE_*` bits: what the path may not lead through. @default 0 */
  readonly resolve?: number | undefined;
}

/** Bytes of `struct open_how`: flags, mode, resolve. */
const HOW_BYTES = 24;

class OpenAt2<T> extends PathOp<T> {
  readonly #flags: number;
  readonly #mode: number;
  readonly #resolve: number;

  constructor(
    kind: OpKind<T>,
    path: string | Buffer,
    dirfd: Target | undefined,
    flags: number,
    mode: number,
    resolve: number,
  ) {
    super(kind, IORING_OP_OPENAT2, path, dirfd, HOW_BYTES, 0);
    this.#flags = kind.resultIsFd ? flags | O_CLOEXEC : flags & ~O_CLOEXEC;
    this.#mode = mode;
    this.#resolve = resolve;
  }

  override place(slot: number): void {
    super.place(slot);
    const r = reactor();
    const { words } = r.scratch(slot);
    const at = (scratchOffset(slot) + INLINE_PATH) >> 2;
    words.fill(0, at, at + HOW_BYTES / 4);
    words[at] = this.#flags;
    words[at + 2] = this.#mode;
    words[at + 4] = this.#resolve;
    this.off = r.scratchAddress(slot) + INLINE_PATH;
  }

  override elsewhere(): Promise<number> | null {
    if (!this.plain || this.#resolve !== 0 || !this.kind.resultIsFd) return null;
    return openElsewhere(this.path, this.#flags, this.#mode);
  }
}

/**
 * `openat2(2)` (5.6): `openat` with a say in how the path is resolved, such as `RESOLVE_BENEATH` for paths from strangers.
 *
 * @throws beside those of `openat`: `EXDEV` (it leads out), `ELOOP` (a link where none may be), `EINVAL` (a flag that the
 *   kernel does not know), `EAGAIN` (`RESOLVE_CACHED`: not without waiting)
 */
export function openat2(
  path: PathLike,
  how: OpenHow | undefined,
  options: OpenAtOptions & { readonly into: Into },
): Op<DirectDescriptor>;
export function openat2(
  path: PathLike,
  how?: OpenHow,
  options?: AtOptions & { readonly into?: undefined },
): Op<number>;
export function openat2(
  path: PathLike,
  { flags = 'r', mode, resolve = 0 }: OpenHow = {},
  { dirfd, into }: OpenAtOptions = {},
): Op<number> | Op<DirectDescriptor> {
  const kept = keptPath(path);
  const bits = openFlags(flags);
  const creates = (bits & O_CREAT) !== 0 || (bits & O_TMPFILE) === O_TMPFILE;
  const permissions = fileMode(mode ?? (creates ? 0o666 : 0));
  checkInteger('how.resolve', resolve, 0, 0x7fff_ffff);
  if (into === undefined) return new OpenAt2(OPEN2_FD, kept, dirfd, bits, permissions, resolve);
  return openInto(new OpenAt2(OPEN2_DIRECT, kept, dirfd, bits, permissions, resolve), into);
}
