import { AT_EMPTY_PATH, IORING_OP_STATX, STATX_BASIC_STATS, STATX_BTIME } from '@ouro/native/abi';
import { Operation, type OpKind, reactor, scratchOffset, submit } from '@ouro/runtime/driver';
import { INLINE_PATH } from '../path.ts';
import { Stats } from '../stats.ts';

/** Where in the slot's scratch the kernel puts `struct statx`: behind the path. */
const ANSWER_AT = INLINE_PATH;

const FSTAT: OpKind<Stats> = {
  syscall: 'fstat',
  resultIsFd: false,
  decode: (_result, op) => new Stats(reactor().scratch(op.slot).bytes, scratchOffset(op.slot) + ANSWER_AT),
  error: null,
  endsWithHandle: false,
};

/** `statx(2)` of an open file (5.6). The kernel answers it from a thread of its own. */
export function fstat(fd: number): Operation<Stats> {
  const r = reactor();
  const op = new Operation<Stats>(FSTAT, null, null);
  const slot = r.take(op);
  r.scratch(slot).bytes[scratchOffset(slot)] = 0; // the empty path: fd itself
  const address = r.scratchAddress(slot);
  return submit(
    op,
    slot,
    IORING_OP_STATX,
    fd,
    address + ANSWER_AT,
    address,
    STATX_BASIC_STATS | STATX_BTIME,
    AT_EMPTY_PATH,
  );
}
