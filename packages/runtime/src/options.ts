import { checkInteger, invalidType, outOfRange } from './errors.ts';

/** How the ring of a thread is set up. It exists from the first op on, so give these to the first `run`. */
export interface RunOptions {
  /**
   * Entries of the submission queue: a power of two from 8 to 32768. A full queue is flushed, never an error.
   * @default 256
   */
  readonly entries?: number | undefined;
  /**
   * Entries of the completion queue: a power of two from `entries` to 65536. More completions than that at once
   * are kept by the kernel and reaped too, only slower.
   * @default 4096, or `entries` if that is more
   */
  readonly cqEntries?: number | undefined;
}

/** `RunOptions` with every value in place. */
export interface RingConfig {
  readonly sqEntries: number;
  readonly cqEntries: number;
  readonly fixedFiles: number;
}

const DEFAULT_ENTRIES = 256;
const DEFAULT_CQ_ENTRIES = 4096;

function powerOfTwo(name: string, value: unknown, lowest: number, highest: number): number {
  checkInteger(name, value, lowest, highest);
  if ((value & (value - 1)) !== 0) throw outOfRange(name, 'a power of two', value);
  return value;
}

/** Checks the options and fills in the defaults. */
export function ringConfig(options: RunOptions = {}): RingConfig {
  if (typeof options !== 'object' || options === null)
    throw invalidType('options', 'of type object', options);
  const { entries = DEFAULT_ENTRIES, cqEntries } = options;
  const sqEntries = powerOfTwo('options.entries', entries, 8, 32768);
  return {
    sqEntries,
    fixedFiles: 1024,
    cqEntries:
      cqEntries === undefined
        ? Math.max(DEFAULT_CQ_ENTRIES, sqEntries)
        : powerOfTwo('options.cqEntries', cqEntries, sqEntries, 65536),
  };
}
