import { type Scratch, scratchOffset } from './slots.ts';

const MS_PER_S = 1000;
const NS_PER_MS = 1_000_000;
const MOST_NS = 999_999_999;

/**
 * Writes a `struct __kernel_timespec` (two 64-bit words, little-endian as all that Node runs on) into a slot's scratch
 * and returns its address. The kernel reads it when the op is submitted.
 *
 * @param at byte of the scratch, a multiple of 8
 */
export function placeTimespec(r: Scratch, slot: number, ms: number, at = 0): number {
  const { words } = r.scratch(slot);
  const word = (scratchOffset(slot) + at) >> 2;
  const seconds = Math.floor(ms / MS_PER_S);
  words[word] = seconds;
  words[word + 1] = 0;
  words[word + 2] = Math.min(Math.round((ms - seconds * MS_PER_S) * NS_PER_MS), MOST_NS);
  words[word + 3] = 0;
  return r.scratchAddress(slot) + at;
}
