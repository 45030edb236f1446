import { existingReactor } from '@ouro/runtime/driver';
import { ringFileHandles } from './file-handle.ts';
import { takePlaces } from './places.ts';
import { noteClosing } from './scope.ts';
import { services } from './services.ts';
import { serving } from './serving.ts';
import { noteSteps } from './steps.ts';

let prepared: boolean | null = null;

/**
 * Serves what comes to our places under `node:fs` and `node:fs/promises` of this thread: of what comes through our faces, until all is
 * to be served.
 *
 * @returns false where that cannot be: then everything is Node's
 */
export function prepare(): boolean {
  prepared ??= serve();
  return prepared;
}

function serve(): boolean {
  const taken = takePlaces();
  if (taken === null) return false;
  const { binding, places } = taken;
  for (const service of services(ringFileHandles(binding))) {
    const place = places.get(service.name);
    if (place !== undefined) place.serve = serving(place, binding.calls, service);
  }
  // What is queued names descriptors by their numbers, and closing one gives its number to whatever is opened next: so the kernel gets
  // what is queued first. (A close by the ring is queued behind it.)
  taken.onClose = (fd) => {
    noteClosing(fd);
    existingReactor()?.flush();
  };
  noteSteps(taken);
  return true;
}
