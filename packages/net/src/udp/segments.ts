import { EINVAL, EIO, EMSGSIZE, EOPNOTSUPP, IPPROTO_UDP, UDP_SEGMENT } from '@ouro/native/abi';
import { reactor } from '@ouro/runtime/driver';
import type { Parts } from '../op/msghdr.ts';

/** The most datagrams that the kernel makes of one send (`UDP_MAX_SEGMENTS`). */
const MOST_SEGMENTS = 64;
/** The most bytes of one send: what fits an IP packet behind the longest headers. */
const MOST_BYTES = 65_535 - 40 - 8;

let offloads: boolean | undefined;

/** Whether the kernel splits what is sent (`UDP_SEGMENT`, 4.18). Asked once. */
export function splits(fd: number): boolean {
  offloads ??= reactor().addon.getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT) >= 0;
  return offloads;
}

/**
 * What says that the kernel does not split this: the network device cannot, or the segments are longer than the path takes in
 * one packet. As datagrams of their own they may go all the same. Nothing has been sent then.
 */
const REFUSALS = new Set([EINVAL, EIO, EMSGSIZE, EOPNOTSUPP]);

/** Whether a send failed because the kernel does not split what it was given. */
export function mustSplit(error: unknown): boolean {
  return error instanceof Error && 'errno' in error && REFUSALS.has(error.errno as number);
}

/** Cuts bytes into stretches of `size`; the last one may be shorter. */
export function cut(parts: Parts, size: number): Parts[] {
  const { iovecs, hold, total } = parts;
  if (total <= size) return [parts];
  const pieces: Parts[] = [];
  const current: number[] = [];
  let filled = 0;
  for (let i = 0; i < iovecs.length; i += 2) {
    let address = iovecs[i];
    let length = iovecs[i + 1];
    while (length > 0) {
      const part = Math.min(length, size - filled);
      current.push(address, part);
      filled += part;
      address += part;
      length -= part;
      if (filled === size) {
        pieces.push({ iovecs: current.splice(0), hold, total: filled });
        filled = 0;
      }
    }
  }
  if (filled > 0) pieces.push({ iovecs: current, hold, total: filled });
  return pieces;
}

/** Bytes of one send that the kernel splits into segments of `segmentSize`. */
export function splitSize(segmentSize: number): number {
  return Math.max(1, Math.min(MOST_SEGMENTS, Math.floor(MOST_BYTES / segmentSize))) * segmentSize;
}
