import { checkInteger, invalidType, type OpOptions } from '@ouro/runtime/driver';
import type { Arrivals } from './arrivals.ts';
import { type Looped, StreamLoop } from './stream-loop.ts';
import type { Want } from './want.ts';

/** How a stream is read line by line. */
export interface LineOptions extends OpOptions {
  /** Of the text. @default 'utf8' */
  readonly encoding?: 'utf8' | 'utf-8' | 'utf16le' | 'utf-16le' | 'ucs2' | 'latin1' | 'ascii' | undefined;
  /**
   * Bytes of the longest line, its end not counted: one that is longer ends the loop with a RangeError, so that a peer who
   * never ends a line cannot take all memory. @default 65536
   */
  readonly maxLength?: number | undefined;
}

const LONGEST = 65_536;
const MOST_LENGTH = 2 ** 29;

/** Encodings, and the bytes of their characters. */
const UNITS: ReadonlyMap<unknown, readonly [encoding: BufferEncoding, unit: 1 | 2]> = new Map([
  ['utf8', ['utf8', 1]],
  ['utf-8', ['utf8', 1]],
  ['utf16le', ['utf16le', 2]],
  ['utf-16le', ['utf16le', 2]],
  ['ucs2', ['utf16le', 2]],
  ['latin1', ['latin1', 1]],
  ['ascii', ['ascii', 1]],
]);

const ENDS: Readonly<Record<1 | 2, Buffer>> = { 1: Buffer.from('\n'), 2: Buffer.from('\n', 'utf16le') };

/**
 * Lines out of chunks. What has been taken and not been handed out is kept as bytes too, so that a loop that is left early
 * can give it back.
 */
class Lines implements Want<IteratorResult<string, undefined>> {
  readonly shared = true;
  readonly pooled = false;
  readonly lends = false;
  readonly taken = 0;
  readonly most: number;
  readonly #encoding: BufferEncoding;
  readonly #unit: 1 | 2;
  readonly #longest: number;
  /** Lines that have been taken, and the bytes they were. */
  #lines: readonly string[] = [];
  #at = 0;
  #block: Buffer = Buffer.alloc(0);
  /** How far what lies there has been looked through for the end of a line. */
  #from = 0;
  #fronted = 0;

  constructor(encoding: BufferEncoding, unit: 1 | 2, longest: number) {
    this.#encoding = encoding;
    this.#unit = unit;
    this.#longest = longest;
    this.most = longest + unit + 1;
  }

  /** The next line, if one has been taken already. */
  ready(): string | undefined {
    return this.#at < this.#lines.length ? this.#lines[this.#at++] : undefined;
  }

  take(arrivals: Arrivals): IteratorResult<string, undefined> | undefined {
    const end = ENDS[this.#unit];
    if (this.#fronted !== arrivals.fronted) this.#from = 0;
    this.#fronted = arrivals.fronted;
    const first = arrivals.find(end, this.#from, this.#unit);
    if ((first < 0 ? arrivals.bytes : first) > this.#longest) throw this.#tooLong();
    if (first < 0) {
      this.#from = Math.max(0, arrivals.bytes - this.#unit + 1);
      this.#from -= this.#from % this.#unit;
      return undefined;
    }
    this.#from = 0;
    this.#use(arrivals.take(this.#lengthOfLines(arrivals.head, first + this.#unit)));
    return { done: false, value: this.ready() ?? '' };
  }

  /** Bytes of all lines that end in the first chunk and are not too long; at least those of the first line. */
  #lengthOfLines(head: Buffer, first: number): number {
    let length = first;
    const unit = this.#unit;
    if (head.length <= this.#longest && unit === 1) return Math.max(length, head.lastIndexOf(0x0a) + 1);
    while (length < head.length) {
      const at = indexOfEnd(head, length, unit);
      if (at < 0 || at - length > this.#longest) break;
      length = at + unit;
    }
    return length;
  }

  #use(block: Buffer): void {
    const text = block.toString(this.#encoding);
    const lines = text.split('\n');
    lines.pop();
    if (text.includes('\r')) for (let i = 0; i < lines.length; i++) lines[i] = withoutReturn(lines[i]);
    this.#block = block;
    this.#lines = lines;
    this.#at = 0;
  }

  /** Bytes of lines that nobody has got. */
  giveBack(): Buffer {
    const unit = this.#unit;
    let from = 0;
    for (let i = 0; i < this.#at; i++) from = indexOfEnd(this.#block, from, unit) + unit;
    const rest = this.#block.subarray(from);
    this.#lines = [];
    this.#at = 0;
    this.#block = Buffer.alloc(0);
    return rest;
  }

  #tooLong(): RangeError {
    return Object.assign(
      new RangeError(`A line is longer than "options.maxLength" (${this.#longest} bytes)`),
      {
        code: 'ERR_OUT_OF_RANGE',
      },
    );
  }

  /** The last line, if it has no end. */
  end(arrivals: Arrivals): IteratorResult<string, undefined> {
    if (arrivals.bytes === 0) return this.closed();
    this.#from = 0;
    const text = arrivals.take(arrivals.bytes).toString(this.#encoding);
    return { done: false, value: withoutReturn(text) };
  }

  closed(): IteratorResult<string, undefined> {
    return { done: true, value: undefined };
  }
}

function indexOfEnd(bytes: Buffer, from: number, unit: 1 | 2): number {
  let at = bytes.indexOf(ENDS[unit], from);
  while (at >= 0 && at % unit !== 0) at = bytes.indexOf(ENDS[unit], at + 1);
  return at;
}

function withoutReturn(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}

/** A loop over lines. */
class LineLoop extends StreamLoop<string> {
  readonly #lines: Lines;
  /** Calls of `next` that wait, one after the other: the first to be served takes the lines of several. */
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(stream: Looped, lines: Lines, options: OpOptions) {
    super(stream, lines, options);
    this.#lines = lines;
  }

  override next(): Promise<IteratorResult<string, undefined>> {
    if (this.#waiting === 0) {
      const line = this.#lines.ready();
      if (line !== undefined) return Promise.resolve({ done: false, value: line });
    }
    this.#waiting++;
    const next = this.#last.then(() => this.#next()).finally(() => this.#waiting--);
    this.#last = next.catch(() => {});
    return next;
  }

  async #next(): Promise<IteratorResult<string, undefined>> {
    const line = this.#lines.ready();
    if (line !== undefined) return { done: false, value: line };
    try {
      const next = await super.next();
      if (this.left) this.#giveBack();
      return next;
    } catch (error) {
      // A loop that has failed is over, and holds nothing.
      await this.return();
      throw error;
    }
  }

  override async return(): Promise<IteratorResult<string, undefined>> {
    this.#giveBack();
    return await super.return();
  }

  #giveBack(): void {
    this.stream.receiver?.putBack(this.#lines.giveBack());
  }
}

/** See `SocketStream.splitLines`. */
export function splitLines(stream: Looped, options: LineOptions): StreamLoop<string> {
  const { encoding = 'utf8', maxLength = LONGEST } = options;
  if (typeof encoding !== 'string') throw invalidType('options.encoding', 'of type string', encoding);
  const known = UNITS.get(encoding.toLowerCase());
  if (known === undefined) {
    throw Object.assign(
      new TypeError(`The property 'options.encoding' is no encoding of text. Received '${encoding}'`),
      { code: 'ERR_INVALID_ARG_VALUE' },
    );
  }
  checkInteger('options.maxLength', maxLength, 1, MOST_LENGTH);
  return new LineLoop(stream, new Lines(...known, maxLength), options);
}
