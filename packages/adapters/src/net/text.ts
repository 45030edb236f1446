/** What `Buffer.prototype.write` comes to, without the look at the encoding's name. */
interface Raw {
  latin1Write(text: string, at: number, length: number): number;
  utf8Write(text: string, at: number, length: number): number;
  ucs2Write(text: string, at: number, length: number): number;
}

const { latin1Write, utf8Write, ucs2Write } = Buffer.prototype as unknown as Partial<Raw>;

type Put = (bytes: Buffer, text: string, at: number, length: number) => number;

function putter(raw: Raw[keyof Raw] | undefined, encoding: BufferEncoding): Put {
  if (raw === undefined) return (bytes, text, at, length) => bytes.write(text, at, length, encoding);
  return (bytes, text, at, length) => raw.call(bytes as unknown as Raw, text, at, length);
}

/** An encoding in which text can be put where it is to be sent from. */
export interface Encoder {
  /** Bytes that a unit of a string takes at most. */
  readonly widest: number;
  readonly name: BufferEncoding;
  /** Writes all of `text`, for which there is room, and returns the number of bytes. */
  readonly put: Put;
}

export const LATIN1: Encoder = { widest: 1, name: 'latin1', put: putter(latin1Write, 'latin1') };
export const UTF8: Encoder = { widest: 3, name: 'utf8', put: putter(utf8Write, 'utf8') };
export const UCS2: Encoder = { widest: 2, name: 'utf16le', put: putter(ucs2Write, 'utf16le') };

const ENCODERS = new Map<unknown, Encoder>([
  ['latin1', LATIN1],
  ['binary', LATIN1],
  ['ascii', LATIN1],
  ['utf8', UTF8],
  ['utf-8', UTF8],
  ['ucs2', UCS2],
  ['ucs-2', UCS2],
  ['utf16le', UCS2],
  ['utf-16le', UCS2],
]);

/** The encoder of an encoding; undefined for those that have to be decoded (`base64`, `hex`). */
export function encoderOf(encoding: unknown): Encoder | undefined {
  if (encoding === 'latin1') return LATIN1;
  if (encoding === 'utf8') return UTF8;
  // Any case will do, and is passed on as it was given.
  return ENCODERS.get(encoding) ?? ENCODERS.get(String(encoding).toLowerCase());
}
