/**
 * The protocol of Redis, version 2: requests are arrays of byte strings, or lines of words for people with `nc`.
 * Bytes are kept as strings of one character each (latin1), which concatenate for nothing.
 *
 * https://redis.io/docs/latest/develop/reference/protocol-spec/
 */

/** What a request may not exceed; whoever sends more is no client of ours. */
export interface RespLimits {
  /** Words of a request. */
  readonly words: number;
  /** Bytes of a word. */
  readonly bytes: number;
}

/** Bytes of a line: a request of words, or the length of what follows. */
const MOST_LINE = 65_536;
const [ARRAY, BULK, CR, LF] = [0x2a, 0x24, 0x0d, 0x0a];
const NONE = -1;

/** Requests that make no sense: nobody can know where the next one begins. */
export class ProtocolError extends Error {}

/** Cuts what arrives, in pieces of any size, into requests. */
export class RequestReader {
  readonly #limits: RespLimits;
  /** What has arrived and is not a whole word yet, and how much of it there must be before it is worth a look. */
  #pieces: Buffer[] = [];
  #length = 0;
  #wanted = 1;
  /** The request in hand, how many words are missing, and the length of the next one. */
  #words: string[] = [];
  #missing = 0;
  #bulk = NONE;

  constructor(limits: RespLimits) {
    this.#limits = limits;
  }

  /** The requests that these bytes complete. @throws ProtocolError */
  *read(piece: Buffer): Generator<readonly string[], void, undefined> {
    this.#pieces.push(piece);
    this.#length += piece.length;
    if (this.#length < this.#wanted) return;
    const bytes = this.#pieces.length === 1 ? piece : Buffer.concat(this.#pieces, this.#length);
    let at = 0;
    for (let next = this.#step(bytes, at); next !== NONE; next = this.#step(bytes, at)) {
      at = next;
      if (this.#missing > 0 || this.#words.length === 0) continue;
      const request = this.#words;
      this.#words = [];
      yield request;
    }
    const rest = bytes.subarray(at);
    this.#pieces = rest.length === 0 ? [] : [rest];
    this.#length = rest.length;
    this.#wanted = this.#bulk === NONE ? rest.length + 1 : this.#bulk + 2;
  }

  /** Takes one line or one word. Returns where the next begins, or `NONE` if this one is not whole. */
  #step(bytes: Buffer, at: number): number {
    if (this.#bulk !== NONE) return this.#word(bytes, at);
    const end = bytes.indexOf(LF, at);
    if ((end < 0 ? bytes.length : end) - at > MOST_LINE) throw new ProtocolError('too big request');
    if (end < 0) return NONE;
    const text = bytes.toString('latin1', at, end > at && bytes[end - 1] === CR ? end - 1 : end);
    if (this.#missing > 0) {
      if (bytes[at] !== BULK) throw new ProtocolError(`expected '$', got '${text.charAt(0)}'`);
      this.#bulk = count(text, this.#limits.bytes, 'invalid bulk length');
    } else if (bytes[at] === ARRAY)
      this.#missing = count(text, this.#limits.words, 'invalid multibulk length');
    else this.#words = text.split(/[ \t]+/).filter((word) => word !== '');
    return end + 1;
  }

  #word(bytes: Buffer, at: number): number {
    const end = at + this.#bulk;
    if (bytes.length < end + 2) return NONE;
    this.#words.push(bytes.toString('latin1', at, end));
    this.#missing--;
    this.#bulk = NONE;
    return end + 2;
  }
}

/** The number behind the first character of a line. */
function count(line: string, most: number, message: string): number {
  const digits = line.slice(1);
  const number = Number(digits);
  if (!/^\d+$/.test(digits) || number > most) throw new ProtocolError(message);
  return number;
}

export const OK = '+OK\r\n';
export const NIL = '$-1\r\n';
export const simple = (text: string): string => `+${text}\r\n`;
export const failure = (text: string): string => `-${text.replace(/[\r\n]/g, ' ')}\r\n`;
export const integer = (value: number): string => `:${value}\r\n`;
export const bulk = (value: string | undefined): string =>
  value === undefined ? NIL : `$${value.length}\r\n${value}\r\n`;
export const array = (replies: readonly string[]): string => `*${replies.length}\r\n${replies.join('')}`;
