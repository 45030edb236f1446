import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { metrics } from '@ouro/runtime';
import { nop } from '@ouro/runtime/driver';
import { afterAll } from 'vitest';

/** A directory of the test file's own, removed when its tests are done. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'ouro-fs-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A named pipe at `path`, which is returned. */
export function fifo(path: string): string {
  execFileSync('mkfifo', [path]);
  return path;
}

/** Descriptors that this process has open. */
export const openDescriptors = (): number => readdirSync('/proc/self/fd').length;

/** What they are, by number: tells which one is too many. */
export function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [`${fd}: ${readlinkSync(`/proc/self/fd/${fd}`)}`];
    } catch {
      return []; // that of the directory itself
    }
  });
}

/** Where the kernel stands with a descriptor: its position, and its `O_*` flags in octal. */
export function descriptorInfo(fd: number): { readonly pos: number; readonly flags: string } {
  const info = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
  const field = (name: string): string => new RegExp(`${name}:\\s*(\\S+)`).exec(info)?.[1] ?? '';
  return { pos: Number(field('pos')), flags: field('flags') };
}

/** Comes back when the kernel has all ops that were queued before, and has finished those that need not wait. */
export async function submitted(): Promise<void> {
  await nop();
}

/** Ops that this thread has ever begun. */
export function begun(): number {
  const { sqes, queued } = metrics();
  return sqes + queued;
}

/** What a program sees of an error. */
export interface Shape {
  readonly name: string;
  readonly message: string;
  readonly code: unknown;
  readonly errno: unknown;
  readonly syscall: unknown;
  readonly path: unknown;
}

export function shape(error: unknown): Shape {
  if (!(error instanceof Error)) throw new TypeError(`Not an error: ${String(error)}`);
  const { name, message, code, errno, syscall, path } = error as Error & Partial<Shape>;
  return { name, message, code, errno, syscall, path };
}

/** What `body` throws. */
export function thrown(body: () => unknown): Shape {
  try {
    body();
  } catch (error) {
    return shape(error);
  }
  throw new Error('Nothing was thrown');
}

/** What `promise` rejects with. */
export async function failure(promise: Promise<unknown>): Promise<Shape> {
  try {
    await promise;
  } catch (error) {
    return shape(error);
  }
  throw new Error('Nothing was thrown');
}
