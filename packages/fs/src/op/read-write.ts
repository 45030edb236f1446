import { MAX_RW_COUNT } from '@ouro/native/abi';
import { type Bytes, checkBytes, checkInteger, type Op, pinned, type Target } from '@ouro/runtime/driver';
import { checkPosition, type Position } from '../position.ts';
import { read as readInto, write as writeFrom } from './transfer.ts';

/** How bytes are moved. */
export interface MoveOptions {
  /** `RWF_*` bits for this one op (`preadv2(2)`). `RWF_HIPRI` needs a ring that polls, else `EINVAL`. @default 0 */
  readonly flags?: number | undefined;
}

/** The flags of a move, checked. */
export function moveFlags({ flags = 0 }: MoveOptions): number {
  checkInteger('options.flags', flags, 0, 0x7fff_ffff);
  return flags;
}

function limited(op: Op<number>, flags: number): Op<number> {
  // What is longer would lose its high bits in the queue; the kernel moves no more at once anyway.
  op.len = Math.min(op.len, MAX_RW_COUNT);
  op.opFlags = flags;
  return op;
}

/**
 * `pread(2)` (5.6); into a registered buffer by itself `READ_FIXED`. What it brings may be less than `buffer` takes: 0 at
 * the end of the file. `File.read` does the same.
 *
 * @param buffer belongs to the op until that is done
 * @param position byte of the file; null or nothing for its current position, and for what has none
 * @throws `EBADF`, `EISDIR`, `ESPIPE`…; with `RWF_NOWAIT` `EAGAIN` where it would have to wait
 */
export function read(fd: Target, buffer: Bytes, position?: Position, options: MoveOptions = {}): Op<number> {
  checkBytes('buffer', buffer);
  const from = checkPosition(position);
  const flags = moveFlags(options);
  return limited(readInto(fd, buffer, from), flags);
}

/**
 * `pwrite(2)` (5.6); from a registered buffer by itself `WRITE_FIXED`. It may write less than all: `File.write` goes on
 * then.
 *
 * @param buffer belongs to the op until that is done
 * @param position byte of the file; null or nothing for its current position, and for what has none
 * @throws `EBADF`, `ENOSPC`, `EFBIG`, `EPIPE`…; with `RWF_NOWAIT` `EAGAIN` where it would have to wait
 */
export function write(fd: Target, buffer: Bytes, position?: Position, options: MoveOptions = {}): Op<number> {
  checkBytes('buffer', buffer);
  const to = checkPosition(position);
  const flags = moveFlags(options);
  return limited(writeFrom(fd, pinned(buffer), to), flags);
}
