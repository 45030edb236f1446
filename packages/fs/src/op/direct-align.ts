import { AT_EMPTY_PATH, IORING_OP_STATX, STATX_DIOALIGN } from '@ouro/native/abi';
import { type Op, type OpKind, opKind, reactor, scratchOffset, type Target } from '@ouro/runtime/driver';
import { INLINE_PATH } from '../path.ts';
import { PathOp } from './path-op.ts';

/** What a file that is open for direct I/O asks of buffers and positions, in bytes. */
export interface Alignment {
  /** The address of a buffer is a multiple of it. */
  readonly memory: number;
  /** Positions and lengths are. */
  readonly offset: number;
}

/** Where nobody says: enough for any device there is. */
const ANYWHERE: Alignment = { memory: 4096, offset: 4096 };

// struct statx
const MASK_AT = 0;
const MEMORY_AT = 152;
const OFFSET_AT = 156;

const ALIGN: OpKind<Alignment> = opKind('fstat', {
  decode: (_result, _op, slot) => {
    const { bytes } = reactor().scratch(slot);
    const at = scratchOffset(slot) + INLINE_PATH;
    const memory = bytes.readUInt32LE(at + MEMORY_AT);
    const offset = bytes.readUInt32LE(at + OFFSET_AT);
    const told = (bytes.readUInt32LE(at + MASK_AT) & STATX_DIOALIGN) !== 0;
    // Zero is a file that goes through the page cache all the same.
    return told && memory > 0 && offset > 0 ? { memory, offset } : ANYWHERE;
  },
});

class DirectAlign extends PathOp<Alignment> {
  override place(slot: number): void {
    super.place(slot);
    this.off = reactor().scratchAddress(slot) + INLINE_PATH;
  }
}

/** What direct I/O on an open file asks for: `statx(2)` with `STATX_DIOALIGN` (6.1); 4096 where the file system does not tell. */
export function directAlign(fd: Target): Op<Alignment> {
  const op = new DirectAlign(ALIGN, IORING_OP_STATX, '', undefined, STATX_DIOALIGN, AT_EMPTY_PATH);
  op.detail = null;
  return op.on(fd);
}
