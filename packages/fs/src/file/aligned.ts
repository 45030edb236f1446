import { addressOf, type Bytes, lengthOf, UNSTABLE } from '@ouro/runtime/driver';
import type { Alignment } from '../op/direct-align.ts';
import { CURRENT } from '../position.ts';

function refused(name: string, must: string, received: string): TypeError {
  const message = `The argument '${name}' ${must} for direct I/O on this file. Received ${received}`;
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' });
}

/** Checks a stretch that is read in pieces of direct I/O. @throws TypeError with `code: 'ERR_INVALID_ARG_VALUE'` */
export function checkAlignedPieces({ offset }: Alignment, size: number, start: number, end: number): void {
  const whole = `must be a multiple of ${offset}`;
  if (size % offset !== 0) throw refused('options.size', whole, String(size));
  if (start !== CURRENT && start % offset !== 0) throw refused('options.start', whole, String(start));
  if (Number.isFinite(end) && end % offset !== 0) {
    throw refused('options.end', `must be 1 less than a multiple of ${offset}`, String(end - 1));
  }
}

/** Where the file stands is no place to begin at. */
export function unalignedPosition({ offset }: Alignment, position: number): TypeError {
  return refused('position', `must be a multiple of ${offset}`, String(position));
}

/** Refuses what direct I/O cannot do. */
export function refuseDirect(alignment: Alignment | null, what: string): void {
  if (alignment === null) return;
  throw Object.assign(new TypeError(`${what} is not for files opened with { direct: true }`), {
    code: 'ERR_INVALID_STATE',
  });
}

/**
 * Checks memory and position of direct I/O, of which the kernel would say no more than EINVAL.
 * @param position byte of the file, or `CURRENT`
 * @throws TypeError with `code: 'ERR_INVALID_ARG_VALUE'`
 */
export function checkAligned(
  { memory, offset }: Alignment,
  name: string,
  views: readonly Bytes[],
  position: number,
): void {
  for (const view of views) {
    const address = addressOf(view);
    if (address === UNSTABLE) {
      throw refused(name, 'must be memory that stays in place (no resizable buffer)', 'memory that may move');
    }
    if (address % memory !== 0) {
      const hint = `must begin at an address that is a multiple of ${memory} (buffers of a BufferPool do)`;
      throw refused(name, hint, `0x${address.toString(16)}`);
    }
    const length = lengthOf(view);
    if (length % offset !== 0) {
      throw refused(name, `must be a multiple of ${offset} bytes long`, `${length} bytes`);
    }
  }
  if (position !== CURRENT && position % offset !== 0) {
    throw refused('position', `must be a multiple of ${offset}`, String(position));
  }
}
