import { isMainThread } from 'node:worker_threads';
import { faccessat, fdatasync, fsync, openat, readlinkat, realpathat, statAs } from '@ouro/fs/ops';
import {
  AT_SYMLINK_NOFOLLOW,
  ENXIO,
  IORING_OP_CLOSE,
  IORING_OP_READ,
  IORING_OP_WRITE,
  MAX_RW_COUNT,
} from '@ouro/native/abi';
import { lengthOf, nothing, Op, opKind } from '@ouro/runtime/driver';
import type { Memory } from './memory.ts';
import { ownMemory, stretch, toFill, toRead } from './memory.ts';
import { noteClosing, noteOpened, servesDescriptor, servesPaths } from './scope.ts';
import type { Service } from './serving.ts';
import { STAT_BIGINTS, STAT_NUMBERS } from './stat-values.ts';

const CLOSE = opKind<void>('close', { decode: nothing });
const READ = opKind<number>('read', { decode: filled });
const WRITE = opKind<number>('write');
const CURRENT = -1;
/** What is written from several places goes through one of ours up to here. */
const MOST_GATHERED = 262_144;

/** A path as Node's code hands it down, checked and of no URL. */
function pathOf(path: unknown): string | Buffer | null {
  if (!servesPaths()) return null;
  if (typeof path === 'string') return path;
  return path instanceof Uint8Array ? Buffer.from(path) : null;
}

/** A position; null if it is none that a double can say. */
function positionOf(position: unknown): number | null {
  if (position === null || position === undefined) return CURRENT;
  const at = typeof position === 'bigint' ? Number(position) : position;
  return typeof at === 'number' && Number.isSafeInteger(at) && at >= CURRENT ? at : null;
}

/** An op whose memory is known. */
class Move extends Op<number> {
  readonly memory: Memory;

  constructor(write: boolean, fd: number, memory: Memory, length: number, position: number) {
    const opcode = write ? IORING_OP_WRITE : IORING_OP_READ;
    super(write ? WRITE : READ, opcode, position, memory.address, Math.min(length, MAX_RW_COUNT));
    this.memory = memory;
    this.hold = memory.hold;
    this.on(fd);
  }
}

function filled(count: number, op: Op<unknown>): number {
  (op as Move).memory.copyBack?.(count);
  return count;
}

function readInto([fd, buffer, offset, length, position]: readonly unknown[]): Op<number> | null {
  const at = positionOf(position);
  if (!servesDescriptor(fd) || at === null || !ArrayBuffer.isView(buffer)) return null;
  const bytes = stretch(buffer, Number(offset), Number(length));
  return new Move(false, fd, toFill(bytes), bytes.length, at);
}

function writeFrom([fd, buffer, offset, length, position]: readonly unknown[]): Op<number> | null {
  const at = positionOf(position);
  if (!servesDescriptor(fd) || at === null || !ArrayBuffer.isView(buffer)) return null;
  const bytes = stretch(buffer, Number(offset), Number(length));
  return new Move(true, fd, toRead(bytes), bytes.length, at);
}

/** Whether nobody has taken away, or shortened, the buffer of a read or a write. */
function holds([, buffer, offset, length]: readonly unknown[]): boolean {
  return sizeOf(buffer) >= Number(offset) + Number(length);
}

/** The same of all buffers of a write of several. */
function holdsAll([, buffers]: readonly unknown[], { len }: Op<unknown>): boolean {
  return Array.isArray(buffers) && buffers.reduce((sum, buffer) => sum + sizeOf(buffer), 0) === len;
}

/** Bytes of a view; 0 if its memory is gone. */
function sizeOf(view: unknown): number {
  try {
    return ArrayBuffer.isView(view) ? lengthOf(view) : 0;
  } catch {
    return 0;
  }
}

function writeText([fd, text, position, encoding]: readonly unknown[]): Op<number> | null {
  const at = positionOf(position);
  if (!servesDescriptor(fd) || at === null || typeof text !== 'string') return null;
  const named = encoding === undefined || encoding === null ? 'utf8' : encoding;
  if (typeof named !== 'string' || !Buffer.isEncoding(named)) return null;
  const { own, address } = ownMemory(Buffer.byteLength(text, named));
  // Hexadecimal text may end early.
  const length = own.write(text, named);
  return new Move(true, fd, { address, hold: own, copyBack: null }, length, at);
}

