import { IPPROTO_UDP, UDP_GRO, UDP_SEGMENT } from '@ouro/native/abi';
import { reactor, scratchOffset, TIMEOUT_AT } from '@ouro/runtime/driver';
import { NAME_BYTES } from '../peers.ts';

// A `struct msghdr` and all that it refers to, in a slot's scratch.
// struct msghdr: name, namelen, iov, iovlen, control, controllen, flags
const MSGHDR_BYTES = 56;
const NAME = 0;
const NAME_LENGTH = 8;
const IOV = 16;
const IOV_LENGTH = 24;
const CONTROL = 32;
const CONTROL_LENGTH = 40;
const FLAGS = 48;
const NAME_AT = 64;
const CONTROL_AT = 96;
const IOV_AT = 128;
const IOVEC_BYTES = 16;

// struct cmsghdr: len (8 bytes), level, type; then the value
const CMSG_LEVEL = 8;
const CMSG_TYPE = 12;
const CMSG_VALUE = 16;
const CMSG_ALIGN = 8;
/** Bytes of one control message with a number of up to 8 bytes. */
export const CONTROL_BYTES: number = CMSG_VALUE + CMSG_ALIGN;

/** The most stretches of memory of one datagram that fit there. */
export const MOST_PARTS: number = (TIMEOUT_AT - IOV_AT) / IOVEC_BYTES;

/** Where in the scratch there is room behind a message of one stretch, and how much: a short datagram may lie there itself. */
export const INLINE_AT: number = IOV_AT + IOVEC_BYTES;
export const MOST_INLINE: number = TIMEOUT_AT - INLINE_AT;

const TWO_32 = 2 ** 32;

// Through words, not the Buffer's methods: this is done for each datagram.
function pointer(words: Uint32Array, at: number, value: number): void {
  words[at >> 2] = value;
  words[(at >> 2) + 1] = value / TWO_32;
}

/** A header without name and control messages for these stretches, address and length each, at `at`. */
function place(words: Uint32Array, at: number, address: number, iovecs: readonly number[]): void {
  words.fill(0, at >> 2, (at + MSGHDR_BYTES) >> 2);
  pointer(words, at + IOV, address + IOV_AT);
  words[(at + IOV_LENGTH) >> 2] = iovecs.length / 2;
  for (let i = 0; i < iovecs.length; i++) pointer(words, at + IOV_AT + i * 8, iovecs[i]);
}

/**
 * Writes a message to send into the scratch of `slot`, and returns where it is.
 *
 * @param iovecs address and length of each stretch, one after the other
 * @param segmentSize bytes of each of the datagrams that the kernel makes of it (`UDP_SEGMENT`, 4.18); 0 for one
 */
export function placeToSend(
  slot: number,
  sockaddr: Uint8Array | null,
  iovecs: readonly number[],
  segmentSize: number,
): number {
  const r = reactor();
  const { bytes, words } = r.scratch(slot);
  const at = scratchOffset(slot);
  const address = r.scratchAddress(slot);
  place(words, at, address, iovecs);
  if (sockaddr !== null) {
    bytes.set(sockaddr, at + NAME_AT);
    pointer(words, at + NAME, address + NAME_AT);
    words[(at + NAME_LENGTH) >> 2] = sockaddr.length;
  }
  if (segmentSize > 0) {
    const control = at + CONTROL_AT;
    pointer(words, at + CONTROL, address + CONTROL_AT);
    words[(at + CONTROL_LENGTH) >> 2] = CONTROL_BYTES;
    pointer(words, control, CMSG_VALUE + 2);
    words[(control + CMSG_LEVEL) >> 2] = IPPROTO_UDP;
    words[(control + CMSG_TYPE) >> 2] = UDP_SEGMENT;
    pointer(words, control + CMSG_VALUE, segmentSize); // 16 bits of it count
  }
  return address;
}

/** Writes room for a message into the scratch of `slot`, and returns where it is. */
export function placeToReceive(slot: number, data: number, length: number, control: boolean): number {
  const r = reactor();
  const { words } = r.scratch(slot);
  const at = scratchOffset(slot);
  const address = r.scratchAddress(slot);
  place(words, at, address, [data, length]);
  pointer(words, at + NAME, address + NAME_AT);
  words[(at + NAME_LENGTH) >> 2] = NAME_BYTES;
  if (control) {
    pointer(words, at + CONTROL, address + CONTROL_AT);
    words[(at + CONTROL_LENGTH) >> 2] = CONTROL_BYTES;
  }
  return address;
}

/** What the kernel has written into the message of `slot`. */
export interface Told {
  readonly memory: Buffer;
  readonly nameAt: number;
  readonly nameLength: number;
  readonly segmentSize: number;
  readonly flags: number;
}

/** Reads that, as long as the slot is still the op's. */
export function readReceived(slot: number): Told {
  const memory = reactor().scratch(slot).bytes;
  const at = scratchOffset(slot);
  return {
    memory,
    nameAt: at + NAME_AT,
    nameLength: Math.min(memory.readUInt32LE(at + NAME_LENGTH), NAME_BYTES),
    segmentSize: segmentSizeOf(memory, at + CONTROL_AT, memory.readUInt32LE(at + CONTROL_LENGTH)),
    flags: memory.readUInt32LE(at + FLAGS),
  };
}

/** What `UDP_GRO` says among control messages: the size of the datagrams that were put together, 0 for a single one. */
export function segmentSizeOf(memory: Buffer, at: number, length: number): number {
  const end = at + length;
  let next = at;
  while (next + CMSG_VALUE + 4 <= end) {
    const bytes = memory.readUInt32LE(next);
    const ours = memory.readUInt32LE(next + CMSG_LEVEL) === IPPROTO_UDP;
    if (ours && memory.readUInt32LE(next + CMSG_TYPE) === UDP_GRO)
      return memory.readInt32LE(next + CMSG_VALUE);
    if (bytes < CMSG_VALUE) break;
    next += Math.ceil(bytes / CMSG_ALIGN) * CMSG_ALIGN;
  }
  return 0;
}
