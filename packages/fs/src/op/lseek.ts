import { OURO_OP_LSEEK, SEEK_HOLE } from '@ouro/native/abi';
import { checkInteger, Op, opKind, reactor, scratchOffset, type Target } from '@ouro/runtime/driver';
import { onFile } from './own.ts';

const LSEEK = opKind<number>('lseek', {
  decode: (_result, _op, slot) => {
    // A completion has 32 bits, a position more.
    const { words } = reactor().scratch(slot);
    const at = scratchOffset(slot) >> 2;
    return words[at] + words[at + 1] * 2 ** 32;
  },
});

class Lseek extends Op<number> {
  override place(slot: number): void {
    this.addr = reactor().scratchAddress(slot);
  }
}

/**
 * `lseek(2)`: moves the current position of a file, and resolves to it. With `SEEK_DATA` and `SEEK_HOLE`: to where the next stretch
 * with data begins, or the next hole; the end of the file counts as one.
 *
 * @param whence `SEEK_SET`, `SEEK_CUR`, `SEEK_END`, `SEEK_DATA`, `SEEK_HOLE`
 * @throws `ENXIO` (no data behind `offset`, or that is beyond the end), `ESPIPE` (a pipe), `EINVAL`
 */
export function lseek(fd: Target, offset: number, whence: number): Op<number> {
  checkInteger('offset', offset, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  checkInteger('whence', whence, 0, SEEK_HOLE);
  return onFile(new Lseek(LSEEK, OURO_OP_LSEEK, offset, 0, whence), fd);
}
