import { AT_FDCWD, ECANCELED, OURO_OP_WRITE_FILES } from '@ouro/native/abi';
import {
  awaitFast,
  begin,
  Op,
  Operation,
  type OpKind,
  opKind,
  type Pinned,
  reactor,
  scratchOffset,
  TIMEOUT_AT,
} from '@ouro/runtime/driver';

/** A file to be written as a whole. */
export interface FileToWrite {
  /** What `keptPath` made of the argument. */
  readonly path: string | Buffer;
  readonly data: Pinned;
  /** `O_*` bits. With O_TRUNC what is there is written over, and cut off behind. */
  readonly flags: number;
  readonly mode: number;
}

/** What came of it. */
export interface WriteOutcome {
  /** 0, an errno below zero, or `NOT_REGULAR`. ECANCELED for those that were not begun. */
  readonly result: number;
  /** The system call that failed. */
  readonly syscall: string;
  /** Bytes written before it failed. */
  readonly written: number;
}

/** It is a pipe, a device or the like, and nothing was done with it. */
export const NOT_REGULAR = 1;

// As cpp/src/poll/write_files.hpp has it, in 32-bit words.
const HEAD = 16;
const RECORD = 16;
const PATH_AT = 0;
const DATA_AT = 2;
const LENGTH_AT = 4;
const FLAGS_AT = 6;
const MODE_AT = 7;
const RESULT_AT = 8;
const STEP_AT = 9;
const WRITTEN_AT = 10;
const STEPS: readonly string[] = ['open', 'write', 'ftruncate'];

const TWO_32 = 4_294_967_296;
const DONE: WriteOutcome = { result: 0, syscall: 'write', written: 0 };

/** Memory that a thread works by. */
interface Sheet {
  readonly bytes: Buffer;
  readonly words: Uint32Array;
  /** Where in it the op's begins, in words. */
  readonly from: number;
}

const WRITE_FILES: OpKind<WriteOutcome[]> = opKind('write', {
  decode: (_result, op, slot) => (op as WriteFiles).outcomes(slot),
});

/** Many files, each opened, written, cut and closed by one thread of libuv's pool: an op of our own. */
class WriteFiles extends Op<WriteOutcome[]> {
  readonly #files: readonly FileToWrite[];
  readonly #bytes: number;
  /** If the scratch is too small for it. */
  #own: Sheet | null = null;

  constructor(files: readonly FileToWrite[]) {
    super(WRITE_FILES, OURO_OP_WRITE_FILES, 0, 0, files.length);
    this.fd = AT_FDCWD;
    this.#files = files;
    let bytes = 4 * (HEAD + RECORD * files.length);
    for (const { path } of files) bytes += (typeof path === 'string' ? 3 * path.length : path.length) + 1;
    this.#bytes = bytes;
    this.hold = this;
  }

  override place(slot: number): void {
    const r = reactor();
    if (this.#bytes <= TIMEOUT_AT) this.addr = r.scratchAddress(slot);
    else {
      const bytes = Buffer.allocUnsafeSlow(this.#bytes);
      this.#own = { bytes, words: new Uint32Array(bytes.buffer, 0, bytes.length >> 2), from: 0 };
      this.addr = r.addon.addressOf(bytes);
    }
    this.#lay(this.#sheet(slot));
  }

  #sheet(slot: number): Sheet {
    if (this.#own !== null) return this.#own;
    const { bytes, words } = reactor().scratch(slot);
    return { bytes, words, from: scratchOffset(slot) >> 2 };
  }

  #lay({ bytes, words, from }: Sheet): void {
    const files = this.#files;
    let at = from + HEAD;
    let pathAt = 4 * (at + RECORD * files.length);
    // Everything else of both is 0 at first.
    words.fill(0, from, at + RECORD * files.length);
    const address = this.addr - 4 * from;
    const put = (place: number, value: number): void => {
      words[place] = value;
      words[place + 1] = value / TWO_32;
    };
    for (const { path, data, flags, mode } of files) {
      put(at + PATH_AT, address + pathAt);
      put(at + DATA_AT, data.address);
      put(at + LENGTH_AT, data.length);
      words[at + FLAGS_AT] = flags;
      words[at + MODE_AT] = mode;
      words[at + RESULT_AT] = ECANCELED;
      pathAt += typeof path === 'string' ? bytes.write(path, pathAt) : path.copy(bytes, pathAt);
      bytes[pathAt++] = 0;
      at += RECORD;
    }
  }

  outcomes(slot: number): WriteOutcome[] {
    const { words, from } = this.#sheet(slot);
    return this.#files.map((_file, index) => {
      const at = from + HEAD + RECORD * index;
      const result = words[at + RESULT_AT] | 0;
      if (result === 0) return DONE;
      const written = words[at + WRITTEN_AT] + words[at + WRITTEN_AT + 1] * TWO_32;
      return { result, syscall: STEPS[words[at + STEP_AT]] ?? 'write', written };
    });
  }

  /** Has the thread begin no further file, and go on with none. */
  stop(slot: number): void {
    const { words, from } = this.#sheet(slot);
    words[from] = 1;
  }
}

/** The op in flight: cancelling it stops the thread between two files, and between two parts of a long one. */
class Writing extends Operation<WriteOutcome[]> {
  readonly #op: WriteFiles;

  constructor(op: WriteFiles) {
    super(op);
    this.#op = op;
  }

  override cancel(reason?: unknown): void {
    if (this.inFlight) this.#op.stop(this.slot);
    super.cancel(reason);
  }
}
awaitFast(Writing);

/** Whether there is somebody to do it: not where the process may open nothing more. */
export function canWriteInPool(): boolean {
  return reactor().serves({ opcode: OURO_OP_WRITE_FILES, flags: 0 });
}

/**
 * Writes files, one after the other, in one thread. Never fails by itself: each file has its outcome.
 *
 * @returns a future that rejects only if it was cancelled before a thread had begun
 */
export function writeFilesInPool(files: readonly FileToWrite[]): Operation<WriteOutcome[]> {
  return begin(new Writing(new WriteFiles(files)));
}
