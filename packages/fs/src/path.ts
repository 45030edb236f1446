import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { invalidType, type Reactor, reactor, type ScratchChunk, scratchOffset } from '@ouro/runtime/driver';

/** A path as Node takes it: a string, bytes (names that are not UTF-8), or a `file:` URL. */
export type PathLike = string | Buffer | URL;

/** Bytes of a slot's scratch that hold a path and its terminator. What lies behind is the op's. */
export const INLINE_PATH = 256;

/** Checks a path and turns a URL into a string. */
export function checkPath(path: unknown, name = 'path'): string | Buffer {
  const plain = path instanceof URL ? fileURLToPath(path) : path;
  if (typeof plain !== 'string' && !Buffer.isBuffer(plain)) {
    throw invalidType(name, 'of type string or an instance of Buffer or URL', path);
  }
  if (typeof plain === 'string' ? plain.includes('\0') : plain.includes(0)) {
    throw Object.assign(
      new TypeError(
        `The argument '${name}' must be a string, Uint8Array, or URL without null bytes. Received ${inspect(plain)}`,
      ),
      { code: 'ERR_INVALID_ARG_VALUE' },
    );
  }
  return plain;
}

/** A path in memory that the kernel can read. */
export interface PlacedPath {
  readonly address: number;
  /** To be kept alive until the last CQE; null if the slot's scratch holds the path. */
  readonly hold: Buffer | null;
}

const INLINE_CHARACTERS = Math.floor((INLINE_PATH - 1) / 3);

/** Writes a path, zero-terminated, into the slot's scratch, or into memory of its own if it is too long for that. */
export function placePath(slot: number, path: string | Buffer): PlacedPath {
  const r = reactor();
  const fits = typeof path === 'string' ? path.length <= INLINE_CHARACTERS : path.length < INLINE_PATH;
  const bytes = typeof path === 'string' && !fits ? Buffer.from(path) : path;
  if (typeof bytes === 'string' || bytes.length < INLINE_PATH) {
    writeInline(r.scratch(slot), scratchOffset(slot), bytes);
    return { address: r.scratchAddress(slot), hold: null };
  }
  return placeApart(r, bytes);
}

function writeInline(chunk: ScratchChunk, at: number, path: string | Buffer): void {
  const end = typeof path === 'string' ? chunk.bytes.write(path, at) : path.copy(chunk.bytes, at);
  chunk.bytes[at + end] = 0;
}

function placeApart(r: Reactor, path: Buffer): PlacedPath {
  // Never shown to anybody, so nothing can detach it.
  const hold = Buffer.allocUnsafeSlow(path.length + 1);
  path.copy(hold);
  hold[path.length] = 0;
  return { address: r.addon.addressOf(hold), hold };
}
