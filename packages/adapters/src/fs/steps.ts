import nodeFs from 'node:fs';
import type { Call } from './binding.ts';
import type { Places } from './places.ts';

// A whole file as one op of ours has no steps that anybody could see. Whoever has put something of their own under Node's functions
// (a mock of the binding, another getter of FileHandle) is to find all steps there: then whole files are Node's, step by step.

/** Functions of the binding that the steps call. */
const STEPS = ['open', 'openFileHandle', 'fstat', 'read', 'writeBuffer', 'writeString', 'close'] as const;

let calls: Record<string, Call> | null = null;
let ours: readonly (Call | undefined)[] = [];
/** What FileHandles inherit from, which nothing but one of them leads to. */
let prototype: object | null = null;
let descriptorGetter: unknown;
let learning = false;

/** Notes what of ours is under Node's functions. */
export function noteSteps({ binding, places }: Places): void {
  calls = binding.calls;
  ours = STEPS.map((name) => places.get(name)?.stub);
}

const getterOf = (of: object): unknown => Object.getOwnPropertyDescriptor(of, 'fd')?.get;

async function learn(): Promise<void> {
  const handle = await nodeFs.promises.open('/', 'r');
  prototype = Object.getPrototypeOf(handle) as object;
  descriptorGetter = getterOf(prototype);
  await handle.close();
}

/** Whether all is as it was, so that nobody can tell one step from several. */
export function stepsAreOurs(): boolean {
  if (calls === null) return false;
  for (let i = 0; i < STEPS.length; i++) if (calls[STEPS[i]] !== ours[i]) return false;
  return true;
}

/** `stepsAreOurs` for what is made of a FileHandle. The first time it is not known yet. */
export function handleStepsAreOurs(): boolean {
  if (prototype === null) {
    if (!learning) {
      learning = true;
      learn().catch(() => {
        learning = false; // no descriptor to be had: another time
      });
    }
    return false;
  }
  return stepsAreOurs() && getterOf(prototype) === descriptorGetter;
}
