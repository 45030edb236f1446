import nodeFs from 'node:fs';
import { prepare } from './prepare.ts';
import { asked } from './scope.ts';
import { whole, wholePromised } from './whole.ts';

// `node:fs` for those who import it from us: the same object but for functions that begin on the ring. Where the register hook is
// in place they are what they wrap.

type Callable = (this: unknown, ...args: unknown[]) => unknown;

/** Functions of `node:fs` that lead to what is served. */
export const CALLBACKS = [
  'access',
  'appendFile',
  'close',
  'exists',
  'fdatasync',
  'fstat',
  'fsync',
  'lstat',
  'open',
  'read',
  'readlink',
  'realpath',
  'stat',
  'write',
  'writev',
] as const;

/** Functions of `node:fs/promises` that lead to what is served. */
export const PROMISES = ['access', 'appendFile', 'lstat', 'open', 'readlink', 'realpath', 'stat'] as const;

/** A function of Node's whose first steps are ours. Everything else about it is as it was. */
function beginning<F extends object>(original: F): F {
  const wrapped: Callable = function (...args) {
    return asked(() => Reflect.apply(original as unknown as Callable, this, args));
  };
  Object.defineProperties(wrapped, Object.getOwnPropertyDescriptors(original));
  return wrapped as unknown as F;
}

/** An object with the same properties, getters as getters: some of Node's warn when they are asked. */
function copyOf<T extends object>(object: T): T {
  return Object.defineProperties({}, Object.getOwnPropertyDescriptors(object)) as T;
}

function put<T extends object>(target: T, ours: Partial<T>): void {
  for (const [name, value] of Object.entries(ours)) {
    Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
  }
}

function wrapAll<T extends object, N extends keyof T>(module: T, names: readonly N[]): Partial<T> {
  const made: Partial<T> = {};
  for (const name of names) made[name] = beginning(module[name] as object) as T[N];
  return made;
}

/** Streams look up what they call in the `fs` that they are given; a FileHandle has its own. */
function streamOptions(options: unknown): unknown {
  const given = typeof options === 'string' ? { encoding: options } : (options ?? {});
  if (typeof given !== 'object') return options;
  const { fd, fs } = given as { fd?: unknown; fs?: unknown };
  return typeof fd === 'object' || (fs !== undefined && fs !== null) ? options : { ...given, fs: fsFace };
}

function makePromises(served: boolean): typeof nodeFs.promises {
  const face = copyOf(nodeFs.promises);
  if (served) put(face, { ...wrapAll(nodeFs.promises, PROMISES), ...wholePromised });
  return face;
}

function makeFs(served: boolean): typeof nodeFs {
  const face = copyOf(nodeFs);
  put(face, { promises: promisesFace });
  if (!served) return face;
  put(face, { ...wrapAll(nodeFs, CALLBACKS), ...whole });
  face.realpath.native = beginning(nodeFs.realpath.native);
  const { createReadStream, createWriteStream } = nodeFs;
  put(face, {
    createReadStream: (path, options) => createReadStream(path, streamOptions(options) as BufferEncoding),
    createWriteStream: (path, options) => createWriteStream(path, streamOptions(options) as BufferEncoding),
  });
  return face;
}

const served = prepare();

/** `node:fs/promises`. */
export const promisesFace: typeof nodeFs.promises = makePromises(served);

/** `node:fs`. */
export const fsFace: typeof nodeFs = makeFs(served);
