import type { Reactor } from './reactor.ts';
import { scratchOffset } from './slots.ts';

const NS_PER_MS = 1_000_000;
const NS_PER_S = 1_000_000_000;

/**
 * Writes a `struct __kernel_timespec` (two 64-bit words, little-endian as all that Node runs on) into a slot's scratch
 * and returns its address. The kernel reads it when the op is submitted.
 *
 * @param at byte of the scratch, a multiple of 8
 */
export function placeTimespec(r: Reactor, slot: number, ms: number, at = 0): number {
  const { words } = r.scratch(slot);
  const word = (scratchOffset(slot) + at) >> 2;
  const ns = Math.round(ms * NS_PER_MS);
  const seconds = Math.floor(ns / NS_PER_S);
  words[word] = seconds;
  words[word + 1] = 0;
  words[word + 2] = ns - seconds * NS_PER_S;
  words[word + 3] = 0;
  return r.scratchAddress(slot) + at;
}
