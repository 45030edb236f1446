import {
  EBADF,
  ENFILE,
  IORING_FILE_INDEX_ALLOC,
  IORING_OP_FILES_UPDATE,
  IORING_OP_FIXED_FD_INSTALL,
  IORING_REGISTER_FILE_ALLOC_RANGE,
  IORING_REGISTER_FILES2,
  IORING_RSRC_REGISTER_SPARSE,
  IOSQE_FIXED_FILE,
} from '@ouro/native/abi';
import type { Cancellable } from '../base/cancel.ts';
import { checkInteger, closedError, invalidType, systemError } from '../base/errors.ts';
import type { Reactor } from '../engine/reactor.ts';
import { scratchOffset } from '../engine/slots.ts';
import { reactor } from '../engine/thread.ts';
import { awaitFast, type Future, rejected, startFlow } from '../future/future.ts';
import { Descriptor } from '../operation/descriptor.ts';
import { nothing, Op, type Opens, type OpKind, opKind, type Target } from '../operation/op.ts';
import { type OpOptions, refusal } from '../operation/op-options.ts';
import { begin, HANDLE_CLOSED, Operation } from '../operation/operation.ts';
import { closeDirect, closeOp } from './close.ts';

/**
 * A place in the ring's own table of open files: what is opened into it has no number in the process, costs no look-up
 * for each op, and can be named by an op in the same submission as the one that opens it. Made by `FileRegistry`.
 */
export class DirectDescriptor extends Descriptor implements Opens {
  readonly any = false;
  readonly full = false;
  readonly #registry: FileRegistry;
  /** Ops in flight that open something into this place. */
  readonly #opening: Set<Cancellable> = new Set();
  /** Ops in flight that empty it. */
  #emptying = 0;
  readonly #unused: (() => void)[] = [];
  #released = false;

  /** @internal */
  constructor(registry: FileRegistry, index: number) {
    super(index, true);
    this.#registry = registry;
  }

  /** @internal */
  beginOpening(op: Cancellable): void {
    this.#opening.add(op);
  }

  /** @internal */
  endOpening(op: Cancellable): void {
    this.#opening.delete(op);
    this.#checkUnused();
  }

  /** @internal */
  beginEmptying(): void {
    this.#emptying++;
  }

  /** @internal */
  endEmptying(): void {
    this.#emptying--;
    this.#checkUnused();
  }

  #checkUnused(): void {
    if (this.#opening.size > 0 || this.#emptying > 0) return;
    for (const then of this.#unused.splice(0)) then();
  }

  #whenUnused(then: () => void): void {
    this.#unused.push(then);
    this.#checkUnused();
  }

