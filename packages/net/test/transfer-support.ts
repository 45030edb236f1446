import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { File } from '@ouro/fs';
import { fadvise, fdatasync, openat, POSIX_FADV_DONTNEED } from '@ouro/fs/ops';
import type { NodeFile, TcpStream } from '@ouro/net';
import { submit } from '@ouro/runtime';
import type { Target } from '@ouro/runtime/driver';
import { afterAll, expect } from 'vitest';
import { POLL } from './support.ts';

/** A directory of the test file's own, removed when its tests are done. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'ouro-net-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A file that holds `data`. */
export function fileOf(directory: string, name: string, data: Uint8Array | string): string {
  const path = join(directory, name);
  writeFileSync(path, data);
  return path;
}

/** Something that can be sent, and how it is closed. */
export interface Opened {
  readonly target: Target | NodeFile;
  close(): Promise<unknown>;
}

async function openFile(path: string): Promise<Opened & { readonly file: File }> {
  const file = await File.open(path);
  return { file, target: file, close: () => file.close() };
}

/** The ways in which a file can be there to be sent. */
export const SOURCES: Readonly<Record<string, (path: string) => Promise<Opened>>> = {
  'a file in memory': openFile,
  'a file that has to be read from the disk': async (path) => {
    const opened = await openFile(path);
    await submit(fdatasync(opened.file));
    await submit(fadvise(opened.file, 0, 0, POSIX_FADV_DONTNEED));
    return opened;
  },
  'the number of a descriptor': async (path) => {
    const opened = await openFile(path);
    return { target: opened.file.fd, close: opened.close };
  },
  'a FileHandle of Node': async (path) => {
    const handle = await open(path);
    return { target: handle, close: () => handle.close() };
  },
  'a direct descriptor': async (path) => {
    const direct = await submit(openat(path, 0, 0, { into: 'any' }));
    return { target: direct, close: () => direct.close() };
  },
};

/** What the descriptors of this process lead to, but for what is kept to be used again: pipes, and those of the engine. */
export function openNames(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const name = readlinkSync(`/proc/self/fd/${fd}`);
      return name.startsWith('pipe:') ? [] : [name.replace(/\d+/g, 'N')];
    } catch {
      return []; // that of the directory itself
    }
  });
}

/** Pipes that this process has. */
export function openPipes(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('pipe:');
    } catch {
      return false;
    }
  }).length;
}

/** Comes back when nothing more goes into a stream whose peer does not read. */
export async function stalls(position: () => number): Promise<void> {
  let last = -1;
  await expect
    .poll(
      () => {
        const now = position();
        const same = now === last && now > 0;
        last = now;
        return same;
      },
      { ...POLL, interval: 50 },
    )
    .toBe(true);
}

/** Reads exactly `length` bytes, or up to the end. */
export async function take(stream: TcpStream, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const count = await stream.read(buffer.subarray(filled));
    if (count === 0) break;
    filled += count;
  }
  return buffer.subarray(0, filled);
}
