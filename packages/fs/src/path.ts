import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { asBytes, invalidType, reactor, scratchOffset } from '@ouro/runtime/driver';

/** A path as Node takes it: a string, bytes (names that are not UTF-8), or a `file:` URL. */
export type PathLike = string | Buffer | URL;

/** Bytes of a slot's scratch that hold a path and its terminator. What lies behind is the op's. */
export const INLINE_PATH = 240;
/** Where in the scratch a second path lies, which has as much room. */
export const SECOND_PATH: number = INLINE_PATH;

/** Checks a path and turns a URL into a string. */
export function checkPath(path: unknown, name = 'path'): string | Buffer {
  const plain = path instanceof URL ? fileURLToPath(path) : path;
  if (typeof plain !== 'string' && !(Buffer.isBuffer(plain) && ArrayBuffer.isView(plain))) {
    throw invalidType(name, 'of type string or an instance of Buffer or URL', path);
  }
  if (typeof plain === 'string' ? plain.includes('\0') : asBytes(plain).includes(0)) {
    throw Object.assign(
      new TypeError(
        `The argument '${name}' must be a string, Uint8Array, or URL without null bytes. Received ${inspect(plain)}`,
      ),
      { code: 'ERR_INVALID_ARG_VALUE' },
    );
  }
  return plain;
}

/**
 * `checkPath` for an op that may be queued later: bytes are copied, so that nobody can take or change them meanwhile.
 */
export function keptPath(path: unknown, name = 'path'): string | Buffer {
  const plain = checkPath(path, name);
  return typeof plain === 'string' ? plain : Buffer.from(asBytes(plain));
}

/** A path in memory that the kernel can read. */
export interface PlacedPath {
  readonly address: number;
  /** To be kept alive until the last CQE; null if the slot's scratch holds the path. */
  readonly hold: Buffer | null;
}

const INLINE_CHARACTERS = Math.floor((INLINE_PATH - 1) / 3);

/**
 * Writes a path, zero-terminated, into the slot's scratch, or into memory of its own if it is too long for that.
 *
 * @param offset where in the scratch: 0 or `SECOND_PATH`
 */
export function placePath(slot: number, path: string | Buffer, offset = 0): PlacedPath {
  const r = reactor();
  if (typeof path === 'string' && path.length <= INLINE_CHARACTERS) {
    const { bytes } = r.scratch(slot);
    const at = scratchOffset(slot) + offset;
    bytes[at + bytes.write(path, at)] = 0;
    return { address: r.scratchAddress(slot) + offset, hold: null };
  }
  // A view of our own: what the caller's says of its length is not believed.
  const source = typeof path === 'string' ? Buffer.from(path) : asBytes(path);
  if (source.length < INLINE_PATH) {
    const { bytes } = r.scratch(slot);
    const at = scratchOffset(slot) + offset;
    bytes.set(source, at);
    bytes[at + source.length] = 0;
    return { address: r.scratchAddress(slot) + offset, hold: null };
  }
  // Never shown to anybody, so nothing can detach it.
  const hold = Buffer.allocUnsafeSlow(source.length + 1);
  hold.set(source);
  hold[source.length] = 0;
  return { address: r.addon.addressOf(hold), hold };
}
