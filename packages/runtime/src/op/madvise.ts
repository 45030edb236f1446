import { readFileSync } from 'node:fs';
import {
  AT_PAGESZ,
  IORING_OP_MADVISE,
  MADV_COLD,
  MADV_HUGEPAGE,
  MADV_NOHUGEPAGE,
  MADV_NORMAL,
  MADV_PAGEOUT,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  MADV_RANDOM,
  MADV_SEQUENTIAL,
  MADV_WILLNEED,
} from '@ouro/native/abi';
import { checkInteger, invalidType, outOfRange } from '../base/errors.ts';
import { type Bytes, lengthOf } from '../base/view.ts';
import { addressOf, checkBytes, UNSTABLE } from '../memory/pin.ts';
import { nothing, Op, opKind } from '../operation/op.ts';

/** What changes no contents. `MADV_DONTNEED`, `MADV_FREE` and the like would empty pages that others use as well. */
const HARMLESS: ReadonlySet<number> = new Set([
  MADV_NORMAL,
  MADV_RANDOM,
  MADV_SEQUENTIAL,
  MADV_WILLNEED,
  MADV_HUGEPAGE,
  MADV_NOHUGEPAGE,
  MADV_COLD,
  MADV_PAGEOUT,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
]);

let pageBytes = 0;

/** Bytes of a page, from the auxiliary vector: pairs of 64-bit words. */
function pageSize(): number {
  if (pageBytes === 0) {
    const vector = readFileSync('/proc/self/auxv');
    for (let at = 0; at + 16 <= vector.length; at += 16) {
      if (vector.readUInt32LE(at) === AT_PAGESZ) pageBytes = vector.readUInt32LE(at + 8);
    }
  }
  return pageBytes;
}

const MADVISE = opKind<void>('madvise', { decode: nothing });

/**
 * `madvise(2)` (5.6): tells the kernel what will be done with memory. It concerns the whole pages that lie within the view;
 * of a view that holds none, nothing.
 *
 * Fails with EINVAL for advice that the kernel does not know or cannot give this memory, ENOMEM where pages cannot be had.
 *
 * @param advice one of the `MADV_*` that leave the contents as they are
 * @throws TypeError if the view is detached or its memory may move (a resizable ArrayBuffer); RangeError for other advice
 */
export function madvise(view: Bytes, advice: number): Op<void> {
  checkBytes('view', view);
  checkInteger('advice', advice, 0, 0x7fff_ffff);
  if (!HARMLESS.has(advice))
    throw outOfRange('advice', 'advice that leaves the contents as they are', advice);
  const address = addressOf(view);
  if (address === UNSTABLE) throw invalidType('view', 'a view of memory that stays in place', view);
  const page = pageSize();
  const from = Math.ceil(address / page) * page;
  const to = Math.floor((address + lengthOf(view)) / page) * page;
  const length = Math.max(0, to - from);
  if (length > 0xffff_ffff) throw outOfRange('view.byteLength', 'less than 4 GiB', length);
  const op = new Op(MADVISE, IORING_OP_MADVISE, 0, from, length, advice);
  op.hold = view;
  return op;
}
