import { closeSync, constants, fchmodSync, fstatSync, openSync } from 'node:fs';
import { AF_UNIX, EADDRINUSE, ECONNREFUSED, SOCK_DGRAM } from '@ouro/native/abi';
import { sleep } from '@ouro/runtime';
import {
  begin,
  checkInteger,
  close,
  invalidType,
  Operation,
  outOfRange,
  reactor,
  type Steps,
  type SystemError,
} from '@ouro/runtime/driver';
import { connect } from '../op/connect.ts';
import { BoundFile, removeAtEnd } from './bound-file.ts';
import { locked } from './path-lock.ts';
import type { UnixName } from './unix-path.ts';

const O_PATH = 0o10000000;
/**
 * The ring of a process that was killed lives a little longer than that, and with it the socket that it was accepting on (16 ms
 * on a busy machine).
 */
const LAST_BREATH_MS = 200;
const MOST_MODE = 0o777;

/** What to do about a socket file that lies at the path already. */
export type Stale =
  /** Nothing: `EADDRINUSE`, as with `node:net`. */
  | 'fail'
  /** Replace it if it is a socket's that is no more: see `BindPathOptions.stale`. */
  | 'replace';

/** How a socket gets its name. */
export interface BindPathOptions {
  /**
   * Permissions of the socket file: who may connect needs to write to it. It is never there with more than these, and nothing
   * is done to the process's umask. @default 0o777 without the umask's bits
   */
  readonly mode?: number | undefined;
  /**
   * What to do about a file at `path`. `'replace'` removes it and takes its place if it is a socket's and the kernel says that no
   * socket is bound to it any more (`ECONNREFUSED`): what a process leaves that was killed. Under a lock of `path.lock`, so that of
   * several who start at once one listens and the others get `EADDRINUSE`, a quarter of a second later. Whatever else lies there is left alone. @default 'fail'
   */
  readonly stale?: Stale | undefined;
}

/** Checks `mode` and `stale`, and reads them once. */
export function checkBindPath({ mode, stale }: BindPathOptions, { inFiles }: UnixName): BindPathOptions {
  if (mode !== undefined) {
    checkInteger('options.mode', mode, 0, MOST_MODE);
    // (Whoever asks for permissions and has lost the path would let everybody in.)
    if (!inFiles) throw outOfRange('options.mode', 'undefined for a socket that is no file', mode);
  }
  if (stale !== undefined && stale !== 'fail' && stale !== 'replace')
    throw invalidType('options.stale', "'fail' or 'replace'", stale);
  return { mode, stale };
}

/** A socket with a name. */
export interface BoundSocket {
  readonly fd: number;
  /** Its file, if it has one. */
  readonly file: BoundFile | undefined;
}

/**
 * Makes a socket and binds it. `then` is done to it next, before anything else can be done by this thread.
 *
 * @param failed makes the error of an errno
 */
export async function bindSocket(
  steps: Steps,
  type: number,
  name: UnixName,
  { mode, stale }: BindPathOptions,
  failed: (errno: number) => Error,
  then: (fd: number) => number,
): Promise<BoundSocket> {
  const { addon } = reactor();
  const fd = addon.socket(AF_UNIX, type, 0);
  if (fd < 0) throw failed(fd);
  let file: BoundFile | undefined;
  try {
    const { path, inFiles, bytes } = name;
    // The file is made with the permissions of the socket (less the umask), in the same instant.
    if (inFiles && mode !== undefined) fchmodSync(fd, mode);
    let result = addon.bind(fd, bytes);
    if (result === EADDRINUSE && stale === 'replace' && inFiles && path !== undefined) {
      await locked(steps, path, async () => {
        if (await removeDead(steps, path)) result = addon.bind(fd, bytes);
      });
    }
    if (result === 0) {
      if (inFiles && path !== undefined) file = BoundFile.of(path);
      // What the umask took away. Nobody can connect yet.
      if (mode !== undefined) file?.chmod(mode);
      result = then(fd);
    }
    if (result < 0) throw failed(result);
    steps.check();
    return { fd, file };
  } catch (error) {
    removeAtEnd(file);
    await close(fd);
    throw error;
  }
}

/**
 * Removes the file at `path` if it is a dead socket's. False if it is something else. A file that no socket is bound to will
 * never have one again: a bind makes a new one.
 */
async function removeDead(steps: Steps, path: string): Promise<boolean> {
  let file: number;
  try {
    file = openSync(path, O_PATH | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true;
    throw error;
  }
  try {
    const found = fstatSync(file, { bigint: true });
    if ((Number(found.mode) & constants.S_IFMT) !== constants.S_IFSOCK) return false;
    // By this descriptor: it is this very file that is asked about.
    if (!(await diesSoon(steps, `/proc/self/fd/${file}`))) return false;
    new BoundFile(path, found).remove();
    return true;
  } finally {
    closeSync(file);
  }
}

/** Whether it is dead, or will be in a moment. */
async function diesSoon(steps: Steps, path: string): Promise<boolean> {
  let waited = 0;
  for (let pause = 1; !(await isDead(path)); pause *= 2) {
    if (waited >= LAST_BREATH_MS) return false;
    await steps.step(sleep(pause));
    waited += pause;
  }
  return true;
}

/**
 * Asked with a datagram socket. A stream that lives says EPROTOTYPE to it, also one that does not listen yet, and notices nothing;
 * ECONNREFUSED means that no socket at all is bound to the file.
 */
async function isDead(path: string): Promise<boolean> {
  const { addon } = reactor();
  const fd = addon.socket(AF_UNIX, SOCK_DGRAM, 0);
  if (fd < 0) return false;
  try {
    await begin(new Operation(connect(fd, { path })));
    return false;
  } catch (error) {
    return (error as SystemError).errno === ECONNREFUSED;
  } finally {
    await close(fd);
  }
}
