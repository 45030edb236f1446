import { opName } from './counts.ts';
import type { Slots } from './slots.ts';

/** What `process.getActiveResourcesInfo` calls an op: `OuroRead`, `OuroFilesUpdate`. */
function resourceName(slots: Slots, slot: number): string {
  const words = opName(slots.opcodes[slot], slots.completions[slot]).split(/[^a-zA-Z0-9]+/);
  return `Ouro${words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')}`;
}

/** One name for each op in flight that keeps the process alive. */
function activeOps(slots: Slots): string[] {
  const names: string[] = [];
  for (let slot = 0; slot < slots.capacity; slot++) {
    if (slots.refed[slot] === 1) names.push(resourceName(slots, slot));
  }
  return names;
}

/**
 * Has `process.getActiveResourcesInfo` of this thread name the ops in flight too: whoever asks it why a process does not
 * end is to see them. What others have put there before is asked as well, and others may wrap this one.
 */
export function activeResources(slots: Slots): void {
  const others = process.getActiveResourcesInfo;
  process.getActiveResourcesInfo = function getActiveResourcesInfo(): string[] {
    return [...others.call(this), ...activeOps(slots)];
  };
}
