import { OURO_OP_FLOCK } from '@ouro/native/abi';
import { checkInteger, nothing, Op, opKind, type Target } from '@ouro/runtime/driver';
import { onFile } from './own.ts';

const FLOCK = opKind<void>('flock', { decode: nothing, endsWithHandle: true });

const MOST_BITS = 15;

/**
 * `flock(2)`: takes a lock of an open file, or gives it back. The lock is that of the opening, whoever has descriptors of it, and goes
 * with the last of these; it binds only those who ask for it.
 *
 * Without `LOCK_NB` it waits until the lock is free, and can be cancelled. The kernel tells nobody when that is: it is looked at
 * every 20 ms at least.
 *
 * @param operation `LOCK_SH`, `LOCK_EX` or `LOCK_UN`, with `LOCK_NB` not to wait
 * @throws `EAGAIN` (with `LOCK_NB`: somebody else has it), `EINVAL`, `ENOLCK`
 */
export function flock(fd: Target, operation: number): Op<void> {
  checkInteger('operation', operation, 0, MOST_BITS);
  return onFile(new Op(FLOCK, OURO_OP_FLOCK, 0, 0, operation), fd);
}
