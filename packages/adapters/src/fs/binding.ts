import { binding } from '../node-binding.ts';

/**
 * What Node's own `fs`, `fs/promises`, their streams and FileHandles stand on: a native object with one function for each
 * system call. They look its functions up at each call, so that what is put there serves all of them, and everything above it
 * (arguments, options, errors of validation, the class FileHandle, streams, signals) stays Node's own code.
 *
 * `process.binding` is the way to it: deprecated in Node's documentation, silent on 20 to 26. Where it does not lead there, nothing is
 * put anywhere, and all is as without us.
 */

/** A call of a callback function: Node calls it FSReqCallback. */
export interface CallbackRequest {
  oncomplete(error: Error | null, value?: unknown): void;
}

/** Any function of the binding. The last argument says how it answers: a request, `kUsePromises`, or nothing for at once. */
export type Call = (...args: unknown[]) => unknown;

/** The native half of a FileHandle. */
export interface NativeFileHandle {
  readonly fd: number;
  close(): Promise<void>;
  /** Forgets the descriptor: as if it were closed. */
  releaseFD(): void;
}

/** What we use of the binding. */
export interface FsBinding {
  readonly FSReqCallback: abstract new (bigint?: boolean) => CallbackRequest;
  readonly FileHandle: new (fd: number) => NativeFileHandle;
  readonly kUsePromises: symbol;
  readonly calls: Record<string, Call>;
}

/** The binding, or null where this Node has none that we know. */
export function fsBinding(): FsBinding | null {
  let found: unknown;
  try {
    found = binding('fs');
  } catch {
    return null;
  }
  if (typeof found !== 'object' || found === null) return null;
  const { FSReqCallback, FileHandle, kUsePromises } = found as Partial<FsBinding>;
  if (typeof FSReqCallback !== 'function' || typeof FileHandle !== 'function') return null;
  if (typeof kUsePromises !== 'symbol' || typeof FileHandle.prototype.releaseFD !== 'function') return null;
  return { FSReqCallback, FileHandle, kUsePromises, calls: found as Record<string, Call> };
}
