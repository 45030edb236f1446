import { AT_EMPTY_PATH, IORING_OP_STATX, STATX_BASIC_STATS, STATX_BTIME } from '@ouro/native/abi';
import { Op, opKind, reactor, scratchOffset, type Target } from '@ouro/runtime/driver';
import { INLINE_PATH } from '../path.ts';
import { Stats } from '../stats.ts';

/** Where in the slot's scratch the kernel puts `struct statx`: behind the path. */
const ANSWER_AT = INLINE_PATH;

const FSTAT = opKind<Stats>('fstat', {
  decode: (_result, _op, slot) => new Stats(reactor().scratch(slot).bytes, scratchOffset(slot) + ANSWER_AT),
});

class FStat extends Op<Stats> {
  override place(slot: number): void {
    const r = reactor();
    r.scratch(slot).bytes[scratchOffset(slot)] = 0; // the empty path: fd itself
    this.addr = r.scratchAddress(slot);
    this.off = this.addr + ANSWER_AT;
  }
}

/** `statx(2)` of an open file (5.6). The kernel answers it from a thread of its own. */
export function fstat(fd: Target): Op<Stats> {
  const op = new FStat(FSTAT, IORING_OP_STATX, 0, 0, STATX_BASIC_STATS | STATX_BTIME, AT_EMPTY_PATH);
  return op.on(fd);
}
