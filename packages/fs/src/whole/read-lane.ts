import {
  AT_FDCWD,
  EAGAIN,
  EINVAL,
  EOPNOTSUPP,
  IORING_OP_OPENAT,
  IORING_OP_READ,
  IOSQE_FIXED_FILE,
  IOSQE_IO_HARDLINK,
  IOSQE_IO_LINK,
  RWF_NOWAIT,
} from '@ouro/native/abi';
import {
  type Completion,
  type DirectDescriptor,
  files,
  insist,
  type Reactor,
  reactor,
  scratchOffset,
  systemError,
  TIMEOUT_AT,
} from '@ouro/runtime/driver';
import { type PathLike, placePath } from '../path.ts';
import { WholeRead } from './read-whole.ts';
import { Slab } from './slab.ts';

/** What is read with one op. A longer file takes more of them, and memory of its own. */
const WINDOW = 131_072;
/** Bytes of a slot's scratch that the second read takes. */
const SPILL = TIMEOUT_AT;
const MOST_PIECE = 8 << 20;
const CURRENT = -1;

/** Lanes that have nothing to do. Each keeps its place in the table of direct descriptors, which is empty. */
const idle: ReadLane[] = [];

/** Closes what lanes have open that nobody has any more: of a stream that was neither read to its end nor left. */
const abandoned: FinalizationRegistry<DirectDescriptor> = new FinalizationRegistry((place) => {
  if (!place.closed) place.close().catch(() => {});
});

/** Who has files to be read, and gets them. */
export interface LaneUser {
  /** The content is in `lane`'s slab, `length` bytes from `slab.at` on: to be taken before the lane is used again. */
  filled(lane: ReadLane, length: number): void;
  /** The file is in memory of its own, or could not be read. */
  done(lane: ReadLane, content: Buffer | null, error: Error | null): void;
}

/** The beginning of a lane's chain. */
class Opening implements Completion {
  readonly resultIsFd = false;
  /** What is linked behind it keeps the process alive. */
  readonly refed = false;
  readonly name = 'open';
  readonly #lane: ReadLane;

  constructor(lane: ReadLane) {
    this.#lane = lane;
  }

  complete(result: number): void {
    this.#lane.opened(result);
  }
}

/** The end of a lane's chain. */
class Proof implements Completion {
  readonly resultIsFd = false;
  readonly refed = true;
  readonly name = 'read';
  readonly #lane: ReadLane;

  constructor(lane: ReadLane) {
    this.#lane = lane;
  }

  complete(result: number): void {
    this.#lane.proved(result);
  }
}

/**
 * Reads one file after the other. A file is one chain of linked ops on a direct descriptor: open it, read what is in memory
 * without waiting, and read once more, which brings nothing: only that proves the end of what may be a pipe or a file of
 * /proc, whose type nobody has asked for. Opening the next file into the same place closes the one before; a close of its own
 * could be run behind that, and take the wrong file away.
 *
 * What a chain does not finish (a file of many pieces) is finished in single steps.
 */
export class ReadLane implements Completion {
  readonly resultIsFd = false;
  readonly refed = true;
  readonly name = 'read';
  /** Which of the caller's files, and its path as it was given. */
  index = 0;
  given: PathLike = '';
  #path: string | Buffer = '';
  readonly #opening: Opening = new Opening(this);
  readonly #proof: Proof = new Proof(this);
  readonly #place: DirectDescriptor;
  #user: LaneUser | null = null;
  #slab: Slab | null = null;
  /** Keeps a long path alive until the file is open. */
  hold: Buffer | null = null;
  #slot = -1;
  #generation = 0;
  #whole: WholeRead | null = null;
  #cancelled = false;
  /** The open and the first read, as long as they are in flight. */
  #openSlot = -1;
  #openGeneration = 0;
  #firstSlot = -1;
  #firstGeneration = 0;
  /** What the open and the first read of the chain brought. */
  #open = 0;
  #first = 0;
  /** Not on file systems that do not know it. */
  #nowait = RWF_NOWAIT;
  // A file of more than one piece:
  #inWindow = false;
  #full: Buffer[] = [];
  #piece: Buffer | null = null;
  #address = 0;
  #length = 0;
  #got = 0;