  /**
   * Empties the place and gives it back: ops on it are ended first, see `Descriptor.close`, and what would open something
   * into it is cancelled.
   */
  override close(first?: (() => Promise<void>) | null): Future<void> {
    if (this.closed || (this.#opening.size === 0 && this.#emptying === 0)) return super.close(first);
    // What opens into a place that somebody else has by then would hand him the wrong file, what empties it would take
    // his away.
    return super.close(async () => {
      for (const op of [...this.#opening]) op.cancel(HANDLE_CLOSED);
      await new Promise<void>((unused) => this.#whenUnused(unused));
      await first?.();
    });
  }

  /** Cancels what is in flight on the place, and what opens into it. */
  override cancel(reason?: unknown): void {
    for (const op of [...this.#opening]) op.cancel(reason);
    super.cancel(reason);
  }

  protected override release(fd: number): Future<void> {
    if (this.#released) return startFlow(async () => {});
    return startFlow(async () => {
      try {
        await closeDirect(fd);
      } catch (error) {
        // Nothing was ever opened here.
        if ((error as { errno?: number }).errno !== EBADF) throw error;
      } finally {
        this.markReleased(fd);
      }
    });
  }

  /** @internal The place has been emptied by an op of a chain. */
  markReleased(index: number): void {
    if (this.#released) return;
    this.#released = true;
    this.forget();
    // Ops that were queued before may still get there: whoever has the place then must not meet them.
    const late = this.#opening.size > 0;
    this.#whenUnused(() =>
      this.whenIdle(() => {
        if (late) reactor().discardDirect(index);
        this.#registry.free(index);
      }),
    );
  }
}

/**
 * Places that the kernel chooses when an op has come so far: they count as taken from when it is queued. A connection that is
 * accepted when there is no place left is lost, so while a listener accepts, nothing else takes what is set aside for it.
 */
class AnyPlaces implements Opens {
  readonly fd = 0;
  readonly any = true;
  readonly #registry: FileRegistry;
  readonly #count: number;

  constructor(registry: FileRegistry, count: number) {
    this.#registry = registry;
    this.#count = count;
  }

  get full(): boolean {
    const registry = this.#registry;
    return registry.guarded && registry.room < this.#count;
  }

  beginOpening(): void {
    this.#registry.setAside(this.#count);
  }

  endOpening(): void {
    this.#registry.setAside(-this.#count);
  }

  beginEmptying(): void {}

  endEmptying(): void {}
}

/**
 * The table of direct descriptors of this thread's ring: registered empty when first used (`IORING_REGISTER_FILES2`, 5.19).
 * The first half is for places chosen here, which chains need; in the second the kernel chooses (`into: 'any'`).
 */
export class FileRegistry {
  /** Places there are, half of them for `allocate`: see `RunOptions.fixedFiles`. */
  readonly capacity: number;
  readonly #half: number;
  readonly #free: number[] = [];
  #next = 0;
  #used = 0;
  #adopted = 0;
  /** Places that ops in flight are to open into. */
  #aside = 0;
  /** Accepts in flight that must find a place. */
  #guards = 0;
  /** @internal One place of the kernel's choice, and two. */
  readonly any: Opens = new AnyPlaces(this, 1);
  /** @internal */
  readonly anyTwo: Opens = new AnyPlaces(this, 2);
  readonly #whenRoom: (() => void)[] = [];

  /** @internal Use `files()`. */
  constructor(r: Reactor) {
    this.capacity = r.config.fixedFiles;
    this.#half = this.capacity - (this.capacity >> 1);
    // struct io_uring_rsrc_register: nr, flags, resv2, data, tags
    const request = new Uint32Array(8);
    request[0] = this.capacity;
    request[1] = IORING_RSRC_REGISTER_SPARSE;
    check(r.addon.register(IORING_REGISTER_FILES2, addressOfOwn(r, request), request.byteLength));
    if (this.capacity === 1) return;
    // struct io_uring_file_index_range: off, len, resv
    const range = new Uint32Array(4);
    range[0] = this.#half;
    range[1] = this.capacity - this.#half;
    check(r.addon.register(IORING_REGISTER_FILE_ALLOC_RANGE, addressOfOwn(r, range), 0));
  }

  /** Places taken by `allocate` and not given back. */
  get used(): number {
    return this.#used;
  }

  /** Places of the kernel's choice (`into('any')`) that have not been emptied. */
  get adopted(): number {
    return this.#adopted;
  }

  /**
   * Takes a place. Nothing is open there yet: hand it to an op that opens (`openat`, `socket`, `accept`, `pipe`) as `into`.
   * It is yours until its `close`.
   *
   * @throws `ENFILE` if all are taken, which are half of the table
   */
  allocate(): DirectDescriptor {
    const index = this.#free.pop() ?? (this.#next < this.#half ? this.#next++ : -1);
    if (index < 0) {
      const { capacity } = this;
      const words = `all ${this.#half} places for allocate() are taken, half of the table (RunOptions.fixedFiles is ${capacity})`;
      throw systemError(ENFILE, 'io_uring_register', null, words);
    }
    this.#used++;
    return new DirectDescriptor(this, index);
  }

  /** @internal A place of the kernel's choice. */
  adopt(index: number): DirectDescriptor {
    this.#adopted++;
    return new DirectDescriptor(this, index);
  }

  /** @internal Places for the kernel to choose from that are neither taken nor set aside. */
  get room(): number {
    return this.capacity - this.#half - this.#adopted - this.#aside;
  }

  /** @internal Whether places are set aside for accepts, which lose a connection when there is none. */
  get guarded(): boolean {
    return this.#guards > 0;
  }

  /** @internal Sets places aside for an op in flight that opens into those of the kernel's choice, or (below zero) no more. */
  setAside(places: number): void {
    this.#aside += places;
    if (places < 0) this.#tellOfRoom();
  }

  /** @internal The same for an accept of a listener: nothing else may take them. */
  reserve(places: number): void {
    this.#guards++;
    this.setAside(places);
  }

  /** @internal That accept is over. */
  unreserve(places: number): void {
    this.#guards--;
    this.setAside(-places);
  }

  /** @internal Calls `then` once, when there may be room again. */
  whenRoom(then: () => void): void {
    this.#whenRoom.push(then);
  }

  #tellOfRoom(): void {
    if (this.#whenRoom.length > 0 && this.room > 0) for (const then of this.#whenRoom.splice(0)) then();
  }

  /** @internal */
  free(index: number): void {
    if (index >= this.#half) {
      this.#adopted--;
      this.#tellOfRoom();
      return;
    }
    this.#used--;
    this.#free.push(index);
  }

  /**
   * Puts an ordinary descriptor into the table as well (`IORING_OP_FILES_UPDATE`, 5.6). Both are open from then on, and each
   * has to be closed.
   */
  register(fd: number, options?: OpOptions): Future<DirectDescriptor> {
    checkInteger('fd', fd, 0, 0x7fff_ffff);
    const refused = refusal(options);
    if (refused !== undefined) return rejected(refused);
    let place: DirectDescriptor;
    try {
      place = this.allocate();
    } catch (error) {
      return rejected(error);
    }
    return begin(new Registering(new Register(place, fd)), options);
  }

  /** An ordinary descriptor for what is open in a place (`IORING_OP_FIXED_FD_INSTALL`, 6.8). Both are open from then on. */
  install(direct: DirectDescriptor, options?: OpOptions): Future<number> {
    if (!(direct instanceof DirectDescriptor)) {
      throw invalidType('direct', 'an instance of DirectDescriptor', direct);
    }
    return begin(new Operation(installOp(direct)), options);
  }
}

const EMPTY = opKind<void>('close', {
  decode: (_result, op) => (op.closes as DirectDescriptor).markReleased(op.file - 1),
});
const CLOSE_FD = opKind<void>('close', { decode: nothing });

/**
 * `close(2)` as an op, for the end of a chain: of a direct descriptor (5.15), which is given back with it, or of a number
 * that nothing else uses. Handles have a `close` of their own, which ends what is in flight first.
 */
export function closing(target: DirectDescriptor | number): Op<void> {
  if (typeof target === 'number') {
    checkInteger('fd', target, 0, 0x7fff_ffff);
    const op = closeOp(CLOSE_FD, 0);
    op.fd = target;
    return op;
  }
  if (!(target instanceof DirectDescriptor)) {
    throw invalidType('fd', 'of type number or an instance of DirectDescriptor', target);
  }
  if (target.closed) throw closedError('close');
  const op = closeOp(EMPTY, target.fd + 1);
  op.closes = target;
  return op;
}

const INSTALL = opKind<number>('install', { resultIsFd: true });

/** `IORING_OP_FIXED_FD_INSTALL` (6.8). The new descriptor is close-on-exec. */
export function installOp(direct: Target): Op<number> {
  const op = new Op(INSTALL, IORING_OP_FIXED_FD_INSTALL).on(direct);
  if (op.descriptor?.direct === false) throw invalidType('fd', 'a direct descriptor', direct);
  op.flags |= IOSQE_FIXED_FILE;
  return op;
}

const FILES_UPDATE = opKind<DirectDescriptor>('files_update', {
  decode: (_result, op) => op.opens as DirectDescriptor,
});

class Register extends Op<DirectDescriptor> {
  readonly #fd: number;

  constructor(place: DirectDescriptor, fd: number) {
    super(FILES_UPDATE, IORING_OP_FILES_UPDATE, place.fd, 0, 1);
    this.#fd = fd;
    this.opens = place;
  }

  override place(slot: number): void {
    const r = reactor();
    r.scratch(slot).words[scratchOffset(slot) >> 2] = this.#fd;
    this.addr = r.scratchAddress(slot);
  }
}

/** Gives the place back that was taken for it, if it fails. */
class Registering extends Operation<DirectDescriptor> {
  override abandon(error: unknown): void {
    super.abandon(error);
    this.#giveBack();
  }

  protected override settleFailure(errno: number, bytesTransferred: number): void {
    super.settleFailure(errno, bytesTransferred);
    this.#giveBack();
  }

  #giveBack(): void {
    const { opens } = this.op;
    if (opens instanceof DirectDescriptor) opens.markReleased(opens.fd);
  }
}
awaitFast(Registering);

/**
 * The kind of an op that opens into the table: the same errors as `kind`, and the place as its value.
 * @param kind of the op when it opens an ordinary descriptor
 */
export function directKind(kind: OpKind<unknown>): OpKind<DirectDescriptor> {
  return {
    ...kind,
    resultIsFd: false,
    resultIsDirect: true,
    decode: (result, { opens }) => (opens instanceof DirectDescriptor ? opens : files().adopt(result)),
  };
}

/** Where an op is to open: a place that was allocated, or wherever the kernel finds one. */
export type Into = DirectDescriptor | 'any';

/** Has `op`, which must be of a `directKind`, open into the table of direct descriptors. */
export function openInto<T>(op: Op<T>, into: Into): Op<T> {
  if (into === 'any') {
    op.opens = files().any;
    op.file = IORING_FILE_INDEX_ALLOC;
  } else {
    if (into.closed) throw closedError(op.kind.syscall);
    op.file = into.fd + 1;
    op.opens = into;
  }
  return op;
}

const registries = new WeakMap<Reactor, FileRegistry>();

/**
 * The table of direct descriptors of this thread.
 * @throws `EMFILE` if `RunOptions.fixedFiles` is more than the limit of open files (`ulimit -n`)
 */
export function files(): FileRegistry {
  const r = reactor();
  let registry = registries.get(r);
  if (registry === undefined) {
    registry = new FileRegistry(r);
    registries.set(r, registry);
  }
  return registry;
}

/** The table of a reactor, if it has one. */
export function existingFiles(r: Reactor): FileRegistry | undefined {
  return registries.get(r);
}

/** The address of an argument that nobody else sees. */
function addressOfOwn(r: Reactor, words: Uint32Array): number {
  return r.addon.addressOf(new Uint8Array(words.buffer));
}

function check(result: number): void {
  if (result < 0) throw systemError(result, 'io_uring_register');
}
