import nodeFs from 'node:fs';
import { originals } from '../fs/originals.ts';
import { isLoader, onFirstCall, takePlaces } from '../fs/places.ts';
import { lazily, lazilyAsync } from './lazily.ts';
import { Part } from './part.ts';

type Served = typeof import('../fs/hooked.ts');

/** Puts `node:fs` and `node:fs/promises` of this thread on the ring. */
export function hookFs(): void {
  if (takePlaces() === null) return;
  const part = new Part<Served>('fs', (loaded) => loaded.begin());
  onFirstCall(() => part.get() !== null);
  const { readFile, writeFile, promised } = originals;
  nodeFs.readFile = lazily(readFile, () => part.get()?.whole.readFile);
  nodeFs.writeFile = lazily(writeFile, () => part.get()?.whole.writeFile);
  const { promises } = nodeFs;
  const forReader = (): Served | null => part.loaded ?? (isLoader() ? null : part.get());
  promises.readFile = lazilyAsync(promised.readFile, () => forReader()?.wholePromised.readFile);
  promises.writeFile = lazilyAsync(promised.writeFile, () => part.get()?.wholePromised.writeFile);
}
