import net from 'node:net';
import { binding, isRestricted } from '../node-binding.ts';

/** What `stream_wrap` reports through: see `lib/internal/stream_base_commons.js` of Node. */
interface StreamBinding {
  readonly streamBaseState: Int32Array;
  readonly kReadBytesOrError: number;
  readonly kArrayBufferOffset: number;
  readonly kBytesWritten: number;
  readonly kLastWriteWasAsync: number;
  /** On versions where a write without a request makes one itself. */
  readonly kLastWriteErr?: number;
}

/** A handle as `net.js` sees it. */
export interface NativeHandle {
  close(then?: () => void): void;
  open?(fd: number): number;
  getsockname?(out: object): number;
}

type HandleClass = new (kind: number) => NativeHandle;

/** Node's own parts that an adapter stands on. */
export interface Internals {
  readonly state: Int32Array;
  readonly readBytesOrError: number;
  readonly arrayBufferOffset: number;
  readonly bytesWritten: number;
  readonly lastWriteWasAsync: number;
  /** -1 where there is none. */
  readonly lastWriteErr: number;
  readonly TCP: HandleClass;
  readonly Pipe: HandleClass;
  /** `TCPConstants.SOCKET`, `PipeConstants.SOCKET`, and the same of servers. */
  readonly SOCKET: number;
  readonly SERVER: number;
  /** Key of the object that a handle belongs to. */
  readonly owner: symbol;
  /** Key of the method that gives a socket another handle. */
  readonly reinitialize: symbol;
}

/** The symbol of that description among the keys of an object. */
export function symbolOf(of: object, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(of).find((symbol) => symbol.description === description);
}

/** A handle that does nothing, to see what Node puts on it. */
function probe(): object {
  const nothing = (): number => 0;
  return {
    reading: false,
    readStart: nothing,
    readStop: nothing,
    getAsyncId: nothing,
    close: (then?: () => void) => then?.(),
  };
}

function find(): Internals | null {
  // Node's own handles ask whether they may.
  if (isRestricted()) return null;
  try {
    const stream = binding('stream_wrap') as unknown as StreamBinding;
    const tcp = binding('tcp_wrap') as { TCP: HandleClass; constants: { SOCKET: number; SERVER: number } };
    const pipe = binding('pipe_wrap') as { Pipe: HandleClass; constants: { SOCKET: number; SERVER: number } };
    const handle = probe();
    new net.Socket({ handle, manualStart: true } as unknown as net.SocketConstructorOpts).destroy();
    const owner = symbolOf(handle, 'owner_symbol');
    const reinitialize = symbolOf(net.Socket.prototype, 'kReinitializeHandle');
    const numbers = [
      stream.kReadBytesOrError,
      stream.kArrayBufferOffset,
      stream.kBytesWritten,
      stream.kLastWriteWasAsync,
    ];
    if (
      owner === undefined ||
      reinitialize === undefined ||
      !(stream.streamBaseState instanceof Int32Array) ||
      numbers.some((number) => typeof number !== 'number') ||
      typeof tcp.TCP !== 'function' ||
      typeof pipe.Pipe !== 'function' ||
      pipe.constants.SOCKET !== tcp.constants.SOCKET ||
      pipe.constants.SERVER !== tcp.constants.SERVER
    )
      return null;
    return {
      state: stream.streamBaseState,
      readBytesOrError: stream.kReadBytesOrError,
      arrayBufferOffset: stream.kArrayBufferOffset,
      bytesWritten: stream.kBytesWritten,
      lastWriteWasAsync: stream.kLastWriteWasAsync,
      lastWriteErr: stream.kLastWriteErr ?? -1,
      TCP: tcp.TCP,
      Pipe: pipe.Pipe,
      SOCKET: tcp.constants.SOCKET,
      SERVER: tcp.constants.SERVER,
      owner,
      reinitialize,
    };
  } catch {
    return null;
  }
}

let found: Internals | null | undefined;

/** Node's own parts, looked for once; null on a Node that has them elsewhere: then all is left to Node. */
export function internals(): Internals | null {
  found ??= find();
  return found;
}
