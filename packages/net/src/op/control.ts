import {
  SCM_CREDENTIALS,
  SCM_MAX_FD,
  SCM_PIDFD,
  SCM_RIGHTS,
  SCM_TIMESTAMP,
  SOL_SOCKET,
} from '@ouro/native/abi';
import { reactor, systemError } from '@ouro/runtime/driver';

// Control messages (`cmsg(3)`): length (8 bytes), level, type, data; each begins at a multiple of 8.
const HEADER = 16;
const ALIGN = 7;
const INT_BYTES = 4;
const UCRED_BYTES = 12;
const TIMEVAL_BYTES = 16;

const space = (bytes: number): number => (HEADER + bytes + ALIGN) & ~ALIGN;

/** Who has sent a message, or who is at the other end of a connection, as the kernel vouches for it. */
export interface Credentials {
  /** 0 for a process of a namespace that ours does not see. */
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Reads a `struct ucred`. */
export function readCredentials(bytes: Buffer, at = 0): Credentials {
  return { pid: bytes.readInt32LE(at), uid: bytes.readUInt32LE(at + 4), gid: bytes.readUInt32LE(at + 8) };
}

/** A control message that passes descriptors (`SCM_RIGHTS`). */
export function passing(fds: readonly number[]): Buffer {
  const message = Buffer.alloc(space(fds.length * INT_BYTES));
  message.writeUInt32LE(HEADER + fds.length * INT_BYTES);
  message.writeInt32LE(SOL_SOCKET, 8);
  message.writeInt32LE(SCM_RIGHTS, 12);
  fds.forEach((fd, i) => void message.writeInt32LE(fd, HEADER + i * INT_BYTES));
  return message;
}

/** What control messages are wanted. */
export interface Wanted {
  /** The socket has `SO_TIMESTAMP`: a message has one, the end of a connection has none. */
  readonly stamped: boolean;
  /** The socket has `SO_PASSCRED`. */
  readonly credentials: boolean;
  /** Descriptors that there is room for. */
  readonly descriptors: number;
}

/** What control messages have brought. */
export interface Brought {
  readonly stamped: boolean;
  readonly credentials: Credentials | undefined;
  /** Descriptors, which are the thread's by now. */
  readonly fds: readonly number[];
}

const CELL_BYTES =
  space(TIMEVAL_BYTES) + space(UCRED_BYTES) + space(SCM_MAX_FD * INT_BYTES) + space(INT_BYTES);
const CELLS = 56;

/** What lies here of descriptors at teardown is closed: a worker may be terminated between the kernel and JavaScript. */
interface Cell {
  readonly bytes: Buffer;
  readonly ints: Int32Array;
}

const cells: Cell[] = [];
const forgotten = new FinalizationRegistry<Cell>((cell) => cells.push(cell));

function moreCells(): void {
  const memory = reactor().addon.allocateForControl(CELLS, CELL_BYTES);
  if (typeof memory === 'number') throw systemError(memory, 'mmap');
  for (let at = 0; at < CELLS * CELL_BYTES; at += CELL_BYTES) {
    cells.push({
      bytes: Buffer.from(memory, at, CELL_BYTES),
      ints: new Int32Array(memory, at, CELL_BYTES / INT_BYTES),
    });
  }
}

/** Room for the control messages of one receive. */
export class ControlRoom {
  readonly #cell: Cell;
  /** For the kernel to fill; null if nothing is wanted. */
  readonly bytes: Buffer | null;

  /**
   * Descriptors come last and get no byte more than they are to have: with padding behind them the kernel would pass two where
   * there is room for one.
   */
  constructor({ stamped, credentials, descriptors }: Wanted) {
    if (cells.length === 0) moreCells();
    const cell = cells.pop() as Cell;
    this.#cell = cell;
    forgotten.register(this, cell, this);
    // How much the kernel has written it tells the op; teardown has to see the end by itself.
    cell.bytes.fill(0);
    const before = (stamped ? space(TIMEVAL_BYTES) : 0) + (credentials ? space(UCRED_BYTES) : 0);
    const length = before + (descriptors > 0 ? HEADER + descriptors * INT_BYTES : 0);
    this.bytes = length === 0 ? null : cell.bytes.subarray(0, length);
  }

  /** Takes what the kernel has written, `length` bytes. To be asked once. */
  take(length: number): Brought {
    const { bytes, ints } = this.#cell;
    const fds: number[] = [];
    let stamped = false;
    let credentials: Credentials | undefined;
    for (let at = 0; at + HEADER <= length; ) {
      const size = bytes.readUInt32LE(at);
      if (size < HEADER || size > length - at) break;
      const data = at + HEADER;
      if (bytes.readInt32LE(at + 8) === SOL_SOCKET) {
        const type = bytes.readInt32LE(at + 12);
        if (type === SCM_RIGHTS || type === SCM_PIDFD) {
          const first = data / INT_BYTES;
          const count = Math.floor((size - HEADER) / INT_BYTES);
          fds.push(...ints.subarray(first, first + count));
          reactor().adoptPassed(ints, first, count);
        } else if (type === SCM_CREDENTIALS) credentials = readCredentials(bytes, data);
        else if (type === SCM_TIMESTAMP) stamped = true;
      }
      at += (size + ALIGN) & ~ALIGN;
    }
    // Emptied of descriptors, it can be another's.
    if (forgotten.unregister(this)) cells.push(this.#cell);
    return { stamped, credentials, fds };
  }
}
