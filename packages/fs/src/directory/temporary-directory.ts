import { randomFillSync } from 'node:crypto';
import { EEXIST } from '@ouro/native/abi';
import { type Future, flow, type OpOptions, submit } from '@ouro/runtime/driver';
import { mkdtempAt } from '../op/names.ts';
import { checkPath, type PathLike } from '../path.ts';
import { rm } from './rm.ts';

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
const LENGTH = 6;
/** Names that are tried, as mkdtemp(3) does it. */
const MOST_TRIES = 62 ** 3;
const MODE = 0o700;

/** A directory that goes with all that is in it: `await using dir = await mkdtemp(…)`. */
export class TemporaryDirectory<P extends string | Buffer = string> implements AsyncDisposable {
  readonly path: P;
  #removed: Future<void> | null = null;

  /** @internal */
  constructor(path: P) {
    this.path = path;
  }

  /** Removes it with all that is in it. It need not be there any more. Removing twice is one removing. */
  remove(): Future<void> {
    this.#removed ??= rm(this.path, { recursive: true, force: true });
    return this.#removed;
  }

  [Symbol.asyncDispose](): Future<void> {
    return this.remove();
  }

  /** The path. */
  toString(): string {
    return this.path.toString();
  }
}

/**
 * Makes a directory that nobody else has: `prefix` with six letters and digits behind it, for its owner only. The shape of the result is
 * that of Node's `mkdtempDisposable`.
 *
 * @param prefix with a slash at its end for a directory in that one; as bytes the path is bytes too
 * @throws `ENOENT`, `EACCES`, `ENOTDIR`…, with `syscall: 'mkdtemp'`
 */
export function mkdtemp(prefix: Buffer, options?: OpOptions): Future<TemporaryDirectory<Buffer>>;
export function mkdtemp(prefix: string | URL, options?: OpOptions): Future<TemporaryDirectory>;
export function mkdtemp(
  prefix: PathLike,
  options?: OpOptions,
): Future<TemporaryDirectory<string> | TemporaryDirectory<Buffer>>;
export function mkdtemp(prefix: PathLike, options?: OpOptions): Future<TemporaryDirectory<string | Buffer>> {
  const checked = checkPath(prefix, 'prefix');
  const begin = typeof checked === 'string' ? checked : Buffer.from(checked);
  return flow(async (steps) => {
    for (let tries = 1; ; tries++) {
      const path = extended(begin);
      try {
        await steps.step(submit(mkdtempAt(path, MODE)));
      } catch (error) {
        if ((error as { errno?: unknown }).errno !== EEXIST || tries === MOST_TRIES) throw error;
        steps.check();
        continue;
      }
      return new TemporaryDirectory(path);
    }
  }, options);
}

function extended(prefix: string | Buffer): string | Buffer {
  let suffix = '';
  while (suffix.length < LENGTH) {
    // What is left of a byte's range behind the last whole set of letters would make some likelier.
    for (const byte of randomFillSync(new Uint8Array(LENGTH - suffix.length))) {
      if (byte < 4 * LETTERS.length) suffix += LETTERS[byte % LETTERS.length];
    }
  }
  return typeof prefix === 'string' ? prefix + suffix : Buffer.concat([prefix, Buffer.from(suffix)]);
}
