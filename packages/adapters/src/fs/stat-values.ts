import { type StatKinds, statKinds } from '@ouro/fs/ops';

// What Node's code makes its Stats of: 18 numbers. Device, mode, links, user, group, device of a device, block size, inode, size,
// blocks; then seconds and nanoseconds of the times of access, change, change of the inode, birth.

/** Linux's `makedev`. */
function device(major: number, minor: number): number {
  const low = ((major & 0xfff) << 8) | (minor & 0xff);
  const high = Math.floor(minor / 256) * 2 ** 20 + Math.floor(major / 4096) * 2 ** 44;
  return high + low;
}

const quad = (bytes: Buffer, at: number): number =>
  bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;

const seconds = (bytes: Buffer, at: number): number =>
  bytes.readUInt32LE(at) + bytes.readInt32LE(at + 4) * 2 ** 32;

function numbers(bytes: Buffer, at: number): number[] {
  return [
    device(bytes.readUInt32LE(at + 136), bytes.readUInt32LE(at + 140)),
    bytes.readUInt16LE(at + 28),
    bytes.readUInt32LE(at + 16),
    bytes.readUInt32LE(at + 20),
    bytes.readUInt32LE(at + 24),
    device(bytes.readUInt32LE(at + 128), bytes.readUInt32LE(at + 132)),
    bytes.readUInt32LE(at + 4),
    quad(bytes, at + 32),
    quad(bytes, at + 40),
    quad(bytes, at + 48),
    seconds(bytes, at + 64),
    bytes.readUInt32LE(at + 72),
    seconds(bytes, at + 112),
    bytes.readUInt32LE(at + 120),
    seconds(bytes, at + 96),
    bytes.readUInt32LE(at + 104),
    seconds(bytes, at + 80),
    bytes.readUInt32LE(at + 88),
  ];
}

/** Where the numbers that may be longer than a double lie. */
const WIDE: readonly (readonly [index: number, at: number])[] = [
  [7, 32],
  [8, 40],
  [9, 48],
];

function bigints(bytes: Buffer, at: number): BigInt64Array {
  const values = new BigInt64Array(numbers(bytes, at).map(BigInt));
  for (const [index, field] of WIDE) values[index] = bytes.readBigInt64LE(at + field);
  return values;
}

export const STAT_NUMBERS: StatKinds<number[]> = statKinds(numbers);
export const STAT_BIGINTS: StatKinds<BigInt64Array> = statKinds(bigints);
