import { readv as readvInPool, writev as writevInPool } from 'node:fs';
import { addon } from '@ouro/native';
import {
  ECANCELED,
  EIO,
  IORING_OP_READV,
  IORING_OP_READV_FIXED,
  IORING_OP_WRITEV,
  IORING_OP_WRITEV_FIXED,
  UIO_MAXIOV,
} from '@ouro/native/abi';
import {
  addressOf,
  asBytes,
  awaitFast,
  Bounce,
  type Bytes,
  checkBytes,
  fixedIndexOf,
  invalidType,
  lengthOf,
  NOT_FIXED,
  Op,
  Operation,
  type OpKind,
  opKind,
  outOfRange,
  type Pinned,
  pinned,
  reactor,
  scratchOffset,
  type Target,
  TIMEOUT_AT,
  UNSTABLE,
} from '@ouro/runtime/driver';
import { CURRENT, checkPosition, type Position } from '../position.ts';
import { inPoolOn } from './elsewhere.ts';
import { type MoveOptions, moveFlags } from './read-write.ts';

// In errors they are what Node calls them, for one buffer or several.
const READV = opKind<number>('read', {
  endsWithHandle: true,
  decode: (count, op) => (op as Vectored).scatter(count),
});
const WRITEV = opKind<number>('write');

const TWO_32 = 4_294_967_296;
/** Bytes of `struct iovec`: address and length. */
const IOVEC_BYTES = 16;
const INLINE_VECTORS = Math.floor(TIMEOUT_AT / IOVEC_BYTES);

/** An op on several stretches of memory, of which the first bytes may have been moved already. */
export class Vectored extends Op<number> {
  readonly #pieces: readonly Pinned[];
  /** Bytes of all pieces. */
  readonly total: number;
  /** The array of `struct iovec`, where that is too long for the scratch. Never shown to anybody. */
  readonly #vectors: Buffer | null;
  #first = 0;
  /** Bytes of the first piece that have been moved. */
  #skipped = 0;

  constructor(
    kind: OpKind<number>,
    opcode: number,
    pieces: readonly Pinned[],
    position: number,
    flags: number,
  ) {
    super(kind, opcode, position, 0, 0, flags);
    this.#pieces = pieces;
    this.total = pieces.reduce((total, { length }) => total + length, 0);
    const vectors =
      pieces.length > INLINE_VECTORS ? Buffer.allocUnsafeSlow(pieces.length * IOVEC_BYTES) : null;
    this.#vectors = vectors;
    this.hold = [vectors, pieces];
  }

  override place(slot: number): void {
    const pieces = this.#pieces;
    const vectors = this.#vectors;
    let words: Uint32Array;
    let at = 0;
    if (vectors === null) {
      const r = reactor();
      words = r.scratch(slot).words;
      at = scratchOffset(slot) >> 2;
      this.addr = r.scratchAddress(slot);
    } else {
      words = new Uint32Array(vectors.buffer);
      this.addr = addon().addressOf(vectors);
    }
    let skipped = this.#skipped;
    for (let i = this.#first; i < pieces.length; i++, at += 4) {
      const address = pieces[i].address + skipped;
      const length = pieces[i].length - skipped;
      words[at] = address;
      words[at + 1] = address / TWO_32;
      words[at + 2] = length;
      words[at + 3] = length / TWO_32;
      skipped = 0;
    }
    this.len = pieces.length - this.#first;
  }

