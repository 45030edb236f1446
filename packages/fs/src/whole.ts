import { constants as limits } from 'node:buffer';
import { constants } from 'node:fs';
import {
  asBytes,
  type Bytes,
  checkBytes,
  close,
  type Future,
  flow,
  invalidType,
  type OpOptions,
  reactor,
  type Steps,
  type SystemError,
} from '@ouro/runtime/driver';
import { toBytes } from './file.ts';
import { fileMode, type OpenFlags, openFlags } from './flags.ts';
import { openFd } from './op/open.ts';
import { CURRENT, read, write } from './op/transfer.ts';
import { truncate } from './op/truncate.ts';
import { checkPath, type PathLike } from './path.ts';

/** How `readFile` reads. */
export interface ReadFileOptions extends OpOptions {
  /** @default 'r' */
  readonly flag?: OpenFlags | number | undefined;
  /** Resolve to a string in this encoding. */
  readonly encoding?: BufferEncoding | null | undefined;
  /**
   * Memory of the caller's to read into; the result is a view of its beginning. Reused memory is several times
   * faster than new memory, whose pages the kernel has to find and clear first.
   */
  readonly buffer?: Bytes | undefined;
}

/** How `writeFile` writes. */
export interface WriteFileOptions extends OpOptions {
  /** @default 'w' */
  readonly flag?: OpenFlags | number | undefined;
  /** @default 0o666 */
  readonly mode?: number | string | undefined;
  /** Of `data`, if that is a string. @default 'utf8' */
  readonly encoding?: BufferEncoding | null | undefined;
}

const { O_APPEND, O_CREAT, O_EXCL, O_TRUNC } = constants;

/** First piece of a file whose size is not known; later ones double. */
const FIRST_PIECE = 16_384;
const MOST_PIECE = 4 << 20;

function checkEncoding(encoding: unknown): asserts encoding is BufferEncoding | null | undefined {
  if (encoding === undefined || encoding === null) return;
  if (typeof encoding !== 'string' || !Buffer.isEncoding(encoding)) {
    throw Object.assign(
      new TypeError(`The argument 'encoding' is invalid encoding. Received ${JSON.stringify(encoding)}`),
      { code: 'ERR_INVALID_ARG_VALUE' },
    );
  }
}

/**
 * Reads a whole file of any kind and size.
 *
 * @throws `ENOENT`, `EACCES`, `EISDIR` and so on; `ERR_OUT_OF_RANGE` if the file does not fit `options.buffer`;
 *   `ERR_FS_FILE_TOO_LARGE` if no Buffer can be that long
 */
export function readFile(
  path: PathLike,
  options: (ReadFileOptions & { readonly encoding: BufferEncoding }) | BufferEncoding,
): Future<string>;
export function readFile(
  path: PathLike,
  options?: (ReadFileOptions & { readonly encoding?: null | undefined }) | null,
): Future<Buffer>;
export function readFile(
  path: PathLike,
  options?: ReadFileOptions | BufferEncoding | null,
): Future<Buffer | string>;
export function readFile(
  path: PathLike,
  options?: ReadFileOptions | BufferEncoding | null,
): Future<Buffer | string> {
  const plain = checkPath(path);
  const given: ReadFileOptions = typeof options === 'string' ? { encoding: options } : (options ?? {});
  if (typeof given !== 'object') throw invalidType('options', 'of type string or an instance of Object', options);
  const { flag = 'r', encoding, buffer } = given;
  const bits = openFlags(flag);
  checkEncoding(encoding);
  if (buffer !== undefined) checkBytes('options.buffer', buffer);
  return flow<Buffer | string>(async (steps) => {
    const fd = await steps.step(openFd(plain, bits, 0o666));
    let content: Buffer;
    try {
      const size = reactor().addon.sizeHint(fd);
      if (buffer !== undefined) content = await readInto(steps, fd, size, buffer);
      else if (size > 0) content = await readSized(steps, fd, size);
      else content = await readUnsized(steps, fd);
    } finally {
      await close(fd);
    }
    return encoding ? content.toString(encoding) : content;
  }, given);
}

/** Fills `target` until it is full or the file ends. */
async function fill(steps: Steps, fd: number, target: Buffer): Promise<number> {
  let filled = 0;
  while (filled < target.length) {
    const count = await steps.step(read(fd, target.subarray(filled), CURRENT));
    if (count === 0) break;
    filled += count;
  }
  return filled;
}

