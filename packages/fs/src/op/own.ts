import { addon } from '@ouro/native';
import {
  addressOf,
  Bounce,
  type Bytes,
  checkBytes,
  descriptorOf,
  invalidType,
  lengthOf,
  type Op,
  type OpKind,
  type Pinned,
  type Target,
  UNSTABLE,
} from '@ouro/runtime/driver';
import { PathOp } from './path-op.ts';

// What ops under opcodes of our own share. They are system calls in threads of libuv's pool, whichever engine runs: what has
// begun cannot be interrupted, and what has not is cancelled. Direct descriptors mean nothing to them.

/** Checks that `target` is no direct descriptor. */
export function ordinary(name: string, target: Target): Target {
  if (typeof target !== 'number' && descriptorOf(target).direct) {
    throw invalidType(name, 'a descriptor that is not a direct one', target);
  }
  return target;
}

/** An op on an open file. */
export function onFile<T>(op: Op<T>, fd: Target): Op<T> {
  return op.on(ordinary('fd', fd));
}

/** Memory that the op works with. */
export type Memory = Pick<Pinned, 'address' | 'length' | 'hold'>;

/** The caller's memory, to be filled. */
export function filled(buffer: Bytes): Memory {
  checkBytes('buffer', buffer);
  const address = addressOf(buffer);
  if (address !== UNSTABLE) return { address, length: lengthOf(buffer), hold: buffer };
  const bounce = Bounce.toFill(buffer);
  return { address: bounce.address, length: bounce.bytes.length, hold: bounce };
}

/** Memory of our own for an answer, which no script sees before it is there. */
export function answerMemory(length: number): Memory & { readonly hold: Buffer } {
  const hold = Buffer.allocUnsafeSlow(length);
  return { address: addon().addressOf(hold), length, hold };
}

/** An op that fills memory with its answer, which `off` points to: that of a path, or of an open file without one. */
export class Answered<T> extends PathOp<T> {
  readonly answer: Buffer;

  constructor(
    kind: OpKind<T>,
    opcode: number,
    path: string | Buffer,
    dirfd: Target | undefined,
    size: number,
    opFlags: number,
  ) {
    super(kind, opcode, path, dirfd, size, opFlags);
    const { address, hold } = answerMemory(size);
    this.off = address;
    this.answer = hold;
  }

  override place(slot: number): void {
    super.place(slot);
    this.hold = [this.answer, this.hold];
  }
}

/** What of `Answered` has been written. */
export function answerOf(length: number, op: Op<unknown>): Buffer {
  return (op as Answered<unknown>).answer.subarray(0, length);
}