  /** Notes that `count` more bytes have been moved: the next `place` begins behind them. */
  advance(count: number): void {
    if (this.off !== CURRENT) this.off += count;
    const pieces = this.#pieces;
    let at = this.#skipped + count;
    while (this.#first < pieces.length && at >= pieces[this.#first].length)
      at -= pieces[this.#first++].length;
    this.#skipped = at;
  }

  /** Brings `count` bytes to those callers' buffers that the kernel could not be given. */
  scatter(count: number): number {
    let left = count;
    for (const { length, hold } of this.#pieces) {
      if (left <= 0) break;
      if (hold instanceof Bounce) hold.copyBack(Math.min(left, length));
      left -= length;
    }
    return count;
  }

  override elsewhere(): Promise<number> | null {
    // Flags of one call are nothing that Node knows.
    if (this.opFlags !== 0 || this.#first > 0 || this.#skipped > 0) return null;
    const views = this.#pieces.map(({ hold }) =>
      hold instanceof Bounce ? hold.bytes : asBytes(hold as Bytes),
    );
    const position = this.off === CURRENT ? null : this.off;
    const call = this.kind === WRITEV ? writevInPool : readvInPool;
    return inPoolOn(this, (fd, done) => call(fd, views, position, done));
  }
}

/** Checks an array of buffers, and copies it. */
function checkBuffers(buffers: unknown): Bytes[] {
  if (!Array.isArray(buffers)) throw invalidType('buffers', 'an instance of Array', buffers);
  const copy: unknown[] = [...buffers];
  if (copy.length === 0 || copy.length > UIO_MAXIOV) {
    throw outOfRange('buffers.length', `>= 1 && <= ${UIO_MAXIOV}`, copy.length);
  }
  return copy.map((buffer, i) => {
    checkBytes(`buffers[${i}]`, buffer);
    return buffer;
  });
}

/** The memory of a view for the kernel to fill. */
function fillable(view: Bytes): Pinned {
  const address = addressOf(view);
  if (address !== UNSTABLE) return { address, length: lengthOf(view), hold: view, fixed: fixedIndexOf(view) };
  const bounce = Bounce.toFill(view);
  return { address: bounce.address, length: bounce.bytes.length, hold: bounce, fixed: NOT_FIXED };
}

/** The op for memory that lies in one registered buffer all of it, or else the common one. */
function vectored(
  kind: OpKind<number>,
  opcode: number,
  fixedOpcode: number,
  pieces: readonly Pinned[],
  position: number,
  flags: number,
): Vectored {
  const { fixed } = pieces[0];
  if (
    fixed === NOT_FIXED ||
    pieces.some((piece) => piece.fixed !== fixed) ||
    !reactor().supports(fixedOpcode)
  ) {
    return new Vectored(kind, opcode, pieces, position, flags);
  }
  const op = new Vectored(kind, fixedOpcode, pieces, position, flags);
  op.buf = fixed;
  return op;
}

/**
 * `preadv2(2)` (5.1): reads one stretch of a file into several buffers, one after the other. Where they all lie in one
 * registered buffer it is `READV_FIXED` (6.15). It may bring less than they take.
 *
 * @param buffers 1 to 1024, which belong to the op until that is done
 * @param position byte of the file; null or nothing for its current position, and for what has none
 */
export function readv(
  fd: Target,
  buffers: readonly Bytes[],
  position?: Position,
  options: MoveOptions = {},
): Op<number> {
  const views = checkBuffers(buffers);
  const from = checkPosition(position);
  const flags = moveFlags(options);
  const pieces = views.map(fillable);
  return vectored(READV, IORING_OP_READV, IORING_OP_READV_FIXED, pieces, from, flags).on(fd);
}

/** `writev` as what `WritevAll` goes on with. */
export function writevOp(
  fd: Target,
  buffers: readonly Bytes[],
  position: Position | undefined,
  options: MoveOptions,
): Vectored {
  const views = checkBuffers(buffers);
  const to = checkPosition(position);
  const flags = moveFlags(options);
  return vectored(WRITEV, IORING_OP_WRITEV, IORING_OP_WRITEV_FIXED, views.map(pinned), to, flags).on(fd);
}

/**
 * `pwritev2(2)` (5.1): writes several buffers to one stretch of a file. Where they all lie in one registered buffer it is
 * `WRITEV_FIXED` (6.15). It may write less than all: `File.writev` goes on then.
 *
 * @param buffers 1 to 1024, which belong to the op until that is done
 * @param position byte of the file; null or nothing for its current position, and for what has none
 */
export function writev(
  fd: Target,
  buffers: readonly Bytes[],
  position?: Position,
  options: MoveOptions = {},
): Op<number> {
  return writevOp(fd, buffers, position, options);
}

/** A vectored write of all there is, in as many ops as it takes. */
export class WritevAll extends Operation<number> {
  readonly #op: Vectored;
  #written = 0;
  /** Where it begins; below zero where positions are not kept by the kernel, or unknown to it. */
  #from = -1;

  constructor(op: Vectored) {
    super(op);
    this.#op = op;
  }

  override start(timeout?: number): this {
    // As `SequentialWrite`: what could only be written in part leaves the position where it was.
    if (this.#written === 0 && this.#op.off === CURRENT)
      this.#from = reactor().addon.seek(this.#op.fd, CURRENT);
    return super.start(timeout);
  }

  protected override finish(result: number, cqeFlags: number): void {
    const written = this.#written;
    const { total } = this.#op;
    if (result < 0) {
      this.settleFailure(result, written);
      return;
    }
    const now = written + result;
    this.#written = now;
    if (now === total) this.settle(total, cqeFlags);
    else if (result === 0) this.settleFailure(EIO, now);
    else if (this.cancelled) this.settleFailure(ECANCELED, now);
    else this.#again(result, now);
  }

  #again(moved: number, now: number): void {
    if (this.#from >= 0) reactor().addon.seek(this.#op.fd, this.#from + now);
    this.#op.advance(moved);
    const left = this.timeLeft;
    if (left === 0) {
      this.settleExpired(now);
      return;
    }
    try {
      this.start(left);
    } catch (error) {
      // The kernel takes no more ops.
      this.settleFailure((error as { errno?: number }).errno ?? EIO, now);
    }
  }
}
awaitFast(WritevAll);
