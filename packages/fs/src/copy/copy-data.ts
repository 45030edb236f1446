import { MAX_RW_COUNT, SEEK_DATA, SEEK_HOLE } from '@ouro/native/abi';
import { type Scope, TaskGroup } from '@ouro/runtime';
import { begin, type Future, pinned, type Steps, submit, Transfer } from '@ouro/runtime/driver';
import { splice } from '@ouro/runtime/ops';
import { copyFileRange, ficlone } from '../op/copy-range.ts';
import { lseek } from '../op/lseek.ts';
import { read, write, writing } from '../op/transfer.ts';
import { ftruncate } from '../op/truncate.ts';
import { CURRENT } from '../position.ts';

/** What becomes of holes, stretches that were never written and read as zeros. */
export type Sparse =
  /** Holes stay holes. */
  | 'auto'
  /** Zeros that were written become holes as well, in blocks of 4 KiB. */
  | 'always'
  /** Holes are filled with zeros. */
  | 'never';

/** Whether data may be shared with the source instead of copied, where the file system can. */
export type Clone = 'try' | 'always' | 'never';

/** One of both ends. */
export interface End {
  readonly fd: number;
  readonly dev: number;
  /** Bytes of a regular file. */
  readonly size: number;
  /** Bytes on the device. */
  readonly allocated: number;
  readonly regular: boolean;
  readonly pipe: boolean;
}

/** How data is copied. */
export interface DataOptions {
  readonly sparse: Sparse;
  readonly clone: Clone;
  /** Called after each step, with the bytes of the file that are done. */
  readonly progress: ((copied: number) => void) | null;
}

/** Bytes that one thread copies at once: some milliseconds, after which it can be cancelled. */
const STEP = 8 << 20;
/** Bytes of a read and a write where the kernel cannot do it alone, and how many of them are in flight. */
const PIECE = 262_144;
const PIECES = 4;
/** Bytes that hold nothing but zeros and need not be written. */
const BLOCK = 4096;
const ZEROS = Buffer.alloc(BLOCK);

/** What the kernel says where it cannot do it this way, rather than not at all. */
const NOT_THIS_WAY: ReadonlySet<unknown> = new Set([
  'EXDEV',
  'EINVAL',
  'ENOTSUP',
  'ENOSYS',
  'ENOTTY',
  'EPERM',
  'EBADF',
  'ETXTBSY',
  'ERR_OURO_UNSUPPORTED',
]);
/** Those of them that are as true of the next file. */
const NEVER_THIS_WAY: ReadonlySet<unknown> = new Set(['EXDEV', 'ENOTSUP', 'ENOSYS', 'ENOTTY']);

const codeOf = (error: unknown): unknown => (error as { readonly code?: unknown }).code;

/** Pairs of devices that a way has turned out not to work between: not asked again for each file of a tree. */
class Refusals {
  readonly #pairs: Set<string> = new Set();

  has(from: End, to: End): boolean {
    return this.#pairs.has(`${from.dev}:${to.dev}`);
  }

  add(from: End, to: End): void {
    // File systems come and go.
    if (this.#pairs.size >= 64) this.#pairs.clear();
    this.#pairs.add(`${from.dev}:${to.dev}`);
  }
}

const uncloned = new Refusals();
const unranged = new Refusals();

/** The data of one file on its way to another, which is empty or is overwritten. */
export class DataCopy {
  readonly #steps: Steps;
  readonly #from: End;
  readonly #to: End;
  readonly #options: DataOptions;
  /** Where the source ends: earlier than was thought if it has been cut meanwhile. */
  #end: number;
  #copied = 0;

  constructor(steps: Steps, from: End, to: End, options: DataOptions) {
    this.#steps = steps;
    this.#from = from;
    this.#to = to;
    this.#options = options;
    this.#end = from.size;
  }

  /** Bytes copied so far; holes count. */
  get copied(): number {
    return this.#copied;
  }

