import nodeFs from 'node:fs';
import { existingReactor } from '@ouro/runtime/driver';
import { type Call, type FsBinding, fsBinding } from './binding.ts';
import { ringFileHandles } from './file-handle.ts';
import { replace } from './replace.ts';
import { noteClosing, serveEverywhere } from './scope.ts';
import { services } from './services.ts';
import { noteSteps } from './steps.ts';
import { whole, wholePromised } from './whole.ts';

let prepared: boolean | null = null;

/**
 * Puts our functions under `node:fs` and `node:fs/promises` of this thread. They serve nothing but what comes through our faces,
 * until `install`.
 *
 * @returns false where that cannot be: then everything is Node's
 */
export function prepare(): boolean {
  prepared ??= put();
  return prepared;
}

function put(): boolean {
  // The permission model knows nothing of the ring: with it all is Node's.
  if ('permission' in process && process.permission !== undefined) return false;
  const binding = fsBinding();
  if (binding === null) return false;
  watchCloses(binding);
  for (const service of services(ringFileHandles(binding))) replace(binding, service);
  noteSteps(binding);
  return true;
}

/**
 * What is queued names descriptors by their numbers, and closing one gives its number to whatever is opened next: so the kernel
 * gets what is queued first. (A close by the ring is queued behind it.)
 */
function watchCloses({ calls }: FsBinding): void {
  const { close } = calls;
  const replacement: Call = function (this: unknown, ...args) {
    noteClosing(args[0]);
    existingReactor()?.flush();
    return Reflect.apply(close, this, args);
  };
  calls.close = replacement;
}

/** Puts `node:fs` and `node:fs/promises` of this thread on the ring. */
export function install(): void {
  if (!prepare()) return;
  serveEverywhere();
  Object.assign(nodeFs, whole);
  Object.assign(nodeFs.promises, wholePromised);
}
