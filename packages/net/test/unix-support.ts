import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UnixListener, UnixStream } from '@ouro/net';
import { metrics } from '@ouro/runtime';
import { nop } from '@ouro/runtime/driver';
import { afterAll, expect } from 'vitest';
import { POLL } from './support.ts';

/** A directory for sockets, removed when the file's tests are over. Its path is short: a socket's may have 107 bytes. */
export function socketDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'ouro-unix-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Descriptors that this process has open. */
export function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

/** Runs `body`, and expects it to leave as many descriptors and as many ops in flight as it found. */
export async function keepsDescriptors(body: () => Promise<void>): Promise<void> {
  await nop(); // behind all that earlier tests have queued
  const now = (): object => ({ descriptors: descriptors(), pending: metrics().pending });
  const before = now();
  await body();
  await expect.poll(now, POLL).toEqual(before);
  expect(metrics().stale).toBe(0);
}

/** Both ends of a connection through a listener with a name of the kernel's choice. */
export interface UnixPair extends AsyncDisposable {
  readonly client: UnixStream;
  readonly server: UnixStream;
}

/** A connection, both of whose ends are ours. */
export async function connection(): Promise<UnixPair> {
  await using listener = await UnixListener.bind();
  const [server, client] = await Promise.all([listener.accept(), UnixStream.connect(listener.address)]);
  return {
    client,
    server,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([client.close(), server.close()]);
    },
  };
}