  /** Whether the target is not just written over from its beginning, but has to be empty before. */
  static wantsEmpty(from: End, { sparse }: DataOptions): boolean {
    return !sized(from) || sparse === 'always' || (sparse === 'auto' && hasHoles(from));
  }

  async run(): Promise<void> {
    const { sparse } = this.#options;
    if (!sized(this.#from) || !this.#to.regular) return await this.#stream();
    if (!(await this.#clone())) {
      if (sparse === 'auto' && hasHoles(this.#from)) await this.#stretches();
      else await this.#stretch(0, this.#end);
    }
    // The hole at the end, or what the target had behind.
    if (this.#to.size > this.#end || DataCopy.wantsEmpty(this.#from, this.#options)) {
      await this.#step(submit(ftruncate(this.#to.fd, this.#end)));
    }
  }

  #step<T>(future: Future<T>): Future<T> {
    return this.#steps.step(future);
  }

  #moved(count: number): void {
    this.#copied += count;
    this.#options.progress?.(this.#copied);
  }

  /** Has all data shared. False if that is not possible. */
  async #clone(): Promise<boolean> {
    const { clone, sparse } = this.#options;
    if (clone === 'never' || (clone === 'try' && (sparse !== 'auto' || uncloned.has(this.#from, this.#to))))
      return false;
    this.#steps.check();
    // What ends inside a block cannot be shared where the target goes on behind it.
    if (this.#to.size > this.#end) await this.#step(submit(ftruncate(this.#to.fd, this.#end)));
    this.#steps.check();
    try {
      await this.#step(submit(ficlone(this.#from.fd, this.#to.fd)));
    } catch (error) {
      if (clone === 'always' || !NOT_THIS_WAY.has(codeOf(error))) throw error;
      if (NEVER_THIS_WAY.has(codeOf(error))) uncloned.add(this.#from, this.#to);
      return false;
    }
    this.#moved(this.#end);
    return true;
  }

  /** Copies what is data, and leaves out what is none. */
  async #stretches(): Promise<void> {
    for (let at = 0; at < this.#end; ) {
      const data = await this.#seek(at, SEEK_DATA);
      if (data > at) this.#moved(Math.min(data, this.#end) - at);
      if (data >= this.#end) return;
      at = Math.min(await this.#seek(data, SEEK_HOLE), this.#end);
      await this.#stretch(data, at);
    }
  }

  async #seek(at: number, whence: number): Promise<number> {
    this.#steps.check();
    try {
      return await this.#step(submit(lseek(this.#from.fd, at, whence)));
    } catch (error) {
      if (codeOf(error) === 'ENXIO') return this.#end; // nothing but a hole behind
      if (codeOf(error) === 'EINVAL') return whence === SEEK_DATA ? at : this.#end; // knows nothing of holes
      throw error;
    }
  }

  async #stretch(from: number, to: number): Promise<void> {
    const { sparse, clone } = this.#options;
    // copy_file_range shares data too.
    const at = sparse === 'auto' && clone !== 'never' ? await this.#range(from, to) : from;
    if (at < to) await this.#pieces(at, to);
  }

  /** Lets the kernel copy. Returns how far it could. */
  async #range(begin: number, end: number): Promise<number> {
    const { fd } = this.#from;
    if (unranged.has(this.#from, this.#to)) return begin;
    for (let at = begin; at < end; ) {
      this.#steps.check();
      try {
        const length = Math.min(STEP, end - at);
        const count = await this.#step(submit(copyFileRange(fd, at, this.#to.fd, at, length)));
        // The end; or a file system that cannot do it and says so in this way: reading will tell.
        if (count === 0) return at;
        at += count;
        this.#moved(count);
      } catch (error) {
        if (!NOT_THIS_WAY.has(codeOf(error))) throw error;
        if (NEVER_THIS_WAY.has(codeOf(error))) unranged.add(this.#from, this.#to);
        return at;
      }
    }
    return end;
  }

  /** Reads and writes, several pieces at a time. */
  async #pieces(begin: number, end: number): Promise<void> {
    this.#steps.check();
    let next = begin;
    const some = async (scope: Scope): Promise<void> => {
      const buffer = Buffer.allocUnsafeSlow(Math.min(PIECE, end - begin));
      while (next < Math.min(end, this.#end)) {
        const at = next;
        const piece = buffer.subarray(0, Math.min(buffer.length, end - at));
        next += piece.length;
        const count = await start(new Transfer(read(this.#from.fd, piece, at), 'short', 'file'), scope);
        if (count < piece.length) this.#end = Math.min(this.#end, at + count);
        await this.#put(piece.subarray(0, count), at, scope);
        this.#moved(count);
      }
    };
    await this.#step(
      TaskGroup.run<void>((group) => {
        for (let left = Math.min(PIECES, Math.ceil((end - begin) / PIECE)); left > 0; left--) {
          group.spawn((task) => some(task.scope));
        }
      }),
    );
  }

  /** Writes a piece, with `sparse: 'always'` without its blocks of zeros. */
  async #put(piece: Buffer, at: number, scope: Scope): Promise<void> {
    if (this.#options.sparse !== 'always') {
      if (piece.length > 0) await start(writing(write(this.#to.fd, pinned(piece), at)), scope);
      return;
    }
    for (let from = nextData(piece, 0); from < piece.length; ) {
      const to = nextZeros(piece, from);
      await start(writing(write(this.#to.fd, pinned(piece.subarray(from, to)), at + from)), scope);
      from = nextData(piece, to);
    }
  }

  /** What can only be read or written from one end to the other: pipes, devices, files that are made while they are read. */
  async #stream(): Promise<void> {
    if ((this.#from.pipe || this.#to.pipe) && (await this.#splice())) return;
    const buffer = Buffer.allocUnsafeSlow(PIECE);
    for (;;) {
      this.#steps.check();
      const count = await this.#step(
        begin(new Transfer(read(this.#from.fd, buffer, CURRENT), 'short', 'file')),
      );
      if (count === 0) return;
      this.#steps.check();
      await this.#step(begin(writing(write(this.#to.fd, pinned(buffer.subarray(0, count)), CURRENT))));
      this.#moved(count);
    }
  }

  /** Moves everything inside the kernel. False if it cannot. */
  async #splice(): Promise<boolean> {
    for (;;) {
      this.#steps.check();
      try {
        const count = await this.#step(submit(splice(this.#from.fd, null, this.#to.fd, null, MAX_RW_COUNT)));
        if (count === 0) return true;
        this.#moved(count);
      } catch (error) {
        if (!NOT_THIS_WAY.has(codeOf(error))) throw error;
        return false;
      }
    }
  }
}

/** Whether what a file says of its size is to be believed. Files of /proc say that they are empty. */
const sized = ({ regular, size }: End): boolean => regular && size > 0;

const hasHoles = ({ size, allocated }: End): boolean => allocated < size;

/** The first block from `at` on that is not all zeros. */
function nextData(piece: Buffer, at: number): number {
  let from = at;
  while (from < piece.length && isZeros(piece, from)) from += BLOCK;
  return Math.min(from, piece.length);
}

function nextZeros(piece: Buffer, at: number): number {
  let to = at;
  while (to < piece.length && !isZeros(piece, to)) to += BLOCK;
  return Math.min(to, piece.length);
}

function isZeros(piece: Buffer, at: number): boolean {
  const block = piece.subarray(at, at + BLOCK);
  return block.equals(block.length === BLOCK ? ZEROS : ZEROS.subarray(0, block.length));
}

/** Starts a transfer in a scope. */
function start(transfer: Transfer, scope: Scope): Future<number> {
  return begin(transfer, { scope });
}
