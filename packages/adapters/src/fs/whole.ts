import type nodeFs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readFile, type WriteFileOptions, writeFile } from '@ouro/fs';
import { type Callable, inPlaceOf } from '../in-place.ts';
import { type Tally, tally } from '../stats.ts';
import { originals as node } from './originals.ts';
import { asked } from './scope.ts';
import { ring } from './serving.ts';
import { handleStepsAreOurs, stepsAreOurs } from './steps.ts';

// Whole files as one op of ours each, where Node takes four or five steps. Only what is usual is: a path, an encoding, a mode. All
// else, and all that is wrong, is Node's, step by step.

const READS = tally('fs', 'readFile');
const WRITES = tally('fs', 'writeFile');
const PROMISED_READS = tally('fs/promises', 'readFile');
const PROMISED_WRITES = tally('fs/promises', 'writeFile');

/** Node reads no longer files at once, and says so. */
const MOST = 2 ** 31 - 1;
const TOO_LARGE = 'ERR_FS_FILE_TOO_LARGE';

/** Whether Node is to say what is wrong: its versions say it differently of what is too long, or a directory. */
function isForNode({ code, syscall }: NodeJS.ErrnoException): boolean {
  return code === TOO_LARGE || syscall === 'read';
}

type Callback = (error: Error | null, value?: unknown) => void;

/** A path that is in order; null if it is for Node to look at. */
function pathOf(path: unknown): string | Buffer | null {
  let plain: unknown = path;
  if (path instanceof URL) {
    try {
      plain = fileURLToPath(path);
    } catch {
      return null;
    }
  }
  if (typeof plain === 'string') return plain.includes('\0') ? null : plain;
  return Buffer.isBuffer(plain) && !plain.includes(0) ? plain : null;
}

/** Options of ours for those of Node's; null for such as are Node's only. */
function optionsOf(options: unknown, flag: string): WriteFileOptions | null {
  if (options === undefined || options === null) return {};
  const given = typeof options === 'string' ? { encoding: options } : options;
  if (typeof given !== 'object') return null;
  const { encoding, flag: wanted, mode, signal, flush } = given as Record<string, unknown>;
  if (signal !== undefined || (flush !== undefined && flush !== false)) return null;
  if (wanted !== undefined && wanted !== flag) return null;
  if (mode !== undefined && !(Number.isInteger(mode) && Number(mode) >= 0 && Number(mode) <= 0o7777))
    return null;
  if (encoding === undefined || encoding === null) return mode === undefined ? {} : { mode: Number(mode) };
  if (typeof encoding !== 'string' || !Buffer.isEncoding(encoding)) return null;
  return mode === undefined ? { encoding } : { encoding, mode: Number(mode) };
}

function reading(path: unknown, options: unknown): Promise<Buffer | string> | null {
  const plain = pathOf(path);
  const given = plain === null ? null : optionsOf(options, 'r');
  if (plain === null || given === null || ring() === null) return null;
  return readFile(plain, { encoding: given.encoding, most: MOST });
}

function writing(path: unknown, data: unknown, options: unknown): Promise<void> | null {
  if (typeof data !== 'string' && !ArrayBuffer.isView(data)) return null;
  const plain = pathOf(path);
  const given = plain === null ? null : optionsOf(options, 'w');
  if (plain === null || given === null || ring() === null) return null;
  try {
    return writeFile(plain, data, { ...given, lend: true });
  } catch {
    return null; // detached: Node knows what to say
  }
}

/** Calls back in a turn of its own, where what a callback throws is an uncaught exception. */
function callBack(promise: Promise<unknown>, callback: Callback, node: () => unknown): void {
  promise.then(
    (value) => {
      if (value === undefined) process.nextTick(callback, null);
      else process.nextTick(callback, null, value);
    },
    (error: NodeJS.ErrnoException) => {
      if (isForNode(error)) {
        node();
        return;
      }
      // As an error that native code has made: no function of the program's was at work.
      if ('errno' in error) error.stack = `${error.name}: ${error.message}`;
      process.nextTick(callback, error);
    },
  );
}

/** What begins the op of a call: null if the call is Node's. */
type Begin = (args: readonly unknown[], options: unknown) => Promise<unknown> | null;

/** In the place of a function with a callback, which has `before` arguments before its options. */
function withCallback(
  original: (...args: never[]) => unknown,
  counters: Tally,
  before: number,
  begin: Begin,
): Callable {
  return function (...args) {
    const options = args[before];
    const callback = args[before + 1] || options;
    const usual = typeof callback === 'function' && args.length <= before + 2 && stepsAreOurs();
    const promise = usual ? begin(args, options === callback ? undefined : options) : null;
    const asNode = (): unknown => asked(() => Reflect.apply(original, this, args));
    if (promise === null) {
      counters.node++;
      asNode();
      return;
    }
    counters.ours++;
    callBack(promise, callback as Callback, asNode);
  };
}

/** In the place of a function that returns a promise. */
function promising(
  original: (...args: never[]) => unknown,
  counters: Tally,
  before: number,
  begin: Begin,
): Callable {
  return async (...args) => {
    const promise = handleStepsAreOurs() ? begin(args, args[before]) : null;
    const asNode = (): unknown => asked(() => Reflect.apply(original, undefined, args));
    if (promise === null) {
      counters.node++;
      return asNode();
    }
    counters.ours++;
    try {
      return await promise;
    } catch (error) {
      if (!isForNode(error as NodeJS.ErrnoException)) throw error;
      return asNode();
    }
  };
}

const readBegins: Begin = ([path], options) => reading(path, options);
const writeBegins: Begin = ([path, data], options) => writing(path, data, options);

/** In the places of those of `node:fs`. */
export const whole: Pick<typeof nodeFs, 'readFile' | 'writeFile'> = {
  readFile: inPlaceOf(node.readFile, withCallback(node.readFile, READS, 1, readBegins)),
  writeFile: inPlaceOf(node.writeFile, withCallback(node.writeFile, WRITES, 2, writeBegins)),
};

/** In the places of those of `node:fs/promises`. */
export const wholePromised: Pick<typeof nodeFs.promises, 'readFile' | 'writeFile'> = {
  readFile: inPlaceOf(
    node.promised.readFile,
    promising(node.promised.readFile, PROMISED_READS, 1, readBegins),
  ),
  writeFile: inPlaceOf(
    node.promised.writeFile,
    promising(node.promised.writeFile, PROMISED_WRITES, 2, writeBegins),
  ),
};
