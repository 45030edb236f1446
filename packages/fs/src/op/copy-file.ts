import { EAGAIN, OURO_OP_COPY_FILE } from '@ouro/native/abi';
import { type Op, opKind } from '@ouro/runtime/driver';
import { TwoPathOp } from './path-op.ts';

/** Bytes of the longest file that is copied in one go, which takes a thread some 50 µs: what is longer can be cancelled in between. */
const SMALL = 131_072;

/** The result where it is no such file, and nothing has been changed. */
export const NOT_SMALL = -1;

const COPY_FILE = opKind<number>('copyfile', {
  passes: EAGAIN,
  decode: (result) => (result === EAGAIN ? NOT_SMALL : result),
});

/**
 * Copies a regular file of up to 128 KiB that has no holes, in one thread and one go, with its permissions. Resolves to the bytes
 * copied (0 if both are the same file), `NOT_SMALL` if it is no such file or the target is no regular one.
 *
 * @param source, target checked by `keptPath`
 * @param flags `COPY_FILE_*` bits
 */
export function copySmall(source: string | Buffer, target: string | Buffer, flags: number): Op<number> {
  const op = new TwoPathOp(COPY_FILE, OURO_OP_COPY_FILE, source, target, flags);
  op.len = SMALL;
  return op;
}
