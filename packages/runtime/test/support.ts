import { execFileSync } from 'node:child_process';
import { constants, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AT_FDCWD,
  ETIME,
  IORING_OP_OPENAT,
  IORING_OP_READ,
  IORING_OP_TIMEOUT,
  IORING_OP_WRITE,
  IORING_TIMEOUT_ETIME_SUCCESS,
  O_CLOEXEC,
} from '@ouro/native/abi';
import { type DirectDescriptor, files, metrics, Op, type OpKind, opKind, type Target } from '@ouro/runtime';
import {
  addressOf,
  directKind,
  type Into,
  nop,
  nothing,
  openInto as openIntoPlace,
  placeTimespec,
  reactor,
  scratchOffset,
} from '@ouro/runtime/driver';
import { afterAll, expect } from 'vitest';

/** How long something may take that only has to come about. */
export const POLL: { readonly timeout: number; readonly interval: number } = { timeout: 15_000, interval: 5 };

/** A directory of the test file's own, removed when its tests are done. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'ouro-runtime-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

let pipes = 0;

/** A named pipe in `directory`. */
export function fifo(directory: string): string {
  const path = join(directory, `pipe-${pipes++}`);
  execFileSync('mkfifo', [path]);
  return path;
}

/** What the descriptors of this process refer to. */
export function openDescriptors(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return []; // the one that lists them
    }
  });
}

/** Comes back when the kernel has all ops that were queued before, and has finished those that need not wait. */
export async function submitted(): Promise<void> {
  await nop();
}

/** Runs `body`, and expects it to leave no descriptor, no op and no taken place behind. */
export async function leavesNothing(body: () => unknown): Promise<void> {
  const count = (): object => ({
    descriptors: openDescriptors().length,
    pending: metrics().pending,
    inFlight: metrics().inFlight,
    places: files().used,
  });
  await nop();
  await expect.poll(() => metrics().inFlight, POLL).toBe(metrics().pending);
  const before = count();
  await body();
  await expect.poll(count, POLL).toEqual(before);
  expect(metrics().stale).toBe(0);
}

/** What `promise` rejects with. */
export async function failure(promise: PromiseLike<unknown>): Promise<Error & { [key: string]: unknown }> {
  try {
    await promise;
  } catch (error) {
    return error as Error & { [key: string]: unknown };
  }
  throw new Error('Nothing was thrown');
}

const READ = opKind<number>('read', { endsWithHandle: true });
const WRITE = opKind<number>('write');
const OPEN = opKind<number>('open', { resultIsFd: true });
const OPEN_DIRECT: OpKind<DirectDescriptor> = directKind(OPEN);
const TIMEOUT = opKind<void>('timeout', { passes: ETIME, decode: nothing });

/** `read(2)`. */
export function read(target: Target, buffer: Buffer, position = -1): Op<number> {
  const op = new Op(READ, IORING_OP_READ, position, addressOf(buffer), buffer.length).on(target);
  op.hold = buffer;
  return op;
}

/** `write(2)`. */
export function write(target: Target, data: string | Buffer, position = -1): Op<number> {
  const buffer = Buffer.from(data);
  const op = new Op(WRITE, IORING_OP_WRITE, position, addressOf(buffer), buffer.length).on(target);
  op.hold = buffer;
  return op;
}

/** An open whose path lies in the slot's scratch. */
class Open<T> extends Op<T> {
  readonly #path: string;

  constructor(kind: OpKind<T>, path: string, flags: number) {
    super(kind, IORING_OP_OPENAT, 0, 0, 0o666, flags);
    this.fd = AT_FDCWD;
    this.#path = path;
    this.detail = { path };
  }

  override place(slot: number): void {
    const r = reactor();
    r.scratch(slot).bytes.write(`${this.#path}\0`, scratchOffset(slot));
    this.addr = r.scratchAddress(slot);
  }
}

/** `openat(2)` to a bare descriptor. */
export function open(path: string, flags = constants.O_RDONLY): Op<number> {
  return new Open(OPEN, path, flags | O_CLOEXEC);
}

/** `openat(2)` into the table of direct descriptors. */
export function openInto(path: string, into: Into, flags = constants.O_RDONLY): Op<DirectDescriptor> {
  return openIntoPlace(new Open(OPEN_DIRECT, path, flags), into);
}

class Pause extends Op<void> {
  readonly #ms: number;

  constructor(ms: number) {
    // Running out is a success: a chain goes on after it.
    super(TIMEOUT, IORING_OP_TIMEOUT, 0, 0, 1, IORING_TIMEOUT_ETIME_SUCCESS);
    this.#ms = ms;
  }

  override place(slot: number): void {
    this.addr = placeTimespec(reactor(), slot, this.#ms);
  }
}

/** Waits for so long. */
export function pause(ms: number): Op<void> {
  return new Pause(ms);
}

/** Longer than any test. */
export const FOREVER = 1e7;

/** What all of them reject with. */
export function failures(promises: readonly PromiseLike<unknown>[]): Promise<object[]> {
  return Promise.all(promises.map(failure));
}
