/** Where things lie in a `struct io_uring_recvmsg_out`, which stands before each message of a multishot RECVMSG. */
const NAME_LENGTH = 0;
const CONTROL_LENGTH = 4;
const PAYLOAD_LENGTH = 8;
const FLAGS = 12;
const OUT_BYTES = 16;

// struct msghdr: what a multishot RECVMSG reads of it
const MSGHDR_BYTES = 56;
const MSGHDR_NAME_LENGTH = 8;
const MSGHDR_CONTROL_LENGTH = 40;

/** How much room is asked for in each buffer, beside that for the bytes of the message. */
export interface Rooms {
  readonly name: number;
  readonly control: number;
}

/** Bytes of a buffer before those of the message. */
export function headOf({ name, control }: Rooms): number {
  return OUT_BYTES + name + control;
}

/** Writes the `struct msghdr` that asks for these rooms. */
export function placeRooms(memory: Buffer, at: number, { name, control }: Rooms): void {
  memory.fill(0, at, at + MSGHDR_BYTES);
  memory.writeUInt32LE(name, at + MSGHDR_NAME_LENGTH);
  memory.writeUInt32LE(control, at + MSGHDR_CONTROL_LENGTH);
}

/** What stands in a buffer before a message: looked at, not copied. */
export class MessageHead {
  readonly #memory: DataView;
  readonly #rooms: Rooms;
  /** Where the buffer begins. */
  at = 0;

  constructor(memory: Uint8Array, rooms: Rooms) {
    this.#memory = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
    this.#rooms = rooms;
  }

  /** Bytes of the name that are there; the kernel says how many it has. */
  get nameLength(): number {
    return Math.min(this.#memory.getUint32(this.at + NAME_LENGTH, true), this.#rooms.name);
  }

  get nameAt(): number {
    return this.at + OUT_BYTES;
  }

  get controlLength(): number {
    return Math.min(this.#memory.getUint32(this.at + CONTROL_LENGTH, true), this.#rooms.control);
  }

  get controlAt(): number {
    return this.at + OUT_BYTES + this.#rooms.name;
  }

  /** Bytes received; with `MSG_TRUNC` among the op's flags, all that were sent. */
  get size(): number {
    return this.#memory.getUint32(this.at + PAYLOAD_LENGTH, true);
  }

  get flags(): number {
    return this.#memory.getUint32(this.at + FLAGS, true);
  }

  get dataAt(): number {
    return this.at + headOf(this.#rooms);
  }
}
