import { EIO, IOSQE_FIXED_FILE } from '@ouro/native/abi';
import type { Op } from '@ouro/runtime/driver';

/** A callback of `node:fs` that brings nothing but a failure. */
export type Done = (error: NodeJS.ErrnoException | null, result?: number) => void;

/** Runs a function of `node:fs`; resolves to its number, 0 without one, or the errno, below zero, of its failure. */
export function inPool(call: (done: Done) => void): Promise<number> {
  return new Promise((settle) =>
    call((error, result = 0) => settle(error === null ? result : (error.errno ?? EIO))),
  );
}

/** `inPool` for an op on an open file. A direct descriptor means nothing to `node:fs`. */
export function inPoolOn(op: Op<unknown>, call: (fd: number, done: Done) => void): Promise<number> | null {
  return (op.flags & IOSQE_FIXED_FILE) === 0 ? inPool((done) => call(op.fd, done)) : null;
}
