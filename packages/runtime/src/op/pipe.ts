import { addon } from '@ouro/native';
import { IORING_FILE_INDEX_ALLOC, IORING_OP_PIPE, O_CLOEXEC } from '@ouro/native/abi';
import { checkInteger, invalidType, systemError } from '../base/errors.ts';
import { type DirectDescriptor, files } from '../descriptors/direct.ts';
import { reactor } from '../engine/thread.ts';
import { Op, type OpKind, opKind } from '../operation/op.ts';

/** The two ends of a pipe. */
export type Ends<T> = readonly [readEnd: T, writeEnd: T];

const PIPE = opKind<Ends<number>>('pipe2', {
  decode: (_result, op, slot) => (op as Pipe<unknown>).take(slot),
  discard: (op, slot, value) => {
    const ends = (value as Ends<number> | undefined) ?? (op as Pipe<unknown>).take(slot);
    for (const fd of ends) reactor().discard(fd);
  },
});

const PIPE_DIRECT = opKind<Ends<DirectDescriptor>>('pipe2', {
  decode: (_result, op, slot) => {
    const [readEnd, writeEnd] = (op as Pipe<unknown>).take(slot);
    return [files().adopt(readEnd), files().adopt(writeEnd)];
  },
  discard: (op, slot, value) => {
    if (value === undefined)
      for (const place of (op as Pipe<unknown>).take(slot)) reactor().discardDirect(place);
    else for (const end of value as Ends<DirectDescriptor>) end.close().catch(() => {}); // it is empty in any case
  },
});

/** Where the kernel writes both ends. */
interface Cell {
  readonly words: Int32Array;
  readonly at: number;
  readonly address: number;
}

const PAGE = 4096;
const CELL_BYTES = 8;
// What lies here at teardown is closed: a worker may be terminated between the kernel and JavaScript.
const cells: Cell[] = [];
const forgotten = new FinalizationRegistry<Cell>((cell) => cells.push(cell));

function moreCells(): void {
  const native = reactor().addon;
  const memory = native.allocateForFds(PAGE);
  if (typeof memory === 'number') throw systemError(memory, 'mmap');
  const words = new Int32Array(memory);
  const base = native.addressOf(new Uint8Array(memory));
  for (let at = 0; at < words.length; at += 2) cells.push({ words, at, address: base + at * 4 });
}

/** A cell that is `op`'s as long as it lives. */
function cellFor(op: object): Cell {
  if (cells.length === 0) moreCells();
  const cell = cells.pop() as Cell;
  forgotten.register(op, cell);
  return cell;
}

/** Memory for the numbers of direct descriptors, which are closed with the ring. */
function ownCell(): Cell {
  const words = new Int32Array(Buffer.allocUnsafeSlow(CELL_BYTES).buffer);
  return { words, at: 0, address: addon().addressOf(new Uint8Array(words.buffer)) };
}

/** The kernel writes both ends to memory; the result is 0. */
class Pipe<T> extends Op<T> {
  /** The cells of the slots that the op has been in: it may be in flight more than once. */
  readonly #cells: Map<number, Cell> = new Map();
  /** For the first slot. */
  #spare: Cell | null;

  constructor(kind: OpKind<T>, flags: number, direct: boolean) {
    super(kind, IORING_OP_PIPE, 0, 0, 0, flags);
    this.fd = 0; // the kernel wants it so
    if (direct) {
      this.file = IORING_FILE_INDEX_ALLOC;
      this.opens = files().anyTwo;
    }
    this.#spare = this.#cell();
  }

  #cell(): Cell {
    return this.file === 0 ? cellFor(this) : ownCell();
  }

  override place(slot: number): void {
    let cell = this.#cells.get(slot);
    if (cell === undefined) {
      cell = this.#spare ?? this.#cell();
      this.#spare = null;
      this.#cells.set(slot, cell);
    }
    this.addr = cell.address;
  }

  /** What the kernel has written for the op in `slot`. To be asked once. */
  take(slot: number): Ends<number> {
    const { words, at } = this.#cells.get(slot) as Cell;
    const ends = [words[at], words[at + 1]] as const;
    if (this.file === 0) reactor().adoptPair(words, at);
    return ends;
  }
}

/** What a pipe is opened into. */
export interface PipeOptions {
  /** Two direct descriptors wherever the kernel finds places, instead of ordinary ones. @default ordinary ones */
  readonly into?: 'any' | undefined;
}

/**
 * `pipe2(2)` (6.16). The result is both ends, which are yours to close with the `close` op (direct descriptors with their own
 * `close`). A pipe that is made although it was cancelled is closed. On kernels without it is refused.
 *
 * @param flags `O_*` bits: `O_NONBLOCK`, `O_DIRECT` (packets); ordinary ends are close-on-exec
 * @throws `EMFILE`, `ENFILE`, `EINVAL` (flags); `ENFILE` if there are no two places for direct descriptors
 */
export function pipe(
  flags: number | undefined,
  options: { readonly into: 'any' },
): Op<Ends<DirectDescriptor>>;
export function pipe(flags?: number, options?: { readonly into?: undefined }): Op<Ends<number>>;
export function pipe(flags = 0, { into }: PipeOptions = {}): Op<Ends<number>> | Op<Ends<DirectDescriptor>> {
  checkInteger('flags', flags, 0, 0x7fff_ffff);
  if (into === undefined) return new Pipe(PIPE, flags | O_CLOEXEC, false);
  if (into !== 'any') throw invalidType('options.into', "'any'", into);
  return new Pipe(PIPE_DIRECT, flags & ~O_CLOEXEC, true);
}
