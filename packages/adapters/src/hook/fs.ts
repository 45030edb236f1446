import nodeFs from 'node:fs';
import { originals } from '../fs/originals.ts';
import { isLoader, onFirstCall, takePlaces } from '../fs/places.ts';
import { type Callable, inPlaceOf } from '../in-place.ts';
import { Part } from './part.ts';

type Served = typeof import('../fs/hooked.ts');

/** A function in the place of one of Node's, which is asked as long as there is none of ours. */
function lazily<F extends object>(original: F, ours: () => F | undefined): F {
  const lazy: Callable = function (...args) {
    return Reflect.apply((ours() ?? original) as unknown as Callable, this, args);
  };
  return inPlaceOf(original, lazy);
}

/** Puts `node:fs` and `node:fs/promises` of this thread on the ring. */
export function hookFs(): void {
  if (takePlaces() === null) return;
  const part = new Part<Served>('#fs');
  onFirstCall(() => part.get() !== null);
  const { readFile, writeFile, promised } = originals;
  nodeFs.readFile = lazily(readFile, () => part.get()?.whole.readFile);
  nodeFs.writeFile = lazily(writeFile, () => part.get()?.whole.writeFile);
  const { promises } = nodeFs;
  const forReader = (): Served | null => part.loaded ?? (isLoader() ? null : part.get());
  promises.readFile = lazily(promised.readFile, () => forReader()?.wholePromised.readFile);
  promises.writeFile = lazily(promised.writeFile, () => part.get()?.wholePromised.writeFile);
}
