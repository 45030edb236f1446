import { AT_EMPTY_PATH, OURO_OP_STATFS } from '@ouro/native/abi';
import { type Op, type OpKind, opKind, reactor, scratchOffset, type Target } from '@ouro/runtime/driver';
import { INLINE_PATH, keptPath, type PathLike } from '../path.ts';
import { onFile } from './own.ts';
import { type AtOptions, PathOp } from './path-op.ts';

/** What is known about a file system: the fields of Node's `StatsFs`. */
export interface StatFs<N extends number | bigint = number> {
  /** Its kind, by the magic number of `linux/magic.h`. */
  readonly type: N;
  /** Bytes of a block. */
  readonly bsize: N;
  readonly blocks: N;
  readonly bfree: N;
  /** Blocks that are free for everybody. */
  readonly bavail: N;
  /** Inodes. */
  readonly files: N;
  readonly ffree: N;
}

/** How the numbers are given. */
export interface StatFsOptions extends AtOptions {
  /** @default false */
  readonly bigint?: boolean | undefined;
}

/** Where in the slot's scratch `struct statfs` goes: behind the path. */
const ANSWER_AT = INLINE_PATH;

const STATFS: OpKind<StatFs> = opKind('statfs', { decode: (_result, _op, slot) => decode(slot, Number) });
const STATFS_BIGINT: OpKind<StatFs<bigint>> = opKind('statfs', {
  decode: (_result, _op, slot) => decode(slot, (value) => value),
});

/** Reads `struct statfs`, as 64-bit systems have it. */
function decode<N extends number | bigint>(slot: number, as: (value: bigint) => N): StatFs<N> {
  const { bytes } = reactor().scratch(slot);
  const field = (index: number): N => as(bytes.readBigUInt64LE(scratchOffset(slot) + ANSWER_AT + index * 8));
  return {
    type: field(0),
    bsize: field(1),
    blocks: field(2),
    bfree: field(3),
    bavail: field(4),
    files: field(5),
    ffree: field(6),
  };
}

class StatFsOp<N extends number | bigint> extends PathOp<StatFs<N>> {
  override place(slot: number): void {
    super.place(slot);
    this.off = reactor().scratchAddress(slot) + ANSWER_AT;
  }
}

function statFs<N extends number | bigint>(
  kind: OpKind<StatFs<N>>,
  target: PathLike | Target,
  dirfd: Target | undefined,
): Op<StatFs<N>> {
  if (typeof target === 'string' || target instanceof URL || Buffer.isBuffer(target)) {
    return new StatFsOp(kind, OURO_OP_STATFS, keptPath(target), dirfd, 0, 0);
  }
  const op: Op<StatFs<N>> = new StatFsOp(kind, OURO_OP_STATFS, '', undefined, 0, AT_EMPTY_PATH);
  op.detail = null;
  return onFile(op, target);
}

/**
 * `statfs(2)`: what is known about the file system that a path, or an open file, lies in.
 *
 * @throws `ENOENT`, `EACCES`, `ENOTDIR`…
 */
export function statfs(
  target: PathLike | Target,
  options: StatFsOptions & { readonly bigint: true },
): Op<StatFs<bigint>>;
export function statfs(
  target: PathLike | Target,
  options?: StatFsOptions & { readonly bigint?: false | undefined },
): Op<StatFs>;
export function statfs(
  target: PathLike | Target,
  { bigint = false, dirfd }: StatFsOptions = {},
): Op<StatFs> | Op<StatFs<bigint>> {
  return bigint ? statFs(STATFS_BIGINT, target, dirfd) : statFs(STATFS, target, dirfd);
}
