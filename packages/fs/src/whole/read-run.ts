import { type AbortError, awaitFast, cancellation, Future, type TimeoutError } from '@ouro/runtime/driver';
import { checkPath, type PathLike } from '../path.ts';
import { type LaneUser, ReadLane } from './read-lane.ts';
import { WholeRead } from './read-whole.ts';
import type { Slab } from './slab.ts';
import type { Source } from './source.ts';

/** Where the files of a run go to. */
export interface FileSink {
  /** Whether file number `index` may be begun. */
  hasRoom(index: number): boolean;
  /** A file in a slab, from `slab.at` on. */
  filled(index: number, path: PathLike, slab: Slab, length: number): void;
  /** A file in memory of its own, or its failure. */
  put(index: number, path: PathLike, content: Buffer | null, error: Error | null): void;
}

/** Reads files side by side: as many as it has lanes. Settles when all have ended. */
export class ReadRun extends Future<void> implements LaneUser {
  readonly #source: Source<PathLike>;
  readonly #sink: FileSink;
  readonly #most: number;
  readonly #resting: ReadLane[] = [];
  readonly #lanes: ReadLane[] = [];
  readonly #singles: Set<WholeRead> = new Set();
  /** Whether there are lanes to be had: else each file is read step by step. */
  #hasLanes = true;
  #busy = 0;
  #next = 0;
  #pumping = false;
  #error: AbortError | TimeoutError | null = null;
  #settled = false;

  constructor(source: Source<PathLike>, sink: FileSink, concurrency: number) {
    super();
    this.#source = source;
    this.#sink = sink;
    this.#most = concurrency;
  }

  get cancelled(): boolean {
    return this.#error !== null;
  }

  /** Begins as many files as may be begun: to be called when there are more of them, or more room. */
  pump(): void {
    if (this.#pumping) return; // a file that has ended asks for the next one, perhaps before this one was begun
    this.#pumping = true;
    const sink = this.#sink;
    while (this.#error === null && this.#busy < this.#most && sink.hasRoom(this.#next)) {
      const path = this.#source.take();
      if (path === undefined) break;
      this.#begin(this.#next++, path);
    }
    this.#pumping = false;
    if (this.#busy === 0 && (this.#error !== null || this.#source.ended)) this.#end();
  }

  #begin(index: number, given: PathLike): void {
    let path: string | Buffer;
    try {
      path = checkPath(given);
    } catch (error) {
      this.#sink.put(index, given, null, error as Error);
      return;
    }
    this.#busy++;
    const lane = this.#resting.pop() ?? this.#another();
    if (lane === null) {
      this.#single(index, given, path);
      return;
    }
    try {
      lane.start(index, given, path);
    } catch (error) {
      this.done(lane, null, error as Error); // the kernel takes no more ops
    }
  }

  #another(): ReadLane | null {
    if (!this.#hasLanes) return null;
    const lane = ReadLane.take(this);
    if (lane === null) this.#hasLanes = false;
    else this.#lanes.push(lane);
    return lane;
  }

  /** Reads a file without a lane. */
  #single(index: number, given: PathLike, path: string | Buffer): void {
    const whole = new WholeRead(path, null, null);
    this.#singles.add(whole);
    const ended = (content: Buffer | null, error: Error | null): void => {
      this.#singles.delete(whole);
      this.#busy--;
      if (this.#error === null) this.#sink.put(index, given, content, error);
      this.pump();
    };
    whole.then(
      (content) => ended(content as Buffer, null),
      (error: unknown) => ended(null, error as Error),
    );
    whole.start(0);
  }

  filled(lane: ReadLane, length: number): void {
    const { slab } = lane;
    if (this.#error === null && slab !== null) this.#sink.filled(lane.index, lane.given, slab, length);
    this.#again(lane);
  }

  done(lane: ReadLane, content: Buffer | null, error: Error | null): void {
    if (this.#error === null) this.#sink.put(lane.index, lane.given, content, error);
    this.#again(lane);
  }

  #again(lane: ReadLane): void {
    this.#busy--;
    this.#resting.push(lane);
    this.pump();
  }

  #end(): void {
    if (this.#settled) return;
    this.#settled = true;
    for (const lane of this.#lanes) lane.leave();
    if (this.#error === null) this.fulfil();
    else this.fail(this.#error);
  }

  override cancel(reason?: unknown): void {
    if (this.#settled || this.#error !== null) return;
    this.#error = cancellation(reason);
    for (const lane of this.#lanes) lane.cancel();
    for (const whole of this.#singles) whole.cancel();
    this.pump();
  }
}
awaitFast(ReadRun);
