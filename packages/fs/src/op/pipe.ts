import { addon } from '@ouro/native';
import { IORING_FILE_INDEX_ALLOC, IORING_OP_PIPE, O_CLOEXEC } from '@ouro/native/abi';
import {
  checkInteger,
  type DirectDescriptor,
  files,
  invalidType,
  Op,
  type OpKind,
  opKind,
  reactor,
} from '@ouro/runtime/driver';

/** The two ends of a pipe. */
export type Ends<T> = readonly [readEnd: T, writeEnd: T];

const PIPE = opKind<Ends<number>>('pipe2', {
  decode: (_result, op) => {
    const ends = (op as Pipe<unknown>).ends;
    // Closed with the thread, as what other ops open. A worker that is terminated between the kernel and here leaks them.
    for (const fd of ends) reactor().addon.own(fd);
    return ends;
  },
  discard: (op) => {
    for (const fd of (op as Pipe<unknown>).ends) reactor().discard(fd);
  },
});

const PIPE_DIRECT = opKind<Ends<DirectDescriptor>>('pipe2', {
  decode: (_result, op) => {
    const [readEnd, writeEnd] = (op as Pipe<unknown>).ends;
    return [files().adopt(readEnd), files().adopt(writeEnd)];
  },
  discard: (op) => {
    for (const place of (op as Pipe<unknown>).ends) reactor().discardDirect(place);
  },
});

/** The kernel writes both ends to memory; the result is 0. */
class Pipe<T> extends Op<T> {
  // Not in the slot's scratch, which is somebody else's by the time that a chain finds out that nobody takes the ends.
  readonly #ends: Buffer = Buffer.allocUnsafeSlow(8);

  constructor(kind: OpKind<T>, flags: number) {
    super(kind, IORING_OP_PIPE, 0, 0, 0, flags);
    this.fd = 0; // the kernel wants it so
    this.addr = addon().addressOf(this.#ends);
    this.hold = this.#ends;
  }

  get ends(): Ends<number> {
    return [this.#ends.readInt32LE(0), this.#ends.readInt32LE(4)];
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
  if (into === undefined) return new Pipe(PIPE, flags | O_CLOEXEC);
  if (into !== 'any') throw invalidType('options.into', "'any'", into);
  files();
  const op = new Pipe(PIPE_DIRECT, flags & ~O_CLOEXEC);
  op.file = IORING_FILE_INDEX_ALLOC;
  return op;
}
