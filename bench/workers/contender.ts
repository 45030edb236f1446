import { BLOCK } from '../harness/pattern.ts';

/** What a file that was read brought. */
export type Seen = (index: number, bytes: Uint8Array) => void;

/** Bytes of one read of a long file. */
export const PIECE = 1_048_576;

/**
 * One way to do files. Each runs in a process of its own, started by workers/files.ts. What one cannot do it leaves out, and
 * the table shows a dash.
 */
export interface FileContender {
  /** Reads every file into memory that is used again, and shows it. */
  readReused?(paths: readonly string[], buffers: readonly Buffer[], seen: Seen): Promise<void> | void;
  /** Reads every file into memory that is new. */
  readFresh?(paths: readonly string[]): Promise<readonly Uint8Array[]> | readonly Uint8Array[];
  /** Writes over existing files. */
  write?(paths: readonly string[], data: readonly Buffer[]): Promise<void> | void;
  /** Runs `depth` loops side by side, each of which reads block after block until there is none left. */
  random?(path: string, depth: number, blocks: BlockSource, direct: boolean): Promise<void>;
  /** Whether it has no O_DIRECT. */
  readonly cached?: true;
  /** Reads a file from end to end, `PIECE` at a time, and says how many bytes that were. */
  sequential?(path: string): Promise<number> | number;
  /** Copies a file over another one. */
  copy?(from: string, to: string): Promise<void> | void;
  /** Looks at all that is below a directory, and says how much that is. */
  stats?(directory: string): Promise<number> | number;
  /** Looks at one file. */
  stat?(path: string): Promise<unknown> | unknown;
  /** Lists one directory. */
  list?(directory: string): Promise<readonly unknown[]> | readonly unknown[];
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

/** Runs `depth` copies of `lane`, each with a buffer of its own that begins on a page, as O_DIRECT wants it. */
export async function alignedLanes(depth: number, lane: (buffer: Buffer) => Promise<void>): Promise<void> {
  // The allocator tells nobody an address; but memory of a WebAssembly instance begins on a page.
  const { WebAssembly } = globalThis as unknown as {
    WebAssembly: { Memory: new (size: { initial: number }) => { buffer: ArrayBuffer } };
  };
  const { buffer } = new WebAssembly.Memory({ initial: Math.ceil((depth * BLOCK) / 65_536) });
  await Promise.all(Array.from({ length: depth }, (_, i) => lane(Buffer.from(buffer, i * BLOCK, BLOCK))));
}
