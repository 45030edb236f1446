import { BLOCK } from '../harness/pattern.ts';

/** One way to do files in JavaScript. Each runs in a process of its own, started by workers/files.ts. */
export interface FileContender {
  /** Fills `buffers[i]` from `paths[i]`. */
  readReused(paths: readonly string[], buffers: readonly Buffer[]): Promise<void> | void;
  /** Reads every file into memory that is new. */
  readFresh(paths: readonly string[]): Promise<readonly Uint8Array[]> | readonly Uint8Array[];
  /** Writes over existing files. */
  write(paths: readonly string[], data: readonly Buffer[]): Promise<void> | void;
  /** Runs `depth` loops side by side, each of which reads block after block until there is none left. */
  random(path: string, depth: number, blocks: BlockSource): Promise<void>;
}

/** Which block to read next, and whether the right one came. */
export class BlockSource {
  readonly #count: number;
  #deadlineMs = 0;
  #state = 2463534242;
  /** Blocks read and found right. */
  done = 0;

  constructor(count: number) {
    this.#count = count;
  }

  /** Lets the loops run until then, by performance.now(). */
  until(deadlineMs: number): void {
    this.#deadlineMs = deadlineMs;
    this.done = 0;
  }

  /** A block number at random, or -1 when the time is up, which is looked at every 64 blocks. */
  next(): number {
    if ((this.done & 63) === 0 && performance.now() >= this.#deadlineMs) this.#deadlineMs = 0;
    if (this.#deadlineMs === 0) return -1;
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % this.#count;
  }

  check(buffer: Buffer, bytes: number, block: number): void {
    if (bytes !== BLOCK || buffer.readUInt32LE(0) !== block)
      throw new Error(`wrong bytes for block ${block}`);
    this.done++;
  }
}

/** Runs `depth` copies of `lane`, each with a buffer of its own. */
export async function lanes(depth: number, lane: (buffer: Buffer) => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: depth }, () => lane(Buffer.alloc(BLOCK))));
}
