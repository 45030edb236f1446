import {
  IOSQE_CQE_SKIP_SUCCESS,
  IOSQE_FIXED_FILE,
  IOSQE_IO_DRAIN,
  IOSQE_IO_HARDLINK,
  IOSQE_IO_LINK,
} from '@ouro/native/abi';
import type { Cancellable } from '../base/cancel.ts';
import { checkInteger, type ErrorDetail, invalidType, outOfRange } from '../base/errors.ts';
import type { Descriptor } from './descriptor.ts';

// A method's type, so that an OpKind<string> still is an OpKind<unknown>.
type Drop<T> = { drop(value: T): void }['drop'];

/** What the ops of one kind have in common. One constant object for each kind, made by `opKind`. */
export interface OpKind<T> {
  /** As errors and metrics name it: the system call that does the same. */
  readonly syscall: string;
  /** A result of zero or more is a descriptor, which is closed if nobody takes it. */
  readonly resultIsFd: boolean;
  /** A success opens a direct descriptor, which is closed if nobody takes it. */
  readonly resultIsDirect: boolean;
  /** A result below zero that is success all the same (`ETIME` of a timeout), and goes to `decode`; 0 for none. */
  readonly passes: number;
  /**
   * Turns a result of zero or more into the value; null where the result is the value. Runs before the slot and its
   * scratch are given on. Of a zero-copy send the flags are those of its second completion, with what that said in the
   * upper half (`IORING_NOTIF_USAGE_ZC_COPIED`).
   */
  readonly decode: ((result: number, op: Op<unknown>, slot: number, cqeFlags: number) => T) | null;
  /** Makes the error for a result below zero; null for `systemError`. */
  readonly error: ((errno: number, op: Op<unknown>) => Error) | null;
  /**
   * Undoes a success that nobody takes, where that is more than closing one descriptor; null where nothing is to be undone.
   * Gets what `decode` made of it, undefined where that has not been asked.
   */
  readonly discard: ((op: Op<unknown>, slot: number, value: unknown) => void) | null;
  /** Given up when the handle is closed: what only brings data. What was to be written is finished first. */
  readonly endsWithHandle: boolean;
  /** Lets go of a value of a stream that nobody takes; null where there is nothing to let go of. */
  readonly drop: Drop<T> | null;
}

/** Makes an `OpKind`; all of them have the same shape, so that what runs for each op stays monomorphic. */
export function opKind<T>(
  syscall: string,
  {
    resultIsFd = false,
    resultIsDirect = false,
    passes = 0,
    decode = null,
    error = null,
    discard = null,
    endsWithHandle = false,
    drop = null,
  }: Partial<Omit<OpKind<T>, 'syscall'>> = {},
): OpKind<T> {
  return {
    syscall,
    resultIsFd,
    resultIsDirect,
    passes,
    decode,
    error,
    discard,
    endsWithHandle,
    drop,
  };
}

/** For kinds whose success says nothing. */
export function nothing(): undefined {
  return undefined;
}

/** What has a descriptor: a number, a direct descriptor, or a handle such as `File` or `TcpStream`. */
export type Target = number | Descriptor | { readonly descriptor: Descriptor };

/** A place in the table of direct descriptors that something is opened into: see direct.ts. */
export interface Opens {
  /** Its index; -1 once it has been closed. Of places that the kernel chooses it says nothing. */
  readonly fd: number;
  /** Whether the kernel chooses the place, and the op's result says which. */
  readonly any: boolean;
  /** Whether there is no room for what is to be opened. To be asked before `beginOpening`. */
  readonly full: boolean;
  /** @internal Notes that an op opens into it, and is to be cancelled when it is closed. */
  beginOpening(op: Cancellable): void;
  /** @internal */
  endOpening(op: Cancellable): void;
  /** @internal Notes that an op empties it. */
  beginEmptying(): void;
  /** @internal */
  endEmptying(): void;
}

/** Fields that few ops need. Replaced as a whole, so that an op in flight keeps those that it was begun with. */
export interface Rare {
  readonly file: number;
  readonly addr3: number;
  readonly detail: ErrorDetail | null;
  readonly opens: Opens | null;
  readonly closes: Opens | null;
  readonly also: Descriptor | null;
}

/**
 * `IOSQE_*` bits that are no op's own. Links concern whatever is queued next, which may be the runtime's own watch on Node's loop:
 * `chain` makes them. Draining waits for all that is in flight, which never ends: that watch is. And an op without
 * a completion would be in flight for ever.
 */
const NOT_OURS_TO_GIVE = IOSQE_IO_DRAIN | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_CQE_SKIP_SUCCESS;

const NONE: Rare = { file: 0, addr3: 0, detail: null, opens: null, closes: null, also: null };

/**
 * One SQE to be (`struct io_uring_sqe`), with what its result means. Nothing happens before it is handed to `submit`,
 * `chain`, `batch` or `stream`. The fields have the kernel's names; a kind of op fills those that it needs.
 *
 * @typeParam T what its future resolves to
 */
export class Op<T> {
  readonly kind: OpKind<T>;
  /** @internal The SQE's first word: opcode, `flags` << 8, `ioprio` << 16. */
  head: number;
  fd = -1;
  /** `off`, `addr2`, `cmd_op`; -1 is the all-ones of "current position". */
  off: number;
  /** `addr`, `splice_off_in`. Memory there must stay in place until the last CQE: see `hold`. */
  addr: number;
  len: number;
  /** `rw_flags` and its siblings. */
  opFlags: number;
  /** `buf_index`, `buf_group`. */
  buf = 0;
  /** Whatever must stay alive until the last CQE: the caller's buffer, or a `Bounce`. */
  hold: unknown = null;
  /** The handle that the op belongs to: closing or cancelling that ends the op. */
  descriptor: Descriptor | null = null;
  /** @internal What few ops have: one word for the many that do not. */
  rare: Rare = NONE;

