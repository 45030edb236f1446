import { setTimeout } from 'node:timers';
import type { Future } from '../future/future.ts';
import { close } from './close.ts';
import { OrdinaryDescriptor } from './ordinary-descriptor.ts';

/** What is opened, for the report of one that nobody has closed. */
export interface OpenedKind {
  /** `'A file'`, say. */
  readonly name: string;
  /** `'files'`, say. */
  readonly plural: string;
  /** The code of the warning. */
  readonly code: string;
  /** What it is, for whoever reads the report: asked while it is still open. */
  about(fd: number, path: string | Buffer | undefined): string;
}

/** What is known of a descriptor beside its number. Must not refer to it or to its handle. */
export interface Opened {
  readonly kind: OpenedKind;
  /** Where the opening was asked for (`placeOfOpening`); null where that has not been recorded. */
  readonly place: string | null;
  readonly path?: string | Buffer | undefined;
  /** What else is to be let go of when it is lost. */
  readonly lost?: (() => void) | undefined;
}

/** One whose handle is gone. */
interface Left {
  readonly fd: number;
  readonly opened: Opened;
}

/**
 * The descriptor of a handle that has opened it. Collected without having been closed, it is closed and reported: not while
 * ops are in flight, which refer to it.
 */
export class OpenedDescriptor extends OrdinaryDescriptor {
  readonly #opened: Opened;
  /** Where in `young`; -1 once it is watched. */
  #at: number;

  constructor(fd: number, opened: Opened) {
    super(fd);
    this.#opened = opened;
    this.#at = young.push(this) - 1;
    if (this.#at === 0) setTimeout(watchYoung, YOUNG_MS).unref();
    else if (young.length === MOST_YOUNG) watchYoung();
  }

  /** @internal From here on it is watched whether it is lost. */
  watch(): void {
    if (this.closed || this.#at < 0) return;
    this.#at = -1;
    collected.register(this, { fd: this.fd, opened: this.#opened }, this);
  }

  protected override release(fd: number): Future<void> {
    // Before the number is given out anew.
    if (this.#at < 0) collected.unregister(this);
    else if (young[this.#at] === this) young[this.#at] = null;
    return super.release(fd);
  }
}

/**
 * Those opened lately. To watch one costs 200 ns, a tenth of an open in a batch; most are closed before that is done, and
 * so they cost the place in this list. It keeps them from being collected, for a second at most.
 */
let young: (OpenedDescriptor | null)[] = [];
const YOUNG_MS = 500;
const MOST_YOUNG = 512;

function watchYoung(): void {
  const grown = young;
  young = [];
  for (const descriptor of grown) descriptor?.watch();
}

const collected = new FinalizationRegistry<Left>((left) => {
  try {
    report(left);
    left.opened.lost?.();
  } catch {
    // The thread's ring has ended.
  }
  close(left.fd).catch(() => {}); // what can be said of it has been said
});

/**
 * Whether openings record their place: from the beginning with `OURO_TRACE_OPEN=1`, else from the first leak on. It costs
 * 4 µs, as much as the open.
 */
let recording = process.env.OURO_TRACE_OPEN === '1';
const MOST_FRAMES = 8;
const MOST_PLACES = 1000;
/** Places that have been reported. */
const told = new Set<string>();

/**
 * Where the caller of `opener` is; null while that is not recorded. As text: what V8 keeps for it instead refers to functions
 * and their `this`, and with that perhaps to the handle.
 */
export function placeOfOpening(opener: unknown): string | null {
  if (!recording || typeof opener !== 'function') return null;
  const limit = Error.stackTraceLimit;
  const holder: { stack?: string } = {};
  Error.stackTraceLimit = MOST_FRAMES;
  Error.captureStackTrace(holder, opener as (...given: never[]) => unknown);
  Error.stackTraceLimit = limit;
  const { stack } = holder;
  return typeof stack === 'string' ? stack.slice(stack.indexOf('\n') + 1) : null;
}

function report({ fd, opened }: Left): void {
  const { kind, place, path } = opened;
  const caller = place?.split('\n', 1)[0] ?? kind.code;
  if (told.has(caller) || told.size >= MOST_PLACES) return;
  told.add(caller);
  const message = `${kind.name} was collected that had not been closed: ${kind.about(fd, path)}. It is closed now.`;
  const detail =
    place === null
      ? `Where ${kind.plural} are opened is recorded from here on; OURO_TRACE_OPEN=1 does so from the beginning.`
      : `Opened\n${place}`;
  recording = true;
  process.emitWarning(message, { type: 'LeakWarning', code: kind.code, detail });
}
