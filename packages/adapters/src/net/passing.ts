import { reactor } from '@ouro/runtime/driver';
import { dgramInternals } from '../dgram/internals.ts';
import { UdpHandle } from '../dgram/udp-handle.ts';
import { binding } from '../node-binding.ts';
import { type Internals, internals, type NativeHandle } from './internals.ts';
import { StreamHandle } from './stream-handle.ts';
import { TcpHandle } from './tcp-handle.ts';

type Write = (this: object, request: unknown, text: string, handle?: unknown) => number;

/** A handle of ours that can be sent to other processes. */
type Passable = StreamHandle | UdpHandle;

function isPassable(handle: unknown): handle is Passable {
  return handle instanceof StreamHandle || handle instanceof UdpHandle;
}

/** An empty handle of Node's, of the kind of ours. */
function nativeFor(node: Internals, handle: Passable): NativeHandle | undefined {
  if (handle instanceof UdpHandle) {
    const udp = dgramInternals();
    return udp === null ? undefined : new udp.UDP();
  }
  handle.letOthersRead();
  return new (handle instanceof TcpHandle ? node.TCP : node.Pipe)(
    handle.onconnection === undefined ? node.SOCKET : node.SERVER,
  );
}

/** A handle of Node's over a duplicate of what one of ours has; undefined where there is none to be had. */
function twin(node: Internals, handle: Passable): NativeHandle | undefined {
  const native = nativeFor(node, handle);
  if (native === undefined) return undefined;
  const r = reactor();
  const fd = r.addon.duplicate(handle.fd);
  if (fd >= 0) {
    r.disown(fd);
    if (native.open?.(fd) === 0) return native;
  }
  native.close();
  return undefined;
}

let installed = false;

/** Has sockets and servers sent to other processes (`subprocess.send`): the channel takes handles of Node's only. */
export function installPassing(): void {
  const node = internals();
  if (installed || node === null) return;
  installed = true;
  const prototype = node.Pipe.prototype as { writeUtf8String: Write };
  const original = prototype.writeUtf8String;
  prototype.writeUtf8String = function writeUtf8String(request, text, handle) {
    if (handle === undefined) return original.call(this, request, text);
    if (!isPassable(handle)) return original.call(this, request, text, handle);
    const native = twin(node, handle);
    if (native === undefined) return original.call(this, request, text);
    const result = original.call(this, request, text, native);
    // The descriptor must stay until the other side has it: until ours is closed, unless that has happened by now.
    if (node.state[node.lastWriteWasAsync] === 0) native.close();
    else handle.onceClosed(() => native.close());
    return result;
  };
}

interface Stdio {
  readonly type: string;
  readonly handle?: unknown;
}

type Spawn = (
  this: object,
  options: { stdio?: (Stdio | { readonly type: 'fd'; readonly fd: number })[] },
) => number;

/** Has sockets be the standard streams of other processes: what Node takes of a handle for that is its descriptor. */
export function installSpawning(): void {
  const { Process } = binding('process_wrap') as { Process: { prototype: { spawn: Spawn } } };
  const { prototype } = Process;
  const original = prototype.spawn;
  prototype.spawn = function spawn(options) {
    const { stdio } = options;
    if (stdio?.some((entry) => 'handle' in entry && entry.handle instanceof StreamHandle) !== true)
      return original.call(this, options);
    const plain = stdio.map((entry) =>
      'handle' in entry && entry.handle instanceof StreamHandle
        ? { type: 'fd' as const, fd: entry.handle.fd }
        : entry,
    );
    return original.call(this, { ...options, stdio: plain });
  };
}