  constructor(kind: OpKind<T>, opcode: number, off = 0, addr = 0, len = 0, opFlags = 0) {
    this.kind = kind;
    this.head = opcode & 0xff;
    this.off = off;
    this.addr = addr;
    this.len = len;
    this.opFlags = opFlags;
  }

  get opcode(): number {
    return this.head & 0xff;
  }

  /**
   * `IOSQE_*` bits. Links, `IOSQE_IO_DRAIN` and `IOSQE_CQE_SKIP_SUCCESS` are refused with a RangeError: `chain` links ops, and each
   * must have its completion.
   */
  get flags(): number {
    return (this.head >>> 8) & 0xff;
  }

  set flags(bits: number) {
    if ((bits & NOT_OURS_TO_GIVE) !== 0 || (bits & ~0xff) !== 0) {
      throw outOfRange('flags', 'IOSQE_* bits without links, IO_DRAIN and CQE_SKIP_SUCCESS', bits);
    }
    this.head = (this.head & ~0xff00) | (bits << 8);
  }

  get ioprio(): number {
    return this.head >>> 16;
  }

  set ioprio(bits: number) {
    this.head = (this.head & 0xffff) | (bits << 16);
  }

  /** `file_index`, `splice_fd_in`, `optlen`. */
  get file(): number {
    return this.rare.file;
  }

  set file(value: number) {
    this.rare = { ...this.rare, file: value };
  }

  /** `addr3`, `optval`. */
  get addr3(): number {
    return this.rare.addr3;
  }

  set addr3(value: number) {
    this.rare = { ...this.rare, addr3: value };
  }

  /** Path and the like, for errors. */
  get detail(): ErrorDetail | null {
    return this.rare.detail;
  }

  set detail(value: ErrorDetail | null) {
    this.rare = { ...this.rare, detail: value };
  }

  /** The place that the op opens into; null for ordinary descriptors. */
  get opens(): Opens | null {
    return this.rare.opens;
  }

  set opens(value: Opens | null) {
    this.rare = { ...this.rare, opens: value };
  }

  /** The place that the op empties, of ops in chains that close what the chain has opened. */
  get closes(): Opens | null {
    return this.rare.closes;
  }

  set closes(value: Opens | null) {
    this.rare = { ...this.rare, closes: value };
  }

  /** Another handle that it refers to (what a splice takes from, the directory of a new name): it is that one's as well. */
  get also(): Descriptor | null {
    return this.rare.also;
  }

  set also(value: Descriptor | null) {
    this.rare = { ...this.rare, also: value };
  }

  /** Whether a handle that it refers to has been closed. */
  get refersToClosed(): boolean {
    const { descriptor } = this;
    if (descriptor !== null && descriptor.fd < 0) return true;
    const { also, opens, closes } = this.rare;
    return (
      (also !== null && also.fd < 0) || (opens !== null && opens.fd < 0) || (closes !== null && closes.fd < 0)
    );
  }

  /**
   * Fills the scratch memory of the slot that the op was given, and sets the fields that point there. For kinds that
   * need memory beside the caller's; called each time the op is queued. Must not throw.
   */
  place(_slot: number): void {
    // Most kinds need none.
  }

  /**
   * Whether a stream may queue the op now. If not, `resume` is called when it may: for ops that want provided buffers.
   */
  ready(_resume: () => void): boolean {
    return true;
  }

  /**
   * Does the same without the ring, for kernels that lack the op (`Reactor.supports`), and resolves to what the kernel's
   * completion would say: zero or more, or an errno below zero. Null where there is no other way: the op is refused then.
   */
  elsewhere(): PromiseLike<number> | null {
    return null;
  }

  /**
   * Makes the op one on `target`.
   * @throws TypeError, RangeError if that is not a descriptor
   */
  on(target: Target): this {
    if (typeof target === 'number') {
      checkInteger('fd', target, 0, 0x7fff_ffff);
      this.fd = target;
      this.descriptor = null;
      this.flags &= ~IOSQE_FIXED_FILE;
      return this;
    }
    return this.#onDescriptor(descriptorOf(target));
  }

  #onDescriptor(descriptor: Descriptor): this {
    this.descriptor = descriptor;
    this.fd = descriptor.fd;
    if (descriptor.direct) this.flags |= IOSQE_FIXED_FILE;
    else this.flags &= ~IOSQE_FIXED_FILE;
    return this;
  }
}

/** The descriptor of a handle. @throws TypeError if it is none */
export function descriptorOf(target: Exclude<Target, number>): Descriptor {
  if (typeof target === 'object' && target !== null) {
    if (isDescriptor(target)) return target;
    const found: unknown = 'descriptor' in target ? target.descriptor : undefined;
    if (isDescriptor(found)) return found;
  }
  throw invalidType('fd', 'of type number or a handle with a descriptor', target);
}

/** Told by its shape, not its class: it may be of another copy of this package. */
function isDescriptor(value: unknown): value is Descriptor {
  if (typeof value !== 'object' || value === null) return false;
  const { fd, direct, attach } = value as Partial<Descriptor>;
  return typeof fd === 'number' && typeof direct === 'boolean' && typeof attach === 'function';
}
