import { StringDecoder } from 'node:string_decoder';
import { checkInteger, type Descriptor, type OpOptions } from '@ouro/runtime/driver';
import type { Alignment } from '../op/direct-align.ts';
import { checkOptions } from '../options.ts';
import { checkEncoding } from '../text-encoding.ts';
import { OwnMemory } from './chunk-memory.ts';
import { CHUNK_BYTES, checkSize, checkStretch, type StretchOptions } from './chunks.ts';
import { type ChunkLoop, Loop } from './loop.ts';
import type { Filled } from './piece.ts';
import { ReadAhead } from './read-ahead.ts';

/** How a file is read line by line. */
export interface LineOptions extends OpOptions, StretchOptions {
  /** Of the text. @default 'utf8' */
  readonly encoding?: 'utf8' | 'utf-8' | 'utf16le' | 'utf-16le' | 'ucs2' | 'latin1' | 'ascii' | undefined;
  /**
   * Characters (UTF-16 code units) of the longest line: one that is longer ends the loop with a RangeError, so that a file
   * without line ends cannot take all memory. @default 16777216
   */
  readonly maxLength?: number | undefined;
  /** Bytes of one read. @default 131072 */
  readonly size?: number | undefined;
  /** Milliseconds that the wait for one read may take. @default none */
  readonly timeout?: number | undefined;
}

const LONGEST = 16_777_216;
const MOST_LENGTH = 2 ** 29;
const ENCODINGS: ReadonlySet<unknown> = new Set([
  'utf8',
  'utf-8',
  'utf16le',
  'utf-16le',
  'ucs2',
  'latin1',
  'ascii',
]);

function checkTextEncoding(encoding: unknown): BufferEncoding {
  checkEncoding(encoding);
  const name = encoding ?? 'utf8';
  if (ENCODINGS.has(name.toLowerCase())) return name;
  throw Object.assign(
    new TypeError(`The property 'options.encoding' is no encoding of text. Received '${name}'`),
    {
      code: 'ERR_INVALID_ARG_VALUE',
    },
  );
}

/** Cuts text that comes in pieces into lines. */
class Splitter {
  readonly #decoder: StringDecoder;
  readonly #longest: number;
  /** What came after the last line end. */
  #rest = '';

  constructor(encoding: BufferEncoding, longest: number) {
    this.#decoder = new StringDecoder(encoding);
    this.#longest = longest;
  }

  /** The lines that end in these bytes. @throws RangeError if one is too long */
  cut(bytes: Buffer): string[] {
    const text = this.#decoder.write(bytes);
    const lines = text.split('\n');
    // Grows as a rope: whoever waits for the end of a long line pays for its characters once.
    lines[0] = this.#rest + lines[0];
    this.#rest = lines.pop() ?? '';
    if (lines.length > 0 && (text.includes('\r') || lines[0].endsWith('\r'))) {
      for (let i = 0; i < lines.length; i++) if (lines[i].endsWith('\r')) lines[i] = lines[i].slice(0, -1);
    }
    const rest = this.#rest;
    // (A CR at its end may turn out to be none of the line's.)
    this.#check(rest.endsWith('\r') ? rest.length - 1 : rest.length);
    for (const { length } of lines) this.#check(length);
    return lines;
  }

  /** The last line, if it has no end. */
  end(): string[] {
    const last = this.#rest + this.#decoder.end();
    this.#rest = '';
    this.#check(last.length);
    return last === '' ? [] : [last];
  }

  #check(length: number): void {
    if (length <= this.#longest) return;
    throw Object.assign(
      new RangeError(`A line is longer than "options.maxLength" (${this.#longest} characters)`),
      { code: 'ERR_OUT_OF_RANGE' },
    );
  }
}

class LineBatches extends Loop<string[]> {
  readonly #splitter: Splitter;
  #ended = false;

  constructor(reader: ReadAhead, splitter: Splitter) {
    super(reader);
    this.#splitter = splitter;
  }

  readonly #cut = (filled: Filled | null): string[] => {
    if (filled === null) {
      this.#ended = true;
      return this.#splitter.end();
    }
    const { memory, length } = filled;
    try {
      return this.#splitter.cut(memory.bytes.subarray(0, length));
    } finally {
      this.reader.giveBack(memory); // what has been decoded is nobody's
    }
  };

  override async next(): Promise<IteratorResult<string[], undefined>> {
    while (!this.#ended) {
      let lines: string[];
      try {
        lines = await this.reader.next(this.#cut);
      } catch (error) {
        this.#ended = true;
        await this.reader.stop();
        throw error;
      }
      if (lines.length > 0) return { done: false, value: lines };
    }
    return { done: true, value: undefined };
  }
}

class Lines extends Loop<string> {
  readonly #batches: LineBatches;
  #lines: readonly string[] = [];
  #at = 0;
  /** Calls of `next` that wait for a batch, one after the other. */
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(batches: LineBatches) {
    super(batches.reader);
    this.#batches = batches;
  }

  override next(): Promise<IteratorResult<string, undefined>> {
    if (this.#waiting === 0 && this.#at < this.#lines.length)
      return Promise.resolve({ done: false, value: this.#lines[this.#at++] });
    this.#waiting++;
    const line = this.#last.then(() => this.#next()).finally(() => this.#waiting--);
    this.#last = line.catch(() => {});
    return line;
  }

  async #next(): Promise<IteratorResult<string, undefined>> {
    if (this.#at === this.#lines.length) {
      const { done, value } = await this.#batches.next();
      if (done) return { done, value };
      this.#lines = value;
      this.#at = 0;
    }
    return { done: false, value: this.#lines[this.#at++] };
  }

  override return(): Promise<IteratorResult<string, undefined>> {
    this.#at = this.#lines.length;
    return super.return();
  }
}

function batchesOf(
  descriptor: Descriptor,
  given: LineOptions | undefined,
  alignment: Alignment | null,
): LineBatches {
  const options = checkOptions(given) ?? {};
  const encoding = checkTextEncoding(options.encoding);
  const { maxLength = LONGEST, size = CHUNK_BYTES } = options;
  checkInteger('options.maxLength', maxLength, 1, MOST_LENGTH);
  const source = new OwnMemory(checkSize(size), alignment?.memory);
  const stretch = { ...checkStretch(options, LINES_AHEAD), alignment };
  const reader = new ReadAhead(descriptor, source, stretch, given);
  return new LineBatches(reader, new Splitter(encoding, maxLength));
}

/** Memory is used again at once here: more reads in flight would only take more of the cache. */
const LINES_AHEAD = 2;

/** See `File.lines`. */
export function lines(
  descriptor: Descriptor,
  options: LineOptions | undefined,
  alignment: Alignment | null,
): ChunkLoop<string> {
  return new Lines(batchesOf(descriptor, options, alignment));
}

/** See `File.lineBatches`. */
export function lineBatches(
  descriptor: Descriptor,
  options: LineOptions | undefined,
  alignment: Alignment | null,
): ChunkLoop<string[]> {
  return batchesOf(descriptor, options, alignment);
}
