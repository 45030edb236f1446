import { chmodSync, statSync, unlinkSync } from 'node:fs';
import { AF_UNIX, EBADF, EINVAL, SOCK_STREAM, UNIX_PATH_MAX } from '@ouro/native/abi';
import { reactor } from '@ouro/runtime/driver';
import { EndpointHandle } from './endpoint-handle.ts';
import type { Internals } from './internals.ts';
import type { Request } from './stream-handle.ts';

const ENAMETOOLONG = -36;
const UV_READABLE = 1;
const UV_WRITABLE = 2;
const ALL_READ = 0o444;
const ALL_WRITE = 0o222;

/** A `struct sockaddr_un`; an errno for what is no name. */
function sockaddr(path: string): Uint8Array | number {
  const name = Buffer.from(path);
  const abstract = name[0] === 0;
  if (name.length > (abstract ? UNIX_PATH_MAX : UNIX_PATH_MAX - 1)) return ENAMETOOLONG;
  if (name.length === 0 || (!abstract && name.includes(0))) return EINVAL;
  const bytes = new Uint8Array(2 + name.length + (abstract ? 0 : 1));
  bytes[0] = AF_UNIX;
  bytes.set(name, 2);
  return bytes;
}

/** `pipe_wrap.Pipe` over the ring, for Unix sockets. */
export class PipeHandle extends EndpointHandle {
  /** What is removed when the server closes. */
  #path: string | null = null;

  constructor(node: Internals, server: boolean, triggerAsyncId?: number) {
    super(node, server ? 'PIPESERVERWRAP' : 'PIPEWRAP', triggerAsyncId);
  }

  /** Over a connection, which is its own from here on. */
  static over(node: Internals, fd: number, triggerAsyncId?: number): PipeHandle {
    const handle = new PipeHandle(node, false, triggerAsyncId);
    handle.use(fd);
    return handle;
  }

  protected override over(fd: number): PipeHandle {
    return PipeHandle.over(this.node, fd, this.scope.asyncId);
  }

  #socket(): number {
    if (this.descriptor >= 0) return this.descriptor;
    const fd = reactor().addon.socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd >= 0) this.use(fd);
    return fd;
  }

  bind(path: string): number {
    const bytes = sockaddr(path);
    if (typeof bytes === 'number') return bytes;
    const fd = this.#socket();
    if (fd < 0) return fd;
    const failed = reactor().addon.bind(fd, bytes);
    if (failed === 0 && path[0] !== '\0') this.#path = path;
    return failed;
  }

  listen(backlog: number): number {
    if (this.closing || this.descriptor < 0) return EBADF;
    return this.listenOn(this.descriptor, backlog);
  }

  connect(request: Request, path: string): number {
    if (this.closing) return EBADF;
    const bytes = sockaddr(path);
    if (typeof bytes === 'number') return bytes;
    const fd = this.#socket();
    return fd < 0 ? fd : this.connectTo(request, fd, bytes);
  }

  fchmod(mode: number): number {
    if (this.#path === null) return EBADF;
    if (mode !== UV_READABLE && mode !== UV_WRITABLE && mode !== (UV_READABLE | UV_WRITABLE)) return EINVAL;
    let bits = 0;
    if ((mode & UV_READABLE) !== 0) bits |= ALL_READ;
    if ((mode & UV_WRITABLE) !== 0) bits |= ALL_WRITE;
    try {
      chmodSync(this.#path, (statSync(this.#path).mode & 0o7777) | bits);
      return 0;
    } catch (error) {
      return (error as NodeJS.ErrnoException).errno ?? EINVAL;
    }
  }

  override close(then?: () => void): void {
    if (!this.closing && this.#path !== null) {
      try {
        unlinkSync(this.#path);
      } catch {
        // Somebody else has removed it.
      }
      this.#path = null;
    }
    super.close(then);
  }
}
