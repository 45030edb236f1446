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

/** Checks a list of buffers, and copies it: an array may be of a class of its own, or a Proxy. */
export function checkBuffers(buffers: unknown): Bytes[] {
  if (!Array.isArray(buffers)) throw invalidType('buffers', 'an instance of Array', buffers);
  const copy: unknown[] = [...buffers];
  if (copy.length > IOV_MAX) throw outOfRange('buffers.length', `<= ${IOV_MAX}`, copy.length);
  return copy.map((buffer, i) => {
    checkBytes(`buffers[${i}]`, buffer);
    return buffer;
  });
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
  /** Bytes of a header that does not fit a slot's scratch; 0 for one that does. */
  #size: number;
  /** The memory for such headers, of each slot that the op has been in: it may be in flight more than once. */
  readonly #headers: Map<number, Buffer> = new Map();
  /** What is to be held beside that. */
  #held: unknown = null;

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
    this.#size = sizeApart(parts);
    this.#name = typeof name === 'number' ? null : name;
    this.#nameLength = typeof name === 'number' ? name : name.length;
    this.control = control;
    this.hold = parts.hold;
  }

  /** Makes it a message of other bytes. What holds them is not its business. */
  protected use(parts: Parts): void {
    this.#parts = parts;
    this.#size = sizeApart(parts);
  }

  override place(slot: number): void {
    const r = reactor();
    const size = this.#size;
    if (size === 0) {
      this.#headers.delete(slot);
      this.#fill(r.scratch(slot).bytes, scratchOffset(slot), r.scratchAddress(slot));
      return;
    }
    let memory = this.#headers.get(slot);
    if (memory === undefined || memory.length < size) {
      memory = Buffer.allocUnsafeSlow(size);
      this.#headers.set(slot, memory);
    }
    this.#held ??= this.hold;
    this.hold = [this.#held, memory];
    this.#fill(memory, 0, r.addon.addressOf(memory));
  }

  #fill(memory: Buffer, at: number, address: number): void {
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

  /** What the kernel has put into the header of the op in `slot`, while that is still the op's. */
  protected answer(slot: number): Answer {
    const apart = this.#headers.get(slot);
    const memory = apart ?? reactor().scratch(slot).bytes;
    const at = apart === undefined ? scratchOffset(slot) : 0;
    return {
      memory,
      nameAt: at + NAME_AT,
      nameLength: Math.min(memory.readUInt32LE(at + NAME_LENGTH), SOCKADDR_BYTES),
      controlLength: memory.readUInt32LE(at + CONTROL_LENGTH),
      flags: memory.readUInt32LE(at + FLAGS),
    };
  }
}

/** Bytes of a header that does not fit a slot's scratch; 0 for one that does. */
function sizeApart({ iovecs }: Parts): number {
  const size = IOV_AT + (iovecs.length / 2) * IOVEC_BYTES;
  return size > TIMEOUT_AT ? size : 0;
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