async function readInto(steps: Steps, fd: number, size: number, buffer: Bytes): Promise<Buffer> {
  const bytes = asBytes(buffer);
  const target = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (size > target.length) throw tooSmall(size, target.length);
  // A size that is known is read in one op. One that is not (0 is what /proc says) may be more than there is room.
  const wanted = size > 0 ? target.subarray(0, size) : target;
  const count = await fill(steps, fd, wanted);
  if (count === target.length && size !== count) {
    const more = await steps.step(read(fd, Buffer.allocUnsafeSlow(1), CURRENT));
    if (more !== 0) throw tooSmall(undefined, target.length);
  }
  return target.subarray(0, count);
}

function tooSmall(size: number | undefined, room: number): RangeError {
  return Object.assign(
    new RangeError(`The file has ${size === undefined ? 'more' : `${size} bytes, more`} than "options.buffer" (${room} bytes)`),
    { code: 'ERR_OUT_OF_RANGE' },
  );
}

async function readSized(steps: Steps, fd: number, size: number): Promise<Buffer> {
  if (size > limits.MAX_LENGTH) {
    throw Object.assign(
      new RangeError(`File size (${size}) is greater than the longest Buffer (${limits.MAX_LENGTH} bytes)`),
      { code: 'ERR_FS_FILE_TOO_LARGE' },
    );
  }
  // Not zeroed: the kernel fills it, and only what it filled is shown.
  const content = Buffer.allocUnsafeSlow(size);
  return content.subarray(0, await fill(steps, fd, content));
}

async function readUnsized(steps: Steps, fd: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let length = FIRST_PIECE; ; length = Math.min(length * 2, MOST_PIECE)) {
    const piece = Buffer.allocUnsafeSlow(length);
    const count = await fill(steps, fd, piece);
    pieces.push(piece.subarray(0, count));
    if (count < length) return pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces);
  }
}

/**
 * Writes a whole file. An existing file is written in place and cut to its new length afterwards, not emptied first:
 * on ext4 that is 8 to 14 times faster, because a file that was emptied is written out to the device when it is
 * closed. A crash in between leaves a mixture of old and new, where Node's way leaves an empty or half file.
 *
 * @throws `ENOENT`, `EACCES`, `EISDIR`, `ENOSPC` and so on
 */
export function writeFile(
  path: PathLike,
  data: Bytes | string,
  options?: WriteFileOptions | BufferEncoding | null,
): Future<void> {
  const plain = checkPath(path);
  const given: WriteFileOptions = typeof options === 'string' ? { encoding: options } : (options ?? {});
  if (typeof given !== 'object') throw invalidType('options', 'of type string or an instance of Object', options);
  const { flag = 'w', encoding } = given;
  checkEncoding(encoding);
  const bytes = typeof data === 'string' ? Buffer.from(data, encoding ?? 'utf8') : toBytes(data);
  const bits = openFlags(flag);
  const mode = fileMode(given.mode ?? 0o666);
  return flow(async (steps) => {
    const inPlace = (bits & O_TRUNC) !== 0 && (bits & (O_EXCL | O_APPEND)) === 0;
    const fd = await (inPlace ? openInPlace(steps, plain, bits, mode) : steps.step(openFd(plain, bits, mode)));
    try {
      if (bytes.byteLength > 0) await steps.step(write(fd, bytes, CURRENT));
      // Pipes and devices have no length to cut.
      if (inPlace && reactor().addon.sizeHint(fd) >= 0) await steps.step(truncate(fd, bytes.byteLength, null));
    } finally {
      await close(fd);
    }
  }, given);
}

/** Opens what is there without emptying it. With O_CREAT the kernel needs a thread of its own for every open. */
async function openInPlace(steps: Steps, path: string | Buffer, bits: number, mode: number): Promise<number> {
  const kept = bits & ~O_TRUNC;
  try {
    return await steps.step(openFd(path, kept & ~O_CREAT, mode));
  } catch (error) {
    if ((bits & O_CREAT) === 0 || (error as SystemError).code !== 'ENOENT') throw error;
    return await steps.step(openFd(path, kept, mode));
  }
}
