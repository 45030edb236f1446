import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  linkSync,
  lstatSync,
  openSync,
  renameSync,
  unlinkSync,
} from 'node:fs';
import { resolve } from 'node:path';

const O_PATH = 0o10000000;
const PERMISSIONS = 0o7777;

/** Which file of a file system: as long as a socket is bound to it, no other has its number. */
export interface FileIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** The file that lies at `path`, not what a link there leads to; undefined if there is none. */
function identityAt(path: string): FileIdentity | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false });
}

const same = (one: FileIdentity | undefined, other: FileIdentity): boolean =>
  one !== undefined && one.dev === other.dev && one.ino === other.ino;

/** The file of a socket. Calls are synchronous: few, short, and at the end of a process the last that can be done. */
export class BoundFile {
  /** Absolute: the working directory may be another one by the time that it goes. */
  readonly #path: string;
  readonly #identity: FileIdentity;

  constructor(path: string, identity: FileIdentity) {
    this.#path = resolve(path);
    this.#identity = identity;
  }

  /** What a bind to `path` has just made; undefined if that is gone already. */
  static of(path: string): BoundFile | undefined {
    const absolute = resolve(path);
    const identity = identityAt(absolute);
    return identity === undefined ? undefined : new BoundFile(absolute, identity);
  }

  /**
   * Gives it exactly these permissions. By a descriptor of the file itself, so that it cannot be another's that has come to lie
   * there.
   */
  chmod(mode: number): void {
    const fd = openSync(this.#path, O_PATH | constants.O_NOFOLLOW);
    try {
      const found = fstatSync(fd, { bigint: true });
      if (same(found, this.#identity) && (Number(found.mode) & PERMISSIONS) !== mode) {
        chmodSync(`/proc/self/fd/${fd}`, mode);
      }
    } finally {
      closeSync(fd);
    }
  }

  /**
   * Removes it, if it is this very file that lies there. It is moved aside first and looked at there: what somebody puts in its
   * place between our look and our removal is put back, not deleted.
   *
   * @throws what `rename` and `unlink` do: `EACCES`, `EROFS`…
   */
  remove(): void {
    const path = this.#path;
    if (!same(identityAt(path), this.#identity)) return;
    const aside = `${path}.${randomBytes(6).toString('hex')}`;
    try {
      renameSync(path, aside);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    if (same(identityAt(aside), this.#identity)) unlinkSync(aside);
    else putBack(aside, path);
  }
}

/** The same at the end of a socket, which ends all the same: what cannot be removed stays there, dead. */
export function removeAtEnd(file: BoundFile | undefined): void {
  try {
    file?.remove();
  } catch {
    // The directory has become somebody else's, or cannot be written to.
  }
}

/** Never over what has come to lie there meanwhile: then it stays where it is. */
function putBack(aside: string, path: string): void {
  try {
    linkSync(aside, path);
  } catch (error) {
    // Links to files of others may be forbidden (fs.protected_hardlinks).
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST' && identityAt(path) === undefined) renameSync(aside, path);
    return;
  }
  unlinkSync(aside);
}
