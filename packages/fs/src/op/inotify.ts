import { OURO_OP_INOTIFY_ADD_WATCH, OURO_OP_INOTIFY_INIT, OURO_OP_INOTIFY_RM_WATCH } from '@ouro/native/abi';
import { checkInteger, nothing, Op, opKind, type Target } from '@ouro/runtime/driver';
import { keptPath, type PathLike, placePath } from '../path.ts';
import { ordinary } from './own.ts';

const INIT = opKind<number>('inotify_init1', { resultIsFd: true });
const ADD = opKind<number>('inotify_add_watch');
const REMOVE = opKind<void>('inotify_rm_watch', { decode: nothing });

/**
 * `inotify_init1(2)`: a descriptor that tells what happens to files, in records of `struct inotify_event` that the `read` op brings.
 * Yours to close with the `close` op; close-on-exec.
 *
 * @param flags `IN_NONBLOCK`, which no op of the ring needs @default 0
 * @throws `EMFILE` (`fs.inotify.max_user_instances`), `ENFILE`
 */
export function inotifyInit(flags = 0): Op<number> {
  checkInteger('flags', flags, 0, 0x7fff_ffff);
  return new Op(INIT, OURO_OP_INOTIFY_INIT, 0, 0, 0, flags);
}

class AddWatch extends Op<number> {
  readonly #path: string | Buffer;

  constructor(path: string | Buffer, mask: number) {
    super(ADD, OURO_OP_INOTIFY_ADD_WATCH, 0, 0, mask);
    this.#path = path;
    this.detail = { path };
  }

  override place(slot: number): void {
    const placed = placePath(slot, this.#path);
    this.addr = placed.address;
    this.hold = placed.hold;
  }
}

/**
 * `inotify_add_watch(2)`: begins to watch a file, or a directory and the names in it. Resolves to the number of the watch, which
 * events carry: the same as before for what is watched already. Relative to an open directory by `/proc/self/fd/N/…`.
 *
 * @param mask `IN_*` bits
 * @throws `ENOSPC` (`fs.inotify.max_user_watches`), `ENOENT`, `EACCES`, `ENOTDIR`, `EEXIST` (with `IN_MASK_CREATE`), `EINVAL`
 */
export function inotifyAddWatch(fd: Target, path: PathLike, mask: number): Op<number> {
  const kept = keptPath(path);
  checkInteger('mask', mask, 0, 0xffff_ffff);
  return new AddWatch(kept, mask).on(ordinary('fd', fd));
}

/** `inotify_rm_watch(2)`: ends a watch. @throws `EINVAL` for one that there is not */
export function inotifyRmWatch(fd: Target, watch: number): Op<void> {
  checkInteger('watch', watch, 0, 0x7fff_ffff);
  return new Op(REMOVE, OURO_OP_INOTIFY_RM_WATCH, 0, 0, watch).on(ordinary('fd', fd));
}