  private constructor(place: DirectDescriptor) {
    this.#place = place;
    abandoned.register(this, place);
  }

  /** A lane, or null if there is no direct descriptor to be had. */
  static take(user: LaneUser): ReadLane | null {
    const lane = idle.pop() ?? ReadLane.#make();
    if (lane !== null) lane.#user = user;
    return lane;
  }

  static #make(): ReadLane | null {
    try {
      const table = files();
      // Most of the table is for programs.
      return table.used < table.capacity >> 3 ? new ReadLane(table.allocate()) : null;
    } catch {
      return null; // the table is full, or may not be as large as that
    }
  }

  /** Gives the lane back, and closes the file it read last. */
  leave(): void {
    this.#user = null;
    this.#slab?.leave();
    this.#slab = null;
    this.hold = null;
    if (this.#place.closed) return;
    reactor().discardDirect(this.#place.fd);
    idle.push(this);
  }

  get slab(): Slab | null {
    return this.#slab;
  }

  /** @throws where the kernel takes no more ops */
  start(index: number, given: PathLike, path: string | Buffer): void {
    this.index = index;
    this.given = given;
    this.#path = path;
    this.#cancelled = false;
    const slab = this.#ready();
    if (slab === null) {
      this.#readWhole();
      return;
    }
    const r = reactor();
    r.reserve(3);
    const opening = r.take(this.#opening);
    const slot = r.take(this);
    const last = r.take(this.#proof);
    const placed = placePath(opening, path);
    this.hold = placed.hold;
    const place = this.#place.fd;
    const open = IORING_OP_OPENAT | (IOSQE_IO_LINK << 8);
    r.push(opening, open, AT_FDCWD, 0, placed.address, 0, 0, 0, place + 1);
    this.#openSlot = opening;
    this.#openGeneration = r.slots.generations[opening];
    // Hard: it mostly moves less than it could, which would end the chain.
    const read = IORING_OP_READ | ((IOSQE_FIXED_FILE | IOSQE_IO_HARDLINK) << 8);
    r.push(slot, read, place, CURRENT, slab.address + slab.at, WINDOW, this.#nowait, 0, 0);
    this.#firstSlot = slot;
    this.#firstGeneration = r.slots.generations[slot];
    this.#pushRead(r, last, r.scratchAddress(last), SPILL);
  }

  #pushRead(r: Reactor, slot: number, address: number, length: number): void {
    const head = IORING_OP_READ | (IOSQE_FIXED_FILE << 8);
    r.push(slot, head, this.#place.fd, CURRENT, address, length, 0, 0, 0);
    this.#slot = slot;
    this.#generation = r.slots.generations[slot];
  }

  /** A slab with room for a window. */
  #ready(): Slab | null {
    const slab = this.#slab;
    if (slab !== null) {
      slab.rewind();
      if (slab.room >= WINDOW && slab.intact) return slab;
      slab.leave();
    }
    this.#slab = Slab.take();
    return this.#slab;
  }

  opened(result: number): void {
    this.#openSlot = -1;
    this.#open = result;
  }

  /** The first read of the chain has ended, or one of many pieces. */
  complete(result: number): void {
    if (this.#piece === null) {
      this.#firstSlot = -1;
      this.#first = result;
    } else this.#more(result);
  }

  /** The chain has ended. */
  proved(result: number): void {
    const slot = this.#slot;
    this.#slot = -1;
    this.hold = null;
    const slab = this.#slab;
    const first = this.#first;
    if (first === EOPNOTSUPP) this.#nowait = 0;
    if (
      slab === null ||
      !slab.intact ||
      result < 0 ||
      (first < 0 && first !== EAGAIN && first !== EOPNOTSUPP)
    ) {
      this.#failed(result);
      return;
    }
    const length = Math.max(0, first);
    if (result === 0) this.#user?.filled(this, length);
    else this.#goOn(slab, length, slot, result);
  }

  #failed(result: number): void {
    const user = this.#user;
    const open = this.#open;
    if (this.#cancelled) user?.done(this, null, null);
    else if (open < 0 && open !== EINVAL)
      user?.done(this, null, systemError(open, 'open', { path: this.#path }));
    else if (this.#first > 0 && result < 0) user?.done(this, null, systemError(result, 'read'));
    else this.#readWhole(); // which tells why
  }

  /** Reads it without a chain. */
  #readWhole(): void {
    const whole = new WholeRead(this.#path, null, null);
    this.#whole = whole;
    const user = this.#user;
    whole.then(
      (content) => {
        this.#whole = null;
        user?.done(this, content as Buffer, null);
      },
      (error: unknown) => {
        this.#whole = null;
        user?.done(this, null, error as Error);
      },
    );
    whole.start(0);
  }

  /** There is more: what was in the scratch is put behind what is there, and the rest read behind that. */
  #goOn(slab: Slab, length: number, slot: number, spilled: number): void {
    const r = reactor();
    const from = scratchOffset(slot);
    const spill = r.scratch(slot).bytes.subarray(from, from + spilled);
    const window = slab.bytes.subarray(slab.at, slab.at + WINDOW);
    if (length + spilled <= WINDOW) {
      window.set(spill, length);
      this.#inWindow = true;
      this.#use(window, slab.address + slab.at, length + spilled);
    } else {
      this.#full.push(Buffer.from(window.subarray(0, length)));
      const piece = Buffer.allocUnsafeSlow(4 * WINDOW);
      piece.set(spill);
      this.#use(piece, r.addon.addressOf(piece), spilled);
    }
    this.#readOn();
  }

  #use(piece: Buffer, address: number, got: number): void {
    this.#piece = piece;
    this.#address = address;
    this.#length = piece.length;
    this.#got = got;
  }

  #readOn(): void {
    if (this.#got === this.#length) {
      const piece = this.#piece ?? EMPTY;
      // What lies in the slab is to be used again.
      this.#full.push(this.#inWindow ? Buffer.from(piece) : piece);
      this.#inWindow = false;
      const next = Buffer.allocUnsafeSlow(Math.min(MOST_PIECE, 4 * this.#length));
      this.#use(next, reactor().addon.addressOf(next), 0);
    }
    try {
      const r = reactor();
      this.#pushRead(r, r.take(this), this.#address + this.#got, this.#length - this.#got);
    } catch (error) {
      this.#endPieces(null, error as Error);
    }
  }

  #more(result: number): void {
    this.#slot = -1;
    if (this.#cancelled) this.#endPieces(null, null);
    else if (result < 0) this.#endPieces(null, systemError(result, 'read'));
    else if (result > 0) {
      this.#got += result;
      this.#readOn();
    } else if (this.#inWindow) {
      const length = this.#got;
      this.#forgetPieces();
      if (this.#slab?.intact === true) this.#user?.filled(this, length);
      else this.#readWhole();
    } else {
      const last = (this.#piece ?? EMPTY).subarray(0, this.#got);
      this.#endPieces(Buffer.concat([...this.#full, last]), null);
    }
  }

  #endPieces(content: Buffer | null, error: Error | null): void {
    this.#forgetPieces();
    this.#user?.done(this, content, error);
  }

  #forgetPieces(): void {
    this.#piece = null;
    this.#full = [];
    this.#inWindow = false;
  }

  /** Gives up what is in flight: `done` is called with nothing, if it was not quicker. */
  cancel(): void {
    this.#cancelled = true;
    this.#whole?.cancel();
    if (this.#again()) insist(() => this.#again());
  }

  /** The kernel finds only the op of a chain that runs. */
  #again(): boolean {
    if (this.#slot < 0) return false;
    if (this.#openSlot >= 0) reactor().cancel(this.#openSlot, this.#openGeneration);
    else if (this.#firstSlot >= 0) reactor().cancel(this.#firstSlot, this.#firstGeneration);
    else reactor().cancel(this.#slot, this.#generation);
    return true;
  }
}

const EMPTY: Buffer = Buffer.alloc(0);
