import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import { type Consumer, StreamHandle } from '../net/stream-handle.ts';
import { binding } from '../node-binding.ts';
import { tally } from '../stats.ts';

const consumed = tally('http', 'Server connection');

/** Node's `HTTPParser`, as far as it is used here. */
interface Parser {
  _consumed: boolean;
  execute(bytes: Uint8Array): number | Error | undefined;
  initialize(type: number, resource: object): void;
  consume(handle: unknown): void;
  unconsume(): void;
  getCurrentBuffer(): Buffer;
  [index: number]: ((...args: never[]) => unknown) | null | undefined;
}

interface ParserClass {
  new (): Parser;
  readonly prototype: Parser;
  readonly REQUEST: number;
  readonly kOnBody: number;
  readonly kOnHeadersComplete: number;
  readonly kOnExecute: number;
}

/** Whom a parser gets its bytes from, if that is one of us. */
const CONSUMER: unique symbol = Symbol('ouro consumer') as never;

/** What one of us has it parse right now, also if nobody is to feed it any more from here on. */
const CURRENT: unique symbol = Symbol('ouro current bytes') as never;

type Consumed = Parser & { [CONSUMER]?: ParserConsumer | null; [CURRENT]?: Uint8Array | null };

/**
 * Feeds a parser what a connection brings, in place: what `parser.consume` does with Node's own handles. No Buffer, no `data` event, no
 * stream in between.
 */
class ParserConsumer implements Consumer {
  readonly handle: StreamHandle;
  readonly #parser: Consumed;
  readonly #onExecute: number;
  readonly #inPlace: boolean;

  constructor(handle: StreamHandle, parser: Consumed, onExecute: number, inPlace: boolean) {
    this.handle = handle;
    this.#parser = parser;
    this.#onExecute = onExecute;
    this.#inPlace = inPlace;
  }

  data(source: Uint8Array, at: number, length: number): void {
    const bytes = this.#inPlace ? source.subarray(at, at + length) : source.slice(at, at + length);
    const parser = this.#parser;
    parser[CURRENT] = bytes;
    try {
      const result = parser.execute(bytes);
      if (result === undefined) return;
      const then = parser[this.#onExecute] as ((result: number | Error) => void) | null | undefined;
      if (typeof then === 'function') then.call(parser, result);
    } finally {
      parser[CURRENT] = null;
    }
  }
}

/** Whether a body is handed on as a copy, so that a parser may be given memory that is only lent. */
function copiesBodies(HTTPParser: ParserClass): boolean {
  const bytes = new Uint8Array(Buffer.from('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok'));
  const parser = new HTTPParser();
  parser.initialize(HTTPParser.REQUEST, {});
  let body: Uint8Array | undefined;
  parser[HTTPParser.kOnHeadersComplete | 0] = () => 0;
  parser[HTTPParser.kOnBody | 0] = (chunk: never) => {
    body = chunk;
  };
  parser.execute(bytes);
  return body !== undefined && body.length === 2 && body.buffer !== bytes.buffer;
}

type Consume = (handle: StreamHandle, socket: Socket) => void;

/** What is to be done with a connection of a server: nothing where it is none of HTTP. Null on a Node that we do not know. */
export function consuming(): Consume | null {
  if (made === undefined) made = make();
  return made;
}

let made: Consume | null | undefined;

const require = createRequire(import.meta.url);

/** Node's own class. From Node 24 on it is to be had of the module that its HTTP uses only. */
function parserClass(): ParserClass {
  let from: Record<string, unknown>;
  try {
    from = binding('http_parser');
  } catch {
    from = require('node:_http_common') as Record<string, unknown>;
  }
  return from.HTTPParser as ParserClass;
}

function make(): Consume | null {
  let HTTPParser: ParserClass;
  let inPlace: boolean;
  try {
    HTTPParser = parserClass();
    if (!Number.isInteger(HTTPParser.kOnExecute)) return null;
    inPlace = copiesBodies(HTTPParser);
  } catch {
    return null;
  }
  const onExecute = HTTPParser.kOnExecute | 0;
  const { prototype } = HTTPParser as { readonly prototype: Consumed };
  const { consume, unconsume, getCurrentBuffer } = prototype;
  const feed = (parser: Consumed, handle: StreamHandle): void => {
    const consumer = new ParserConsumer(handle, parser, onExecute, inPlace);
    parser[CONSUMER] = consumer;
    handle.consume(consumer);
  };
  prototype.consume = function (this: Consumed, handle: unknown): void {
    if (handle instanceof StreamHandle) feed(this, handle);
    else consume.call(this, handle);
  };
  prototype.unconsume = function (this: Consumed): void {
    const consumer = this[CONSUMER];
    if (consumer === undefined || consumer === null) {
      unconsume.call(this);
      return;
    }
    this[CONSUMER] = null;
    consumer.handle.consume(null);
  };
  prototype.getCurrentBuffer = function (this: Consumed): Buffer {
    const current = this[CURRENT];
    // A copy: what follows the head of an upgrade is kept.
    return current === undefined || current === null ? getCurrentBuffer.call(this) : Buffer.from(current);
  };

  return (handle, socket) => {
    const { parser } = socket as unknown as { parser?: Consumed | null };
    if (!(parser instanceof HTTPParser) || parser._consumed) return;
    // Somebody reads what comes as well, or has done something to it.
    if (socket.listenerCount('data') !== 1 || socket.listenerCount('readable') > 0) return;
    if (socket.listenerCount('pause') === 0) return;
    consumed.ours++;
    parser._consumed = true;
    feed(parser, handle);
  };
}
