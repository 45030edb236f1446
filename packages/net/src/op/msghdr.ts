import { IOV_MAX } from '@ouro/native/abi';
import {
  addressOf,
  asBytes,
  Bounce,
  type Bytes,
  checkBytes,
  invalidType,
  lengthOf,
  Op,
  type OpKind,
  outOfRange,
  pinned,
  reactor,
  scratchOffset,
  TIMEOUT_AT,
  UNSTABLE,
} from '@ouro/runtime/driver';
import { SOCKADDR_BYTES } from '../sockaddr.ts';

// struct msghdr: name, namelen, iov, iovlen, control, controllen, flags
const NAME = 0;
const NAME_LENGTH = 8;
const IOV = 16;
const IOV_LENGTH = 24;
const CONTROL = 32;
const CONTROL_LENGTH = 40;
const FLAGS = 48;
const NAME_AT = 64;
const IOV_AT = NAME_AT + SOCKADDR_BYTES;
const IOVEC_BYTES = 16;

/** What a message is made of, in memory that stays. */
export interface Parts {
  /** Address and length of each stretch, one after the other. */
  readonly iovecs: readonly number[];
  readonly hold: readonly unknown[];
  readonly total: number;
}

/** Checks a list of buffers. */
export function checkBuffers(buffers: unknown): asserts buffers is readonly Bytes[] {
  if (!Array.isArray(buffers)) throw invalidType('buffers', 'an instance of Array', buffers);
  if (buffers.length > IOV_MAX) throw outOfRange('buffers.length', `<= ${IOV_MAX}`, buffers.length);
  for (const [i, buffer] of buffers.entries()) checkBytes(`buffers[${i}]`, buffer);
}

/** Stretches for the kernel to read. */
export function partsToSend(buffers: readonly Bytes[]): Parts {
  const all = buffers.map((buffer) => pinned(buffer));
  return {
    iovecs: all.flatMap(({ address, length }) => [address, length]),
    hold: all.map(({ hold }) => hold),
    total: all.reduce((sum, { length }) => sum + length, 0),
  };
}

/** Stretches for the kernel to fill; what is a `Bounce` in `hold` has to be copied back. */
export function partsToFill(buffers: readonly Bytes[]): Parts {
  const iovecs: number[] = [];
  let total = 0;
  const hold = buffers.map((buffer) => {
    const address = addressOf(buffer);
    const held = address === UNSTABLE ? Bounce.toFill(buffer) : buffer;
    const length = lengthOf(buffer);
    iovecs.push(held instanceof Bounce ? held.address : address, length);
    total += length;
    return held;
  });
  return { iovecs, hold, total };
}

/**
 * An op whose `addr` is a `struct msghdr`. That, the address and the iovecs lie in the slot's scratch, or, if there are
 * too many, in memory of the op's own.
 */
export abstract class Message<T> extends Op<T> {
  #parts: Parts;
  readonly #name: Uint8Array | null;
  /** For the kernel to read or to fill. */
  protected readonly control: Buffer | null;
  readonly #nameLength: number;
  #own: Buffer | null;
  /** Where the header is, after `place`. */
  #at: Buffer | null = null;
  #offset = 0;

  /** @param name the address to send to, or the number of bytes that an address may have that is wanted */
  constructor(
    kind: OpKind<T>,
    opcode: number,
    parts: Parts,
    name: Uint8Array | number,
    control: Buffer | null,
    flags: number,
  ) {
    super(kind, opcode, 0, 0, 1, flags);
    this.#parts = parts;
    this.#own = room(parts);
    this.#name = typeof name === 'number' ? null : name;
    this.#nameLength = typeof name === 'number' ? name : name.length;
    this.control = control;
    this.hold = parts.hold;
  }

  /** Makes it a message of other bytes. What holds them is not its business. */
  protected use(parts: Parts): void {
    this.#parts = parts;
    this.#own = room(parts);
  }

  override place(slot: number): void {
    const r = reactor();
    const memory = this.#own;
    if (memory === null) this.#fill(r.scratch(slot).bytes, scratchOffset(slot), r.scratchAddress(slot));
    else this.#fill(memory, 0, r.addon.addressOf(memory));
  }

  #fill(memory: Buffer, at: number, address: number): void {
    this.#at = memory;
    this.#offset = at;
    this.addr = address;
    memory.fill(0, at, at + IOV_AT);
    if (this.#name !== null) memory.set(this.#name, at + NAME_AT);
    if (this.#nameLength > 0) {
      pointer(memory, at + NAME, address + NAME_AT);
      memory.writeUInt32LE(this.#nameLength, at + NAME_LENGTH);
    }
    const { iovecs } = this.#parts;
    pointer(memory, at + IOV, address + IOV_AT);
    memory.writeUInt32LE(iovecs.length / 2, at + IOV_LENGTH);
    for (let i = 0; i < iovecs.length; i++) pointer(memory, at + IOV_AT + i * 8, iovecs[i]);
    const { control } = this;
    if (control !== null) {
      pointer(memory, at + CONTROL, reactor().addon.addressOf(control));
      memory.writeUInt32LE(control.length, at + CONTROL_LENGTH);
    }
  }

  /** What the kernel has put into the header. To be asked while the slot is still the op's. */
  protected get answer(): Answer {
    const at = this.#at;
    if (at === null) throw new TypeError('The op has not been queued');
    const offset = this.#offset;
    return {
      memory: at,
      nameAt: offset + NAME_AT,
      nameLength: Math.min(at.readUInt32LE(offset + NAME_LENGTH), SOCKADDR_BYTES),
      controlLength: at.readUInt32LE(offset + CONTROL_LENGTH),
      flags: at.readUInt32LE(offset + FLAGS),
    };
  }
}

/** Memory for a header that does not fit a slot's scratch. */
function room({ iovecs }: Parts): Buffer | null {
  const size = IOV_AT + (iovecs.length / 2) * IOVEC_BYTES;
  return size > TIMEOUT_AT ? Buffer.allocUnsafeSlow(size) : null;
}

interface Answer {
  readonly memory: Buffer;
  readonly nameAt: number;
  readonly nameLength: number;
  readonly controlLength: number;
  readonly flags: number;
}

function pointer(memory: Buffer, at: number, value: number): void {
  memory.writeUInt32LE(value % 2 ** 32, at);
  memory.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

/** Control messages to send, where no script can change or move them. */
export function controlToSend(control: Bytes | undefined): Buffer | null {
  if (control === undefined) return null;
  checkBytes('options.control', control);
  const copy = Buffer.allocUnsafeSlow(lengthOf(control));
  copy.set(asBytes(control));
  return copy;
}