function writeSeveral([fd, buffers, position]: readonly unknown[]): Op<number> | null {
  const at = positionOf(position);
  if (!servesDescriptor(fd) || at === null || !Array.isArray(buffers)) return null;
  let total = 0;
  for (const buffer of buffers) {
    if (!ArrayBuffer.isView(buffer)) return null;
    total += buffer.byteLength;
  }
  if (total > MOST_GATHERED) return null;
  const { own, address } = ownMemory(total);
  let filledTo = 0;
  for (const buffer of buffers as ArrayBufferView[]) {
    const bytes = stretch(buffer, 0, buffer.byteLength);
    if (filledTo + bytes.length > total) return null;
    own.set(bytes, filledTo);
    filledTo += bytes.length;
  }
  return new Move(true, fd, { address, hold: own, copyBack: null }, filledTo, at);
}

function openPath([path, flags, mode]: readonly unknown[]): Op<number> | null {
  const plain = pathOf(path);
  return plain === null ? null : openat(plain, Number(flags), Number(mode));
}

function statPath([path, bigint]: readonly unknown[], flags: number): Op<unknown> | null {
  const plain = pathOf(path);
  if (plain === null) return null;
  return bigint === true ? statAs(STAT_BIGINTS, plain, flags) : statAs(STAT_NUMBERS, plain, flags);
}

function encodingOf(encoding: unknown): BufferEncoding | 'buffer' | null {
  if (encoding === undefined || encoding === null) return 'utf8';
  if (encoding === 'buffer') return encoding;
  return typeof encoding === 'string' && Buffer.isEncoding(encoding) ? encoding : null;
}

function closing(fd: unknown): Op<void> | null {
  if (!servesDescriptor(fd)) return null;
  noteClosing(fd);
  return new Op(CLOSE, IORING_OP_CLOSE).on(fd);
}

/** What answers with a name, in the encoding that is asked for. */
function namedBy(encode: typeof readlinkat | typeof realpathat): Service['op'] {
  return ([path, encoding]) => {
    const plain = pathOf(path);
    const named = encodingOf(encoding);
    return plain === null || named === null ? null : encode(plain, { encoding: named });
  };
}

/**
 * The functions of the binding that are served, and how. What is not here is Node's: what io_uring has no op for, and what a kernel
 * thread would do for it, which costs what a thread of the pool does (names of files, permissions, times, listing).
 *
 * @param wrap makes the native half of a FileHandle of a descriptor
 */
export function services(wrap: (fd: number) => unknown): readonly Service[] {
  const opened = (fd: number): number => {
    noteOpened(fd);
    return fd;
  };
  const always: Service[] = [
    {
      name: 'openFileHandle',
      shown: 'FileHandle open',
      op: openPath,
      value: (fd) => wrap(opened(fd)),
      // Of a pipe that nobody reads: a thread waits.
      alsoAsksNode: ENXIO,
    },
    { name: 'read', op: readInto, stillThere: holds },
    { name: 'writeBuffer', shown: 'write', op: writeFrom, stillThere: holds },
    { name: 'writeString', shown: 'write', op: writeText },
    { name: 'writeBuffers', shown: 'writev', op: writeSeveral, stillThere: holdsAll },
    { name: 'stat', op: (args) => statPath(args, 0) },
    { name: 'lstat', op: (args) => statPath(args, AT_SYMLINK_NOFOLLOW) },
    {
      name: 'fstat',
      op: ([fd, bigint]) => {
        if (!servesDescriptor(fd)) return null;
        return bigint === true ? statAs(STAT_BIGINTS, fd) : statAs(STAT_NUMBERS, fd);
      },
    },
    {
      name: 'access',
      op: ([path, mode]) => {
        // Whether it is there: without a thread, mostly. What else is asked takes one.
        const plain = mode === 0 ? pathOf(path) : null;
        return plain === null ? null : faccessat(plain, 0);
      },
    },
    { name: 'readlink', op: namedBy(readlinkat) },
    { name: 'realpath', op: namedBy(realpathat) },
    { name: 'fsync', op: ([fd]) => (servesDescriptor(fd) ? fsync(fd) : null) },
    { name: 'fdatasync', op: ([fd]) => (servesDescriptor(fd) ? fdatasync(fd) : null) },
  ];
  // Workers close at their end what their programs have left open, by a list that is Node's own: what it has not opened
  // or closed itself would be on it wrongly.
  if (!isMainThread) return always;
  return [
    ...always,
    { name: 'open', op: openPath, value: opened, alsoAsksNode: ENXIO },
    { name: 'close', op: ([fd]) => closing(fd) },
  ];
}
