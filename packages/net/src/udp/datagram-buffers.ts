import { BufferRing } from '@ouro/runtime/driver';
import { CONTROL_BYTES } from '../op/datagram-header.ts';
import { headOf, type Rooms } from '../op/recvmsg-out.ts';
import { NAME_BYTES } from '../peers.ts';

/** The longest datagram, and the most that the kernel puts together into one (`UDP_GRO`). */
export const MOST_DATAGRAM = 65_535;

/** What each receive asks for beside the bytes. The room for control data is there whether it is used or not. */
export const ROOMS: Rooms = { name: NAME_BYTES, control: CONTROL_BYTES };

/** Bytes of a buffer before those of the datagram. */
export const HEAD: number = headOf(ROOMS);

const SHARED = { entries: 256, initial: 64 } as const;

let shared: BufferRing | null | undefined;

/** A ring for datagrams of up to `bytes`; null where the kernel gives none (the limit of locked memory). */
export function datagramRing(bytes: number, entries: number, initial: number = entries): BufferRing | null {
  try {
    return new BufferRing({ entries, initial, size: HEAD + bytes, incremental: false });
  } catch {
    return null;
  }
}

/**
 * The buffers that all sockets of this thread share which copy what arrives: 64 that take any datagram, and when those run
 * out within one turn up to 256, which is 17 MB of addresses. Memory is what datagrams have been in: a page for each that
 * is small. Null where the kernel gives no ring for them: receive one by one.
 */
export function sharedBuffers(): BufferRing | null {
  if (shared === undefined) shared = datagramRing(MOST_DATAGRAM, SHARED.entries, SHARED.initial);
  return shared;
}
