// The places in Node's binding where calls are ours to serve. What is put there is little: who serves comes to it later, when there
// is a call to serve, or never.
import { isRestricted } from '../node-binding.ts';
import { type Call, type CallbackRequest, type FsBinding, fsBinding } from './binding.ts';

/** Functions of the binding that may be served. */
export type PlaceName =
  | 'openFileHandle'
  | 'open'
  | 'read'
  | 'writeBuffer'
  | 'writeString'
  | 'writeBuffers'
  | 'stat'
  | 'lstat'
  | 'fstat'
  | 'access'
  | 'readlink'
  | 'realpath'
  | 'fsync'
  | 'fdatasync'
  | 'close';

/** The same, by the number of arguments in front of the request. */
const ARITIES: Readonly<Record<PlaceName, number>> = {
  openFileHandle: 3,
  open: 3,
  read: 5,
  writeBuffer: 5,
  writeString: 4,
  writeBuffers: 3,
  stat: 2,
  lstat: 2,
  fstat: 2,
  access: 2,
  readlink: 2,
  realpath: 2,
  fsync: 1,
  fdatasync: 1,
  close: 1,
};

/** What is on a descriptor: whoever opened it is known. */
const ON_DESCRIPTORS: ReadonlySet<PlaceName> = new Set([
  'read',
  'writeBuffer',
  'writeString',
  'writeBuffers',
  'fstat',
  'fsync',
  'fdatasync',
  'close',
] as const);

/** The loader is not further away than that. */
const FRAMES = 12;

/** How a call is to answer: by this request, or by a promise. */
export type Asked = CallbackRequest | symbol;

/** Serves a call, and says what it returns; null if it is for Node. */
export type Serve = (
  args: unknown[],
  request: Asked,
) => { readonly answer: Promise<unknown> | undefined } | null;

/** A function of the binding and what stands in its place. */
export interface Place {
  readonly name: PlaceName;
  readonly arity: number;
  /** Node's own function. */
  readonly node: Call;
  /** Ours. */
  stub: Call;
  /** Null where all calls are Node's, as they are until somebody serves. */
  serve: Serve | null;
}

export interface Places {
  readonly binding: FsBinding;
  readonly places: ReadonlyMap<string, Place>;
  /** Told of each descriptor that is about to be closed, by whomever. */
  onClose: ((fd: unknown) => void) | null;
}

let put: Places | null | undefined;

/** Called once there is something to serve. Says whether it need not be called again. */
let first: (() => boolean) | null = null;

/** Has somebody called when there is something to serve for the first time. */
export function onFirstCall(callback: () => boolean): void {
  first = callback;
}

/** Where this is called from, by no code of the program: it may have put some of its own under `Error`. */
function stack(): string {
  const { prepareStackTrace, stackTraceLimit } = Error;
  const had = Object.hasOwn(Error, 'prepareStackTrace');
  Reflect.set(Error, 'prepareStackTrace', undefined);
  Reflect.set(Error, 'stackTraceLimit', FRAMES);
  try {
    return String(new Error('who asks?').stack);
  } catch {
    return '';
  } finally {
    if (had) Reflect.set(Error, 'prepareStackTrace', prepareStackTrace);
    else Reflect.deleteProperty(Error, 'prepareStackTrace');
    Reflect.set(Error, 'stackTraceLimit', stackTraceLimit);
  }
}

/** Whether Node's loader of ES modules is at work: what it reads is no reason to begin. */
export function isLoader(): boolean {
  return stack().includes('node:internal/modules/esm/load:');
}

/** Whether a call is one that a program has made. */
function isFirst(name: PlaceName, request: Asked): boolean {
  if (typeof request !== 'symbol') return true;
  // A FileHandle that somebody has opened before us: the loader.
  if (ON_DESCRIPTORS.has(name)) return false;
  return name !== 'openFileHandle' || !isLoader();
}

function makePlace({ FSReqCallback, kUsePromises }: FsBinding, name: PlaceName, node: Call): Place {
  const arity = ARITIES[name];

  function serve(request: Asked, given: ArrayLike<unknown>): ReturnType<Serve> {
    if (first !== null && isFirst(name, request) && first()) first = null;
    return place.serve === null ? null : place.serve(Array.from(given), request);
  }

  const stub: Call = function (this: unknown) {
    // Synchronous calls come here as well, and are to lose nothing: a rest parameter would be an array for each.
    // biome-ignore lint/complexity/noArguments: V8 hands them on as they are
    const given = arguments;
    const request: unknown = given[arity];
    if (request !== undefined && (request === kUsePromises || request instanceof FSReqCallback)) {
      const served = serve(request as Asked, given);
      if (served !== null) return served.answer;
    }
    return Reflect.apply(node, this, given);
  };
  const place: Place = { name, arity, node, stub, serve: null };
  return place;
}

/** `close`, which is heard of in all its forms. */
function watched(stub: Call, all: Places): Call {
  return function (this: unknown, ...args) {
    all.onClose?.(args[0]);
    return Reflect.apply(stub, this, args);
  };
}

function make(): Places | null {
  const binding = isRestricted() ? null : fsBinding();
  if (binding === null) return null;
  const { calls } = binding;
  const places = new Map<string, Place>();
  const all: Places = { binding, places, onClose: null };
  for (const name of Object.keys(ARITIES) as PlaceName[]) {
    const node = calls[name];
    if (typeof node !== 'function') continue;
    const place = makePlace(binding, name, node);
    if (name === 'close') place.stub = watched(place.stub, all);
    Object.defineProperty(place.stub, 'name', { value: name, configurable: true });
    calls[name] = place.stub;
    places.set(name, place);
  }
  return all;
}

/** Puts our functions in the places of Node's, once in each thread. Null where that cannot be: then everything is Node's. */
export function takePlaces(): Places | null {
  if (put === undefined) put = make();
  return put;
}
