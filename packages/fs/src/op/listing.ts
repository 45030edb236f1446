import { OURO_OP_LIST_DIRECTORY, OURO_OP_SWEEP_DIRECTORY } from '@ouro/native/abi';
import { Op, opKind, reactor, systemError, type Target } from '@ouro/runtime/driver';
import type { NameEncoding } from '../encoding.ts';
import { Stats } from '../stats.ts';
import { onFile } from './own.ts';
import { PathOp } from './path-op.ts';

// Whole directories in one go: their names (with what `statx` says of each) or the removal of what is in them, in a thread of the pool.
// One statx on the ring costs a thread of the kernel and two changes between threads; here they are calls in a row.

/** Memory of ours that an op fills with a listing: no script sees it. */
export type ListingMemory = Buffer;

const LIST = opKind<void>('scandir', { decode: () => undefined, endsWithHandle: true });

/** Bytes of the answer. */
const LIST_ALL = opKind<number>('scandir');

const SWEEP = opKind<void>('unlink', {
  decode: () => undefined,
  error: (errno, op) => {
    const { memory, parentPath } = op as Sweep;
    // What could not be removed stands there alone.
    let path: string | undefined;
    if (memory.readUInt32LE(0) === 1) {
      forEachEntry(memory, 'utf8', (name) => {
        path = `${parentPath()}/${name}`;
      });
    }
    // Else it was the directory that could not be read.
    return path === undefined
      ? systemError(errno, 'scandir', { path: parentPath() })
      : systemError(errno, 'unlink', { path });
  },
});

/** Bits of `listDirectory`. */
export const LIST_STATS = 1;
export const LIST_FOLLOW = 2;
const LIST_PATH = 4;
const LIST_NAMES = 8;

/**
 * Fills `memory` with the next names of an open directory (`getdents64(2)`), and with what `statx(2)` says of each. What file systems do
 * not tell of the type is found out. Each call goes on where the last one has ended.
 *
 * @param flags `LIST_STATS`; with `LIST_FOLLOW` those of what links lead to, unless they lead nowhere
 */
export function listDirectory(
  fd: Target,
  memory: ListingMemory,
  flags: number,
  path?: string | Buffer,
): Op<void> {
  const op = new Op(LIST, OURO_OP_LIST_DIRECTORY, addressOfOurs(memory), 0, memory.length, flags);
  op.hold = memory;
  if (path !== undefined) op.detail = { path };
  return onFile(op, fd);
}

class ListPath extends PathOp<number> {
  readonly #memory: ListingMemory;

  constructor(path: string | Buffer, memory: ListingMemory, dirfd: Target | undefined, flags: number) {
    super(LIST_ALL, OURO_OP_LIST_DIRECTORY, path, dirfd, memory.length, flags);
    this.off = addressOfOurs(memory);
    this.#memory = memory;
  }

  override place(slot: number): void {
    super.place(slot);
    this.hold = [this.#memory, this.hold];
  }
}

/**
 * Opens a directory, fills `memory` with as many of its names as that takes, and closes it, in one go. If that was the last of them they
 * are in the order of their bytes.
 *
 * @param bare nothing but names, for `bareNames`
 * @returns bytes filled
 */
export function listPath(
  path: string | Buffer,
  memory: ListingMemory,
  dirfd: Target | undefined,
  bare: boolean,
): Op<number> {
  return new ListPath(path, memory, dirfd, bare ? LIST_PATH | LIST_NAMES : LIST_PATH);
}

/** What `listPath` has found. @param filled bytes */
export function bareNames(memory: ListingMemory, filled: number): string[] {
  // One string for all of them: to make each from bytes of its own takes ten times as long.
  return memory.readUInt32LE(0) === 0 ? [] : memory.toString('utf8', HEAD, filled).split('/');
}

class Sweep extends Op<void> {
  readonly memory: ListingMemory;
  readonly parentPath: () => string;

  constructor(memory: ListingMemory, parentPath: () => string) {
    super(SWEEP, OURO_OP_SWEEP_DIRECTORY, addressOfOurs(memory), 0, memory.length, 0);
    memory.fill(0, 0, HEAD);
    this.memory = memory;
    this.parentPath = parentPath;
    this.hold = memory;
  }
}

/**
 * Removes what is in an open directory and is no directory itself, 1,024 names or a few more at most; `memory` gets the names of the
 * directories among them.
 *
 * @param parentPath the path of the directory, for errors
 * @throws what `unlink` throws, with the path of what could not be removed
 */
export function sweepDirectory(fd: Target, memory: ListingMemory, parentPath: () => string): Op<void> {
  return onFile(new Sweep(memory, parentPath), fd);
}

function addressOfOurs(memory: ListingMemory): number {
  return reactor().addon.addressOf(memory);
}

const HEAD = 8;
const ENTRY = 8;
const STAT = 144;

/** Whether a listing was the last one of its directory. */
export function isLast(memory: ListingMemory): boolean {
  return memory.readUInt32LE(4) !== 0;
}

/** What takes one entry of a listing. */
export type EachEntry = (
  name: string | Buffer,
  /** `DT_*` */
  type: number,
  /** Null where none was asked for, or to be had. */
  stats: Stats | null,
  /** Why there is none: below zero; 0 for no reason. */
  errno: number,
  /** Where the bytes of the name are: valid during the call. */
  at: number,
  length: number,
) => void;

/** Calls `each` for what a listing says. */
export function forEachEntry(memory: ListingMemory, encoding: NameEncoding, each: EachEntry): void {
  const count = memory.readUInt32LE(0);
  let at = HEAD;
  for (let i = 0; i < count; i++) {
    const length = memory.readUInt16LE(at);
    const type = memory[at + 2];
    const hasStats = memory[at + 3] !== 0;
    const errno = -memory.readInt32LE(at + 4);
    at += ENTRY;
    const stats = hasStats ? new Stats(memory, at) : null;
    if (hasStats) at += STAT;
    const name =
      encoding === 'buffer'
        ? Buffer.from(memory.subarray(at, at + length))
        : memory.toString(encoding, at, at + length);
    each(name, type, stats, errno, at, length);
    at = (at + length + 7) & ~7;
  }
}
