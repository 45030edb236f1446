/** The content of the files, by a rule that load/uring_files.c knows as well. */
export const BLOCK = 4096;

/** What file number `file` holds. */
export function expected(file: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  for (let offset = 0; offset < size; offset++) bytes[offset] = file * 31 + offset * 7 + (offset >> 8) * 13;
  return bytes;
}

/** Blocks that begin with their own number, little-endian. */
export function numberedBlocks(count: number): Buffer {
  const bytes = Buffer.alloc(count * BLOCK);
  for (let block = 0; block < count; block++) bytes.writeUInt32LE(block, block * BLOCK);
  return bytes;
}
