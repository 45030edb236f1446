import { checkInteger, invalidType, outOfRange } from './errors.ts';

/** Where an op begins: a byte of the file, or null for the file's current position. */
export type Position = number | bigint | null;

/** In the place of a position: the current one of the file, kept by the kernel; also for what has none, as pipes. */
export const CURRENT = -1;

/** Checks a position; null and nothing are `CURRENT`. */
export function checkPosition(position: Position | undefined, name = 'position'): number {
  if (position === undefined || position === null) return CURRENT;
  if (typeof position === 'bigint') {
    if (position < 0n || position > Number.MAX_SAFE_INTEGER) {
      throw outOfRange(name, `>= 0 && <= ${Number.MAX_SAFE_INTEGER}`, position);
    }
    return Number(position);
  }
  if (typeof position !== 'number') throw invalidType(name, 'of type number or bigint', position);
  checkInteger(name, position, 0, Number.MAX_SAFE_INTEGER);
  return position;
}
