import { constants } from 'node:os';
import { ETIMEDOUT } from '@ouro/native/abi';
import {
  type ErrorDetail,
  Expired,
  expired,
  type Steps,
  type SystemError,
  systemError,
} from '@ouro/runtime/driver';

// What fs.promises.cp refuses, in its words.

/** Why `cp` refuses to copy something. */
export type CopyProblem =
  | 'ERR_FS_CP_DIR_TO_NON_DIR'
  | 'ERR_FS_CP_EEXIST'
  | 'ERR_FS_CP_EINVAL'
  | 'ERR_FS_CP_FIFO_PIPE'
  | 'ERR_FS_CP_NON_DIR_TO_DIR'
  | 'ERR_FS_CP_SOCKET'
  | 'ERR_FS_CP_SYMLINK_TO_SUBDIRECTORY'
  | 'ERR_FS_CP_UNKNOWN'
  | 'ERR_FS_EISDIR';

/** What each says, and the system's name for it. */
const PROBLEMS: Readonly<
  Record<CopyProblem, readonly [says: string, name: 'EINVAL' | 'EISDIR' | 'ENOTDIR' | 'EEXIST']>
> = {
  ERR_FS_CP_DIR_TO_NON_DIR: ['Cannot overwrite non-directory with directory', 'EISDIR'],
  ERR_FS_CP_EEXIST: ['Target already exists', 'EEXIST'],
  ERR_FS_CP_EINVAL: ['Invalid src or dest', 'EINVAL'],
  ERR_FS_CP_FIFO_PIPE: ['Cannot copy a FIFO pipe', 'EINVAL'],
  ERR_FS_CP_NON_DIR_TO_DIR: ['Cannot overwrite directory with non-directory', 'ENOTDIR'],
  ERR_FS_CP_SOCKET: ['Cannot copy a socket file', 'EINVAL'],
  ERR_FS_CP_SYMLINK_TO_SUBDIRECTORY: ['Cannot overwrite symlink in subdirectory of self', 'EINVAL'],
  ERR_FS_CP_UNKNOWN: ['Cannot copy an unknown file type', 'EINVAL'],
  ERR_FS_EISDIR: ['Path is a directory', 'EISDIR'],
};

/** What `cp` throws where no system call has failed: shaped as Node's, whose `errno` is above zero. */
export class CopyError extends Error {
  readonly code: CopyProblem;
  readonly errno: number;
  readonly syscall = 'cp';
  readonly path: string;
  readonly info: {
    readonly message: string;
    readonly path: string;
    readonly syscall: 'cp';
    readonly errno: number;
    readonly code: string;
  };

  /** @internal */
  constructor(code: CopyProblem, message: string, path: string) {
    const [says, name] = PROBLEMS[code];
    const errno = constants.errno[name];
    super(`${says}: cp returned ${name} (${message}) ${path}`);
    Object.defineProperty(this, 'name', { value: 'SystemError', configurable: true, writable: true });
    this.code = code;
    this.errno = errno;
    this.path = path;
    this.info = { message, path, syscall: 'cp', errno, code: name };
  }

  override toString(): string {
    return `${this.name} [${this.code}]: ${this.message}`;
  }
}

/** A failure that comes of the time of `steps` having run out, as one of the copying; null if it is another. */
export function timeoutOf(
  { reason }: Steps,
  error: unknown,
  syscall: string,
  detail: ErrorDetail,
): SystemError | null {
  if (!(reason instanceof Expired) || (error as { readonly errno?: unknown }).errno !== ETIMEDOUT)
    return null;
  return expired(systemError(ETIMEDOUT, syscall, detail, reason.words), reason);
}

/** Where several at once failed, of the same full disk say: the first of them. */
export function firstOf(error: unknown): unknown {
  return error instanceof AggregateError ? error.cause : error;
}
